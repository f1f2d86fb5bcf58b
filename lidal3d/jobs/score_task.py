# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""One worker's share of a scoring run: it walks a run of parts with one window and writes each as it is done."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lidal3d.errors import DataError
from lidal3d.files import write_json
from lidal3d.jobs.score_arrays import write_part_arrays
from lidal3d.jobs.score_parts import Part
from lidal3d.jobs.score_scene import Recipe, empty_pool, score_scene
from lidal3d.parallel.memory import memory_given_back
from lidal3d.scene.scene import Scene
from lidal3d.scores.table import concatenate
from lidal3d.strategies.pool import UnitPool

Asked = Mapping[str, Sequence[int]]  # scene id -> the frames that are scored, ascending


@dataclass(frozen=True)
class ScoreTask:
    """A run of neighbouring parts: one worker walks them with one window.

    Attributes:
        frames: the indices to score of those that the parts cover, ascending.
        folder: the results folder.
        keep_going: note frames that cannot be read instead of stopping at the first.
    """

    scene: Scene
    parts: tuple[Part, ...]
    frames: tuple[int, ...]
    recipe: Recipe
    folder: Path
    keep_going: bool = False


def missing_tasks(
    scenes: Sequence[Scene],
    parts: Sequence[Part],
    recipe: Recipe,
    folder: Path,
    workers: int = 1,
    keep_going: bool = False,
    asked: Asked | None = None,
) -> list[ScoreTask]:
    """Parts that aren't there, as runs that are long (a window is read once) and even enough to keep workers busy.

    Args:
        asked: the frames to score; None for all.
    """
    by_id = {scene.id: scene for scene in scenes}
    missing = [part for part in parts if not part.path(folder).is_file()]
    longest = max(1, -(-len(missing) // workers))
    runs: list[list[Part]] = []
    for part in missing:
        joins = runs and runs[-1][-1].scene == part.scene and runs[-1][-1].stop == part.first
        if joins and len(runs[-1]) < longest:
            runs[-1].append(part)
        else:
            runs.append([part])
    tasks = []
    for run in runs:
        frames = range(run[0].first, run[-1].stop)
        chosen = [frame for frame in frames if asked is None or frame in asked[run[0].scene]]
        tasks.append(ScoreTask(by_id[run[0].scene], tuple(run), tuple(chosen), recipe, folder, keep_going))
    return tasks


def run_task(task: ScoreTask, tick: Callable[[], None]) -> None:
    """Score a run of parts; each is written as soon as its last frame is scored."""
    with memory_given_back():
        _run_task(task, tick)


def _run_task(task: ScoreTask, tick: Callable[[], None]) -> None:
    failures: list[dict[str, Any]] = []

    def record(frame: int, error: DataError) -> None:
        failures.append({"scene": task.scene.id, "frame": frame, "name": task.scene[frame].name, "error": str(error)})

    stream = score_scene(task.scene, task.recipe, task.frames, record if task.keep_going else None)
    scored = next(stream, None)
    for part in task.parts:
        pools = []
        while scored is not None and scored[0] < part.stop:
            pools.append(scored[1])
            tick()
            scored = next(stream, None)
        if failures:
            write_json(part.failed_path(task.folder), failures)
        _write_part(part, pools or [empty_pool(task.scene, task.recipe)], task)


def _write_part(part: Part, pools: Sequence[UnitPool], task: ScoreTask) -> None:
    for name in task.recipe.wanted.arrays:
        write_part_arrays(part.array_path(task.folder, name), [getattr(pool, name) for pool in pools])
    # The table comes last: where it lies, the part is whole.
    concatenate([pool.table for pool in pools]).write(part.path(task.folder))
