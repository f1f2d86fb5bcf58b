# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""The job behind `lidal3d track`: the scenes of a drive, each by one worker."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lidal3d.errors import UsageError
from lidal3d.files import remove_abandoned
from lidal3d.parallel.pool import run_tasks
from lidal3d.scene.pixels import CAMERA
from lidal3d.scene.scene import Scene
from lidal3d.settings.tracks import TracksConfig
from lidal3d.tracks.scene import track_scene
from lidal3d.tracks.store import TrackStore


@dataclass(frozen=True)
class _Task:
    scene: Scene
    store: TrackStore


def track_drive(
    scenes: Sequence[Scene],
    out: Path,
    config: TracksConfig,
    workers: int = 1,
    start: Callable[[int], None] = lambda frames: None,
    tick: Callable[[], None] = lambda: None,
) -> TrackStore:
    """Track all sweeps of some scenes; scenes that are done stay.

    Args:
        out: the store's folder.
        workers: processes; the tracks are the same for any number.
        start: told how many sweeps are to be tracked.
        tick: called for each sweep done.

    Raises:
        UsageError: a scene of pictures.
        DataError: a sweep is missing or damaged, or `out` holds tracks of other settings.
    """
    for scene in scenes:
        if scene.sensor == CAMERA:
            raise UsageError(
                f"scene {scene.id} is of pictures; tracks are of sweeps and seen in pictures from there: open the drive without '@'"
            )
    store = TrackStore.open_or_create(out, config)
    remove_abandoned(out)
    tasks = [_Task(scene, store) for scene in scenes if not store.table_path(scene.id).is_file()]
    start(sum(len(task.scene) for task in tasks))
    for _ in run_tasks(_run, tasks, workers, tick):
        pass
    return store


def _run(task: _Task, tick: Callable[[], None]) -> None:
    track_scene(task.scene, task.store, tick)
