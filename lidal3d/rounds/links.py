# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Links: what one process does of an experiment, where its files lie, and whether they are all there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lidal3d.rounds.config import ExperimentConfig

MODEL_FILE = "model.safetensors"
EVALUATION_FILE = "evaluation.json"
STAGES_FILE = "stages.json"
ENCODER = "encoder"
ENCODER_FILE = "encoder.safetensors"
SHARED = ("initial", ENCODER, "full")  # of a seed; no row may be called so


@dataclass(frozen=True)
class Link:
    """What one process does: a seed's shared part, its full supervision, or one strategy of it. Survives pickling.

    Attributes:
        experiment: all settings.
        out: the results folder.
        seed: which.
        what: "initial", "full", or the name of a row of the comparison.
        device: where torch computes.
    """

    experiment: ExperimentConfig
    out: Path
    seed: int
    what: str
    device: str = "cpu"

    @property
    def folder(self) -> Path:
        """Where its files lie."""
        return seed_folder(self.out, self.seed) / self.what


def seed_folder(out: Path, seed: int) -> Path:
    """Where a seed's files lie."""
    return out / f"seed-{seed}"


def round_folder(out: Path, seed: int, row: str, number: int) -> Path:
    """Where a round's files lie; round 0 is the initial model, which the rows share."""
    return seed_folder(out, seed) / ("initial" if number == 0 else f"{row}/round-{number}")


def trainings_of(link: Link) -> int:
    """How many models a link trains."""
    return 1 if link.what in SHARED else link.experiment.rounds


def encoder_of(link: Link) -> Path | None:
    """The encoder that a seed's strategies ask, or None where the experiment has none."""
    settings = link.experiment.encoder
    if settings is None:
        return None
    return seed_folder(link.out, link.seed) / ENCODER if settings.path is None else Path(settings.path)


def is_done(link: Link) -> bool:
    """Whether the last file of a link is there."""
    if link.what == ENCODER:
        return (link.folder / ENCODER_FILE).is_file()
    last = link.folder if link.what in SHARED else round_folder(link.out, link.seed, link.what, link.experiment.rounds)
    return (last / EVALUATION_FILE).is_file()
