# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""One worker's share of a scoring run: it walks a run of parts with one window and writes each as it is done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lidal3d.config import Config
from lidal3d.errors import DataError
from lidal3d.files import write_json
from lidal3d.interframe.measure import PointScores
from lidal3d.interframe.regions import region_scores
from lidal3d.interframe.stream import score_frames
from lidal3d.jobs.score_folder import Part
from lidal3d.parallel.memory import give_memory_back
from lidal3d.predictions.store import PredictionStore
from lidal3d.scene.pose import transform
from lidal3d.scene.scene import Scene
from lidal3d.scores.table import ScoreTable, concatenate
from lidal3d.units.regions import region_centers, region_sizes


@dataclass(frozen=True)
class ScoreTask:
    """A run of neighbouring parts: one worker walks them with one window."""

    scene: Scene
    parts: tuple[Part, ...]
    predictions: PredictionStore
    config: Config
    folder: Path
    metadata: dict[str, Any] = field(hash=False)
    keep_going: bool = False


def run_task(task: ScoreTask, tick: Callable[[], None]) -> None:
    """Score a run of parts; each is written as soon as its last frame is scored."""
    from lidal3d.units import make_partition

    give_memory_back()
    failures: list[dict[str, Any]] = []

    def record(frame: int, error: DataError) -> None:
        failures.append({"scene": task.scene.id, "frame": frame, "name": task.scene[frame].name, "error": str(error)})

    partition = make_partition(task.config.units)

    def cut(frame: int, points: np.ndarray) -> _Cut:
        return _cut(partition(points), points, task.scene.scene_SE3_lidar[frame])

    frames = range(task.parts[0].first, task.parts[-1].stop)
    keep_going = record if task.keep_going else None
    stream = score_frames(task.scene, task.predictions, task.config.interframe, frames, keep_going, cut)
    scored = next(stream, None)
    for part in task.parts:
        rows = []
        while scored is not None and scored.index < part.stop:
            rows.append(_frame_table(task, scored.index, scored.kept, scored.scores))
            tick()
            scored = next(stream, None)
        if failures:
            write_json(part.failed_path(task.folder), failures)
        (concatenate(rows) if rows else _empty_table(task)).write(part.path(task.folder))


@dataclass(frozen=True)
class _Cut:
    """A sweep cut into R units: unit (N,), size (R,), center_m (R, 3) in the scene frame, range_m (N,) float32."""

    unit: np.ndarray
    size: np.ndarray
    center_m: np.ndarray
    range_m: np.ndarray


def _cut(unit: np.ndarray, points: np.ndarray, scene_SE3_lidar: np.ndarray) -> _Cut:
    units = int(unit.max()) + 1 if len(unit) else 0
    range_m = np.linalg.norm(points[:, :3], axis=1).astype(np.float32)
    center_m = region_centers(unit, units, transform(scene_SE3_lidar, points[:, :3]))
    return _Cut(unit, region_sizes(unit, units), center_m, range_m)


def _frame_table(task: ScoreTask, frame: int, cut: _Cut, scores: PointScores) -> ScoreTable:
    """The rows of one sweep."""
    scene, units = task.scene, len(cut.size)
    return ScoreTable(
        scenes=(scene.id,),
        scene=np.zeros(units, np.int32),
        frame=np.full(units, frame, np.int32),
        unit=np.arange(units, dtype=np.int32),
        points=cut.size,
        center_m=cut.center_m,
        scores=region_scores(
            scores,
            cut.unit,
            units,
            range_m=cut.range_m,
            is_key_frame=bool(scene.is_key_frame[frame]),
            min_matches=task.config.interframe.min_matches,
            classes=len(task.predictions.classes),
        ),
        kind=task.config.units.kind,
        metadata=task.metadata,
    )


def _empty_table(task: ScoreTask) -> ScoreTable:
    """A part none of whose frames could be read."""
    floats, small = np.empty(0, np.float32), np.empty(0, np.uint8)
    scores = PointScores(divergence=floats, entropy=floats, matches=small, confidence=floats, predicted=small)
    return _frame_table(task, 0, _cut(np.empty(0, np.int32), np.empty((0, 4), np.float32), np.eye(4)), scores)
