# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""From a model to the pool that a strategy chooses from: `lidal3d score`, of the frames that the oracle can answer for.

Everything lies in one folder, see `lidal3d.jobs.score_folder`; a kill costs at most the open part. Labels are not read
here, but for a strategy that is an upper reference and says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lidal3d.config import Config
from lidal3d.jobs.score import FRAMES_A_PART
from lidal3d.jobs.score_arrays import SCORES_FILE, read_pool
from lidal3d.jobs.score_folder import GUESSES, finish
from lidal3d.jobs.score_parts import all_parts
from lidal3d.jobs.score_scene import Recipe
from lidal3d.jobs.score_task import missing_tasks, run_task
from lidal3d.jobs.signals import Signal, facts_of
from lidal3d.predictions.guesses import BestGuesses
from lidal3d.predictions.live import LivePredictions
from lidal3d.scene.scene import Frame, Scene
from lidal3d.strategies.pool import UnitPool
from lidal3d.strategies.wanted import Wanted
from lidal3d.units.base import Partition

if TYPE_CHECKING:
    from lidal3d.learn.model import Model

__all__ = ["Wanted", "score_pool"]


def score_pool(
    scenes: Sequence[Scene],
    model: Model,
    config: Config,
    partition: Partition,
    wanted: Wanted,
    folder: Path,
    device: str = "cpu",
    signals: tuple[Signal, ...] = (),
) -> tuple[UnitPool, BestGuesses]:
    """Score the frames of some scenes that can be asked about, those with labels behind the oracle's back.

    Args:
        folder: for the files of what is done; remove it when the choice is made.
        signals: what is asked beside the model.

    Raises:
        DataError: a sweep cannot be read.
        UsageError: members are wanted of a single view.
    """
    guesses = BestGuesses(folder / GUESSES, model.classes)
    live = LivePredictions.of(model, config.predict, device).reading(wanted.extras)
    metadata = {"classes": list(model.classes), "model": model.name, "units": config.units.model_dump()}
    metadata |= facts_of(signals)
    recipe = Recipe(live, partition, config.interframe, wanted, guesses if wanted.guesses else None, metadata, signals)
    asked = {scene.id: [frame.index for frame in scene if _can_be_asked(frame)] for scene in scenes}
    parts = all_parts([scene for scene in scenes if asked[scene.id]], FRAMES_A_PART)
    if not (folder / SCORES_FILE).is_file():
        for task in missing_tasks(scenes, parts, recipe, folder, asked=asked):
            run_task(task, lambda: None)
        finish([folder], parts, folder)
    return read_pool(folder, wanted.arrays), guesses


def _can_be_asked(frame: Frame) -> bool:
    # Whether there is a label file, not what stands in it: the oracle must be able to answer.
    return frame.is_key_frame and frame.has_labels
