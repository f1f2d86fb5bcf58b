# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Score a drive: Scene + Predictions + Units -> ScoreTable, on any number of processes and machines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from lidal3d.config import Config
from lidal3d.errors import DataError, UsageError
from lidal3d.files import remove_abandoned, write_text
from lidal3d.jobs.score_folder import Part, ScoreResult, all_parts, claim_folder, failures_of, finish
from lidal3d.jobs.score_task import ScoreTask, run_task
from lidal3d.parallel.pool import run_tasks
from lidal3d.predictions.store import PredictionStore
from lidal3d.scene.scene import Scene
from lidal3d.scores.table import ScoreTable

# How much of a scene is saved at once; what a kill can cost. The table does not depend on it.
FRAMES_A_PART = 50


def score_drive(
    scenes: Sequence[Scene],
    predictions: PredictionStore,
    out: Path,
    config: Config,
    drive: Path | None = None,
    workers: int = 1,
    shard: tuple[int, int] = (1, 1),
    keep_going: bool = False,
    frames_a_part: int = FRAMES_A_PART,
    start: Callable[[int], None] = lambda frames: None,
    tick: Callable[[], None] = lambda: None,
) -> ScoreResult:
    """Score every frame of some scenes and write the score table; continue where an interrupted run stopped.

    Args:
        out: the results folder.
        drive: the path that the scenes were opened from, noted in source.yaml for the steps that follow.
        workers: processes.
        shard: (i, n): do the i-th of n shares (1-based); a table is only written by `merge_scores` when n > 1.
        keep_going: record frames that cannot be read in failed.jsonl instead of stopping at the first.
        frames_a_part: frames that one file of `parts/` holds.
        start: told how many frames are to be scored.
        tick: called for each frame done.

    Raises:
        DataError: a frame cannot be read; the folder holds scores made with other settings.
    """
    metadata = _metadata(scenes, predictions, config)
    parts = all_parts(scenes, frames_a_part)
    mine = _share(parts, *shard)
    claim_folder(out, metadata, parts, predictions)
    remove_abandoned(out)
    source = {"drive": str((drive or scenes[0].root).resolve()), "predictions": str(predictions.root.resolve())}
    write_text(out / "source.yaml", yaml.safe_dump(source))
    config.write(out / "config.yaml")
    # Frames that could not be read may have been mended since: then everything that saw them changes.
    if (out / "scores.parquet").is_file() and not (out / "failed.jsonl").is_file():
        return ScoreResult(ScoreTable.read(out / "scores.parquet"), ())
    tasks = _tasks(scenes, mine, predictions, config, out, metadata, workers, keep_going)
    start(sum(part.stop - part.first for task in tasks for part in task.parts))
    for _ in run_tasks(run_task, tasks, workers, tick):
        pass
    if shard[1] > 1:
        return ScoreResult(None, failures_of([out], mine))
    return finish([out], parts, out)


def _metadata(scenes: Sequence[Scene], predictions: PredictionStore, config: Config) -> dict[str, Any]:
    """What a table needs beside its rows. No path and no time, so that equal inputs give equal bytes."""
    if not scenes or not sum(map(len, scenes)):
        raise DataError("the drive has no frames; nothing to score")
    return {
        "classes": list(predictions.classes),
        "model": predictions.model,
        "dataset": scenes[0].dataset,
        "frames": {scene.id: len(scene) for scene in scenes},
        "units": config.units.model_dump(),
        "interframe": config.interframe.model_dump(),
    }


def _share(parts: list[Part], index: int, count: int) -> list[Part]:
    """The index-th of count runs of neighbouring parts, as equal as they can be."""
    if not 1 <= index <= count:
        raise UsageError(f"--shard {index}/{count}: the first number goes from 1 to {count}")
    bounds = np.linspace(0, len(parts), count + 1).round().astype(int)
    return parts[bounds[index - 1] : bounds[index]]


def _tasks(
    scenes: Sequence[Scene],
    parts: list[Part],
    predictions: PredictionStore,
    config: Config,
    out: Path,
    metadata: dict[str, Any],
    workers: int,
    keep_going: bool,
) -> list[ScoreTask]:
    """Missing parts, as runs that are long (a window is read once) and even enough to keep all workers busy."""
    by_id = {scene.id: scene for scene in scenes}
    missing = [part for part in parts if not part.path(out).is_file()]
    longest = max(1, -(-len(missing) // workers))
    runs: list[list[Part]] = []
    for part in missing:
        joins = runs and runs[-1][-1].scene == part.scene and runs[-1][-1].stop == part.first
        if joins and len(runs[-1]) < longest:
            runs[-1].append(part)
        else:
            runs.append([part])
    return [ScoreTask(by_id[run[0].scene], tuple(run), predictions, config, out, metadata, keep_going) for run in runs]
