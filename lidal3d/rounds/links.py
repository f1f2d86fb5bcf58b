# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Links: what one process does of an experiment, where its files lie, and whether they are all there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lidal3d.rounds.config import ENCODER, ExperimentConfig

MODEL_FILE = "model.safetensors"
EVALUATION_FILE = "evaluation.json"
STAGES_FILE = "stages.json"
ENCODER_FILE = "encoder.safetensors"
SHARED = ("initial", "full")  # of a seed; no row may be called so


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
    return 1 if link.what in SHARED or encoder_name(link) is not None else link.experiment.rounds


def encoder_links(experiment: ExperimentConfig, out: Path, seed: int, device: str) -> list[Link]:
    """The links that train a seed's encoders."""
    trained = [name for name, settings in experiment.encoders.items() if settings.method is not None]
    return [Link(experiment, out, seed, f"{ENCODER}-{name}", device) for name in trained]


def encoder_name(link: Link) -> str | None:
    """The name of the encoder that a link trains, or None where it does something else."""
    return link.what.removeprefix(f"{ENCODER}-") if link.what.startswith(f"{ENCODER}-") else None


def encoder_of(link: Link) -> Path | None:
    """The encoder that a row asks, or None where it has none."""
    name = link.experiment.encoder_of(link.what)
    if name is None:
        return None
    path = link.experiment.encoders[name].path
    return seed_folder(link.out, link.seed) / f"{ENCODER}-{name}" if path is None else Path(path)


def is_done(link: Link) -> bool:
    """Whether the last file of a link is there."""
    if encoder_name(link) is not None:
        return (link.folder / ENCODER_FILE).is_file()
    last = link.folder if link.what in SHARED else round_folder(link.out, link.seed, link.what, link.experiment.rounds)
    return (last / EVALUATION_FILE).is_file()
