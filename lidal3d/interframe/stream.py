# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Walks a scene with a sliding window: every sweep and every probability map is read once, and dropped after use."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lidal3d.errors import DataError
from lidal3d.interframe.grid import SweepGrid, build_grid
from lidal3d.interframe.match import match
from lidal3d.interframe.measure import PointScores, pack_rows, score_points
from lidal3d.interframe.window import neighbour_frames
from lidal3d.predictions.maps import FrameMaps, MapSource, refuse_bad_rows
from lidal3d.scene.pose import RIGIDITY_TOLERANCE, rigidity_error, transform
from lidal3d.scene.scene import Scene
from lidal3d.settings.interframe import InterframeConfig

Failure = Callable[[int, DataError], None]
Keep = Callable[[int, npt.NDArray[np.float32], FrameMaps], Any]


@dataclass(frozen=True)
class LoadedFrame:
    """What the window keeps of a frame: its points sorted for matching and its probabilities in the same order."""

    grid: SweepGrid
    rows: npt.NDArray[np.floating]


@dataclass(frozen=True)
class ScoredFrame:
    """One scored sweep.

    Attributes:
        index: its place in the scene.
        kept: what `keep` made of its points when they were read; the points (N, 4) themselves by default.
        scores: its N point scores.
    """

    index: int
    kept: Any
    scores: PointScores


def score_frames(
    scene: Scene,
    predictions: MapSource,
    config: InterframeConfig,
    frames: Sequence[int] | None = None,
    failed: Failure | None = None,
    keep: Keep = lambda index, points, maps: points,
) -> Iterator[ScoredFrame]:
    """Inter-frame divergence and entropy of every point of some frames of a scene, in order of time.

    Memory holds at most 2·half_window + 1 frames. Which frames are asked for never changes a frame's scores.

    Args:
        frames: frame indices, ascending; all by default.
        failed: told of frames that cannot be read, which are then left out and matched with nothing; without it the
            first such frame raises.
        keep: (frame index, points, what the model says of them) -> what the caller needs of a sweep when its scores
            come. A sweep is read up to a window ahead of that, so it pays to keep less than the points. A frame for
            which it raises DataError has failed too.

    Raises:
        DataError: a sweep or a probability map is missing, damaged or does not fit the other.
    """
    asked = list(range(len(scene)) if frames is None else frames)
    neighbours = neighbour_frames(scene.world_SE3_lidar, config)
    last_use = {use: frame for frame in asked for use in (*neighbours[frame].tolist(), frame)}
    window: dict[int, LoadedFrame | None] = {}
    waiting: dict[int, Any] = {}
    still_asked = set(asked)
    for frame in asked:
        for needed in (frame, *neighbours[frame].tolist()):
            if needed not in window:
                window[needed] = None
                try:
                    points, maps, window[needed] = load_frame(scene, needed, predictions, config)
                    if needed in still_asked:
                        waiting[needed] = keep(needed, points, maps)
                    del points, maps  # gone before the next ones are made
                except DataError as error:
                    if failed is None:
                        raise
                    failed(needed, error)
        still_asked.discard(frame)
        own = window[frame]
        # A sweep that can't be kept still counts as a neighbour, as it does where another worker looks at it.
        if own is not None and frame in waiting:
            others = [window[j] for j in neighbours[frame]]
            scores = score_frame(
                own, [other for other in others if other is not None], len(predictions.classes), config
            )
            yield ScoredFrame(frame, waiting.pop(frame), scores)
        window = {kept: loaded for kept, loaded in window.items() if last_use[kept] > frame}


def point_scores(scene: Scene, frame: int, predictions: MapSource, config: InterframeConfig) -> PointScores:
    """The scores of one frame's points; reads its whole window."""
    return next(score_frames(scene, predictions, config, [frame])).scores


def load_frame(
    scene: Scene, index: int, predictions: MapSource, config: InterframeConfig
) -> tuple[npt.NDArray[np.float32], FrameMaps, LoadedFrame]:
    """A sweep's points (N, 4), what the model says of them, and what the window keeps of both."""
    frame = scene[index]
    refuse_bad_pose(scene, index)
    points = frame.points()
    lost = len(points) - int(np.isfinite(points[:, :3]).all(axis=1).sum())
    if lost:
        path = scene.source.points_path(index)
        raise DataError(f"{path}: {lost} of {len(points)} points have NaN or infinite coordinates; drop these points")
    maps = predictions.maps(frame, points)
    refuse_bad_rows(maps, predictions.place(frame))
    grid = build_grid(transform(scene.scene_SE3_lidar[index], points[:, :3]), config.radius_m)
    return points, maps, LoadedFrame(grid, pack_rows(maps.probabilities, grid.order))


def refuse_bad_pose(scene: Scene, index: int) -> None:
    """Raise DataError where a frame's pose or time would put its points in the wrong place without a word.

    The first pose is looked at too: all others are taken relative to it.
    """
    for frame in {0, index}:
        error = float(rigidity_error(scene.world_SE3_lidar[frame]))
        place = f"{scene.root}: scene {scene.id}, frame {scene.frame_names[frame]}"
        if not np.isfinite(scene.world_SE3_lidar[frame]).all():
            raise DataError(f"{place}: its pose holds NaN or infinite numbers; see `lidal3d check`")
        if error > RIGIDITY_TOLERANCE:
            raise DataError(
                f"{place}: its pose's rotation is off by {error:.3g}, at most {RIGIDITY_TOLERANCE:g} allowed; "
                "see `lidal3d check`"
            )
    times = scene.timestamps_ns
    if index and times[index] <= times[index - 1]:
        raise DataError(
            f"{scene.root}: scene {scene.id}, frame {scene.frame_names[index]}: time {times[index]} ns is not after "
            f"the previous sweep's {times[index - 1]} ns; sort the sweeps, drop duplicates"
        )


def score_frame(own: LoadedFrame, others: list[LoadedFrame], classes: int, config: InterframeConfig) -> PointScores:
    places = np.empty((len(others), len(own.grid)), np.int32)
    rows: list[npt.NDArray[np.floating]] = []
    for j, other in enumerate(others):
        places[j] = match(own.grid, other.grid, config.radius_m)
        # A store may mix float16 and float32 files; the kernel takes one type at a time.
        same = other.rows.dtype == own.rows.dtype
        rows.append(other.rows if same else np.asarray(other.rows, dtype=own.rows.dtype))
    return score_points(own.rows, rows, places, own.grid.order, classes, config.epsilon)
