# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""What a reader of the results must be told before the numbers."""

from __future__ import annotations

from lidal3d.rounds.config import ExperimentConfig, SourceSettings
from lidal3d.rounds.frame_split import nearest_s
from lidal3d.rounds.world import World

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
        f"All labels of the source are trained on in every round, {100 * source.share:g} % of the sweeps once there are "
        "labels of the target. They are free, and not in 'labelled'; pool and mIoU are the target's."
    )


def training_notes(experiment: ExperimentConfig) -> list[str]:
    """What all rows are trained on beside the target's labels, and which rows take more steps a round."""
    notes = [] if experiment.world.source is None else [source_note(experiment.world.source)]
    for row in experiment.strategies:
        training = experiment.training_of(row)
        if training.kind != "single":
            notes.append(
                f"{row}: {training.kind.upper()}, {training.stages} stages a round, each of as many steps as another "
                f"row's whole round; {100 * training.held_out:g} % of the points people were asked about choose between "
                "them and are not trained on, though they count as labelled."
            )
    return notes
