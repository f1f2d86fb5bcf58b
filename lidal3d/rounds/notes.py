# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""What a reader of the results must be told before the numbers."""

from __future__ import annotations

import json
from pathlib import Path

from lidal3d.rounds.config import ExperimentConfig, SourceSettings
from lidal3d.rounds.frame_split import nearest_s
from lidal3d.rounds.links import STAGES_FILE, round_folder
from lidal3d.rounds.world import World
from lidal3d.select.manifest import read_manifest

ONE_SEED = (
    "ONE SEED PROVES NOTHING: the draw of the initial set alone moves mIoU by several points. "
    "Run at least three seeds before you compare strategies."
)


def warnings_of(experiment: ExperimentConfig, world: World) -> list[str]:
    """What makes the numbers worth less than they look."""
    gap_s = nearest_s(world.train, world.validation)
    warnings = [] if gap_s is None else [same_scene(gap_s)]
    return [*warnings, *([ONE_SEED] if len(experiment.seeds) == 1 else [])]


def same_scene(gap_s: float) -> str:
    """For a split by frames."""
    return (
        f"VALIDATION IS NOT INDEPENDENT: its frames lie {gap_s:.1f} s from training frames of the same scene, near copies "
        "of them. This shows that it runs, nothing else."
    )


def source_note(source: SourceSettings) -> str:
    """What the source costs and weighs."""
    return (
        f"All labels of the source are trained on in every round, {100 * source.share:g} % of the steps once there are "
        "labels of the target. They are free, and not in 'labelled'; pool and mIoU are the target's."
    )


def training_notes(experiment: ExperimentConfig, out: Path) -> list[str]:
    """What all rows are trained on beside the target's labels, and how those in stages were; read from `out`."""
    shared = [] if experiment.world.source is None else [source_note(experiment.world.source)]
    stages = [_note(experiment, out, row) for row in experiment.strategies if _in_stages(experiment, row)]
    return shared + stages + [note for row in experiment.strategies for note in _run_out(experiment, out, row)]


def _run_out(experiment: ExperimentConfig, out: Path, row: str) -> list[str]:
    """In which rounds a row had nothing left to ask."""
    numbers = range(1, experiment.rounds + 1)
    empty = [
        f"round {number} of seed {seed}"
        for seed in experiment.seeds
        for number in numbers
        if not read_manifest(round_folder(out, seed, row, number) / "queue").selection.picks
    ]
    where = ", ".join(empty)
    return [f"{row}: nothing was left to ask in {where}; trained on what there was."] if empty else []


def _in_stages(experiment: ExperimentConfig, row: str) -> bool:
    return experiment.training_of(row).kind != "single"


def _note(experiment: ExperimentConfig, out: Path, row: str) -> str:
    training = experiment.training_of(row)
    folders = [round_folder(out, seed, row, experiment.rounds) for seed in experiment.seeds]
    told = [json.loads((folder / STAGES_FILE).read_text(encoding="utf-8")) for folder in folders]
    share = sum(one["held_out"]["share_of_asked_points"] for one in told) / len(told)
    return (
        f"{row}: {training.kind.upper()}, {training.stages} stages a round, each of as many steps as another row's whole "
        f"round. {100 * share:.0f} % of the points people were asked about choose between them: labelled, not trained on."
    )
