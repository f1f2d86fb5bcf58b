# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Sightings of tracked things: the points of each in every sweep, or the crop round each in every picture."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lidal3d.config import Config
from lidal3d.errors import DataError
from lidal3d.learn.pretrain.frames import FRAMES_KEPT
from lidal3d.learn.pretrain.views import View
from lidal3d.scene.pixels import CAMERA, picture_of
from lidal3d.scene.scene import Frame
from lidal3d.tracks.cameras import patches_in
from lidal3d.tracks.scene import track_scene
from lidal3d.tracks.store import TrackStore

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]
Box = tuple[int, int, int, int]


class Sightings:
    """All N sightings in some frames of tracks that are seen often enough. Sweeps are tracked when it is made.

    Attributes:
        frame: (N,) the number of each one's frame, ascending.
        track: (N,) the number of its track, 0 … T − 1 over all scenes.

    Args:
        frames: sweeps or pictures.
        config: `odct`, `pretrain` and `tracks`.

    Raises:
        DataError: a damaged frame, tracks of another drive, or no track that is seen often enough.
    """

    def __init__(self, frames: Sequence[Frame], config: Config) -> None:
        self._frames, self._config = frames, config
        self._store = self._tracked()
        rows = [(n, frame.sweep().scene.id, one) for n, frame in enumerate(frames) for one in self._seen(n)]
        names = [(scene, one) for _, scene, one in rows]
        number = {name: k for k, name in enumerate(sorted(set(names)))}
        track = np.array([number[name] for name in names], np.int64)
        kept = np.bincount(track, minlength=1)[track] >= config.odct.min_sightings if len(track) else np.zeros(0, bool)
        if not kept.any():
            raise DataError(
                f"0 of {len(number)} tracks are seen in {config.odct.min_sightings} of {len(frames)} frames or more; "
                "give longer drives, or lower odct.min_sightings"
            )
        self.frame = np.array([n for n, _, _ in rows], np.int64)[kept]
        self.track = np.unique(track[kept], return_inverse=True)[1].astype(np.int64)
        self._id = np.array([one for _, _, one in rows], np.int32)[kept]
        self.views = lru_cache(maxsize=FRAMES_KEPT)(self._views)

    def __len__(self) -> int:
        return len(self.track)

    @property
    def tracks(self) -> int:
        """T."""
        return int(self.track.max()) + 1

    def _tracked(self) -> TrackStore:
        """The tracks of the frames' scenes; what is tracked here lies in a folder that goes with this object."""
        config = self._config
        if config.odct.tracks is not None:
            return TrackStore.open(config.odct.tracks)
        self._folder = tempfile.TemporaryDirectory(prefix="lidal3d-tracks-")
        store = TrackStore.open_or_create(Path(self._folder.name), config.tracks)
        for scene in {frame.sweep().scene.id: frame.sweep().scene for frame in self._frames}.values():
            track_scene(scene, store)
        return store

    def _seen(self, number: int) -> list[int]:
        """The ids of the tracks that a frame shows well enough."""
        frame, least = self._frames[number], self._config.pretrain.min_points
        if frame.scene.sensor == CAMERA:
            return list(self._boxes(frame))
        ids, near = self._near(frame, frame.points())
        found, points = np.unique(ids[near & (ids >= 0)], return_counts=True)
        return [int(one) for one in found[points >= least]]

    def _near(self, frame: Frame, points: npt.NDArray[np.float32]) -> tuple[Int32, npt.NDArray[np.bool_]]:
        """The track of each point (N,), and whether it is within `pretrain.max_range_m`."""
        ids = self._store.ids(frame.scene.id, frame.name, len(points))
        return ids, np.hypot(points[:, 0], points[:, 1]) < self._config.pretrain.max_range_m

    def _boxes(self, frame: Frame) -> dict[int, Box]:
        """Track id -> the crop (left, top, right, bottom) round it in the picture as it was taken."""
        sweep = frame.sweep()
        xyz, (image,) = sweep.points()[:, :3], frame.images()
        ids = self._store.ids(sweep.scene.id, sweep.name, len(xyz))
        patches = patches_in(image, xyz, ids, self._config.pretrain.min_points)
        return {int(one): tuple(box) for one, box in zip(patches.track, patches.box.tolist(), strict=True)}

    def _views(self, number: int) -> list[View]:
        """A frame's sightings: a sweep whose regions they are, or one small picture for each. Regions are their numbers."""
        frame, here = self._frames[number], np.flatnonzero(self.frame == number)
        points = frame.points()
        if frame.scene.sensor == CAMERA:
            boxes, (image,), picture = self._boxes(frame), frame.images(), picture_of(points)
            scale = picture.shape[1] / image.width
            edge = self._config.odct.crop_px
            return [
                View(crop(picture, boxes[int(self._id[k])], scale, edge), np.full(edge**2, k, np.int32)) for k in here
            ]
        ids, near = self._near(frame, points)
        of_id = np.full(max(int(ids.max(initial=-1)), int(self._id[here].max(initial=-1))) + 2, -1, np.int32)
        of_id[self._id[here]] = here
        return [View(points[near], of_id[ids[near]])]


def crop(picture: npt.NDArray[np.float32], box: Box, scale: float, edge: int) -> npt.NDArray[np.float32]:
    """The pixels (edge², 5) of a picture (H, W, 3) within a box, stretched to a square; each takes its nearest one.

    Args:
        box: left, top, right, bottom; right and bottom lie outside.
        scale: pixels of the picture for one of the box's.
    """
    columns, rows = (_stretched(box[a] * scale, box[a + 2] * scale, picture.shape[1 - a], edge) for a in (0, 1))
    row, column = np.divmod(np.arange(edge**2), edge)
    return np.column_stack([column, row, picture[rows[row], columns[column]]]).astype(np.float32)


def _stretched(first: float, last: float, length: int, edge: int) -> Int64:
    """The pixel of each of `edge` steps from first to last."""
    return np.clip(first + (np.arange(edge) + 0.5) * (last - first) / edge, 0, length - 1).astype(np.int64)
