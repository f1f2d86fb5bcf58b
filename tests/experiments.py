# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""A tiny experiment for tests, and a process that runs it until it kills itself."""

from __future__ import annotations

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


def run_and_die(experiment: ExperimentConfig, out: Path, rename: int) -> None:
    """Run the experiment, and kill -9 this very process just before it renames something for the `rename`-th time.

    Every stage of an experiment ends with a rename, also an append to a ledger: so this dies in all of them.
    """
    import lidal3d.files as files
    from lidal3d.rounds.experiment import run_experiment

    done = 0
    replace = os.replace

    def counted(*arguments: object) -> None:
        nonlocal done
        done += 1
        if done == rename:
            os.kill(os.getpid(), signal.SIGKILL)
        replace(*arguments)  # type: ignore[arg-type]

    files.os.replace = counted  # type: ignore[assignment]
    run_experiment(experiment, out)
