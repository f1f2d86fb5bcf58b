# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""How many points lie in every box of a drive: the one part of scoring boxes that reads sweeps.

    OUT/parts/SCENE/FIRST-LAST.npz    counts and what they were made of, frames FIRST … LAST; a run that was cut off goes on

A part holds a digest of the box files: boxes that were written anew are counted anew.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lidal3d.errors import DataError
from lidal3d.files import replacing, write_npz
from lidal3d.jobs.score_parts import Part, all_parts
from lidal3d.parallel.pool import run_tasks
from lidal3d.predictions.boxes import BoxStore
from lidal3d.scene.scene import Scene
from lidal3d.units.boxes import points_in_boxes

FRAMES_A_TASK = 50
Counts = dict[tuple[str, int], npt.NDArray[np.int64]]


@dataclass(frozen=True)
class _CountTask:
    scene: Scene
    part: Part
    store: BoxStore
    keep_going: bool
    out: Path

    @property
    def frames(self) -> range:
        return range(self.part.first, self.part.stop)

    @property
    def path(self) -> Path:
        """Where the counts are kept."""
        return self.part.path(self.out).with_suffix(".npz")


@dataclass(frozen=True)
class _Counted:
    """Of one frame: the number of points in each box (B,), or why it could not be read."""

    scene: str
    frame: int
    points: npt.NDArray[np.int64]
    error: str = ""


def count_points(
    scenes: Sequence[Scene], store: BoxStore, out: Path, workers: int, keep_going: bool, tick: Callable[[], None]
) -> tuple[Counts, tuple[dict[str, Any], ...]]:
    """(scene id, frame) -> points in each box, and the frames that could not be read, in order.

    Parts that an earlier run left in `out` are not counted again; those of this run stay there too.
    """
    by_id = {scene.id: scene for scene in scenes}
    parts = all_parts(scenes, FRAMES_A_TASK)
    tasks = [_CountTask(by_id[part.scene], part, store, keep_going, out) for part in parts]
    counted = [one for batch in run_tasks(_count, tasks, workers, tick) for one in batch]
    failures = [
        {"scene": one.scene, "frame": one.frame, "name": by_id[one.scene].frame_names[one.frame], "error": one.error}
        for one in sorted(counted, key=lambda one: (one.scene, one.frame))
        if one.error
    ]
    return {(one.scene, one.frame): one.points for one in counted if not one.error}, tuple(failures)


def _count(task: _CountTask, tick: Callable[[], None]) -> list[_Counted]:
    """The points in every box of some frames, and a part on disk where all could be read."""
    digest = _digest(task)
    kept = None if digest is None else _kept(task, digest)
    if kept is not None:
        for _ in kept:
            tick()
        return kept
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
    if digest is not None and not any(one.error for one in result):
        _keep(task, digest, result)
    return result


def _digest(task: _CountTask) -> bytes | None:
    """Of the box files of a task's frames; None where one is missing."""
    digest = hashlib.sha256()
    for index in task.frames:
        try:
            content = task.store.path(task.scene.id, task.scene.frame_names[index]).read_bytes()
        except OSError:
            return None
        digest.update(len(content).to_bytes(8, "little") + content)
    return digest.digest()


def _kept(task: _CountTask, digest: bytes) -> list[_Counted] | None:
    """What an earlier run counted in the same boxes; None where it didn't, or where the file is no whole one."""
    try:
        with np.load(task.path, allow_pickle=False) as held:
            points, boxes, of = held["points"], held["boxes"], held["digest"].tobytes()
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile):
        return None
    if of != digest or len(boxes) != len(task.frames) or boxes.sum() != len(points):
        return None
    pieces = np.split(points, np.cumsum(boxes)[:-1])
    return [_Counted(task.scene.id, index, piece) for index, piece in zip(task.frames, pieces, strict=True)]


def _keep(task: _CountTask, digest: bytes, counted: Sequence[_Counted]) -> None:
    arrays = {
        "points": np.concatenate([one.points for one in counted]),
        "boxes": np.array([len(one.points) for one in counted], np.int64),
        "digest": np.frombuffer(digest, np.uint8),
    }
    with replacing(task.path) as temporary:
        write_npz(temporary, arrays)
