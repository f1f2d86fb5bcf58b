# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""A tiny experiment for tests, and a process that runs it until it kills itself."""

from __future__ import annotations

import hashlib
import os
import signal
from pathlib import Path

from lidal3d.rounds.config import ExperimentConfig, parse_experiment


def tiny(**changes: object) -> ExperimentConfig:
    """Two scenes of six small sweeps, five steps a training, two rounds of random and LiDAL."""
    values = {
        "name": "tiny",
        "world": {"simulate": {"beams": 16, "columns": 128, "frames": 6, "scenes": 2}, "validation": ["01"]},
        "initial": {"kind": "frames", "share": 0.2},
        "rounds": 2,
        "seeds": [3],
        "config": {
            "units": {"kind": "grid", "cell_m": 3.0},
            "train": {"width": 0.125, "steps": 5, "voxel_m": 0.5},
            "predict": {"views": 2},
            "interframe": {"half_window": 2},
            "select": {"budget": "5%", "min_distance_m": 0.5, "min_points": 5},
            "pseudo": {"budget": "5%", "min_confidence": 0.0, "max_entropy": 9.0, "max_divergence": 9.0,
                       "max_class_share": 1.0},
        },
        "strategies": ["random", "lidal"],
    }  # fmt: skip
    return parse_experiment({**values, **changes}, "tiny")


def tinier(**changes: object) -> ExperimentConfig:
    """As `tiny`, smaller still: one round, three steps with checkpoints, one row in one go and one in GIST's stages."""
    values = tiny(
        world={"simulate": {"beams": 8, "columns": 64, "frames": 4, "scenes": 2}, "validation": ["01"]},
        rounds=1,
        strategies={"entropy": None, "gist": {"strategy": "lidal", "training": "gist"}},
        training={"stages": 2, "held_out": 0.2, "group_frames": 1},
    ).model_dump()
    train = {**values["config"]["train"], "steps": 3, "checkpoint_every": 2}
    return parse_experiment({**values, "config": {**values["config"], "train": train}, **changes}, "tinier")


def run_and_die(experiment: ExperimentConfig, out: Path, deaths: Path) -> None:
    """Run the experiment, and kill -9 this very process just before a file appears at which no process died before.

    Every file of an experiment but a training's log is renamed into its place, and an append to a ledger ends with a
    rename: so whoever runs this until it lives to the end has died in every phase. What it died at is noted in `deaths`,
    a line each.
    """
    import lidal3d.files as files
    from lidal3d.rounds.experiment import run_experiment

    replace = os.replace
    known = set(deaths.read_text().splitlines()) if deaths.exists() else set()

    def counted(source: Path, target: Path) -> None:
        death = f"{target.relative_to(out).as_posix()} {_content(Path(source))}"
        if death not in known and Path(target).name != "training.csv":
            with deaths.open("a") as file:
                file.write(death + "\n")
            os.kill(os.getpid(), signal.SIGKILL)
        replace(source, target)

    files.os.replace = counted  # type: ignore[assignment]
    run_experiment(experiment, out)


def _content(path: Path) -> str:
    # Checkpoints differ: so it also dies between two of them. A folder is always written whole.
    return "" if path.is_dir() else hashlib.sha256(path.read_bytes()).hexdigest()
