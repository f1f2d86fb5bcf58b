# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""How many points lie in every box of a drive: the one part of scoring boxes that reads sweeps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lidal3d.errors import DataError
from lidal3d.parallel.pool import run_tasks
from lidal3d.predictions.boxes import BoxStore
from lidal3d.scene.scene import Scene
from lidal3d.units.boxes import points_in_boxes

FRAMES_A_TASK = 50
Counts = dict[tuple[str, int], npt.NDArray[np.int64]]


@dataclass(frozen=True)
class _CountTask:
    scene: Scene
    frames: tuple[int, ...]
    store: BoxStore
    keep_going: bool


@dataclass(frozen=True)
class _Counted:
    """Of one frame: the number of points in each box (B,), or why it could not be read."""

    scene: str
    frame: int
    points: npt.NDArray[np.int64]
    error: str = ""


def count_points(
    scenes: Sequence[Scene], store: BoxStore, workers: int, keep_going: bool, tick: Callable[[], None]
) -> tuple[Counts, tuple[dict[str, Any], ...]]:
    """(scene id, frame) -> points in each box, and the frames that could not be read, in order."""
    tasks = [
        _CountTask(scene, tuple(range(first, min(first + FRAMES_A_TASK, len(scene)))), store, keep_going)
        for scene in scenes
        for first in range(0, len(scene), FRAMES_A_TASK)
    ]
    by_id = {scene.id: scene for scene in scenes}
    counted = [one for batch in run_tasks(_count, tasks, workers, tick) for one in batch]
    failures = [
        {"scene": one.scene, "frame": one.frame, "name": by_id[one.scene].frame_names[one.frame], "error": one.error}
        for one in sorted(counted, key=lambda one: (one.scene, one.frame))
        if one.error
    ]
    return {(one.scene, one.frame): one.points for one in counted if not one.error}, tuple(failures)


def _count(task: _CountTask, tick: Callable[[], None]) -> list[_Counted]:
    """The points in every box of some frames."""
    result = []
    for index in task.frames:
        try:
            found = task.store.read(task.scene.id, task.scene.frame_names[index])
            unit = points_in_boxes(task.scene[index].points(), found.boxes, found.objectness)
            points = np.bincount(unit[unit >= 0], minlength=len(found)).astype(np.int64)
            result.append(_Counted(task.scene.id, index, points))
        except DataError as error:
            if not task.keep_going:
                raise
            result.append(_Counted(task.scene.id, index, np.empty(0, np.int64), str(error)))
        tick()
    return result
