# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""What would the labels of a finished experiment be worth to a longer training?

    python tools/retrain.py RESULTS --set train.steps=2000 --out again --workers 2

Trains once more, with other settings, on the labels that rows had in a round, and on all labels ("full"). One CSV row each:
row, seed, round, mIoU. A run that was cut off continues; the experiment's own folder is only read.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lidal3d.config import Config
from lidal3d.files import write_text
from lidal3d.parallel.pool import run_tasks
from lidal3d.rounds.chain import train_again
from lidal3d.rounds.config import load_experiment
from lidal3d.rounds.links import Link


@dataclass(frozen=True)
class Task:
    """One training."""

    link: Link
    number: int
    config: Config
    folder: Path


def main() -> None:
    """Train, evaluate, print and write OUT/retrained.csv."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path, help="a folder of `lidal3d experiment`")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--row", action="append", help="a row, or full; may be given again; all by default")
    parser.add_argument("--seed", action="append", type=int)
    parser.add_argument("--round", type=int, help="the last one by default")
    parser.add_argument("--set", dest="assignments", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--workers", type=int, default=1)
    given = parser.parse_args()
    experiment = load_experiment(given.results / "config.yaml")
    number = experiment.rounds if given.round is None else given.round
    tasks = []
    for seed in given.seed or experiment.seeds:
        for row in given.row or ["full", *experiment.strategies]:
            settings = experiment.shared_settings() if row == "full" else experiment.settings_of(row)
            folder = given.out / f"seed-{seed}" / f"{row}-{number}"
            link = Link(experiment, given.results, seed, row)
            tasks.append(Task(link, number, settings.assigned(given.assignments), folder))
    found = dict(run_tasks(_train, tasks, given.workers, lambda: None))  # in the order in which trainings end
    lines = ["row,seed,round,miou", *(f"{name},{found[name]:.6f}" for name in map(_name, tasks))]
    print("\n".join(lines))
    write_text(given.out / "retrained.csv", "\n".join(lines) + "\n")


def _train(task: Task, tick: Callable[[], None]) -> tuple[str, Any]:
    return _name(task), train_again(task.link, task.number, task.config, task.folder)["miou"]


def _name(task: Task) -> str:
    """Row, seed and round; full supervision has none."""
    return f"{task.link.what},{task.link.seed},{'' if task.link.what == 'full' else task.number}"


if __name__ == "__main__":
    main()
