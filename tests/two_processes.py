# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""What two processes do together in test_learn_processes.py: `torchrun --nproc_per_node 2 tests/two_processes.py FOLDER`.

Each case of `CASES` is trained; the losses that each process saw and the weights it ended with go to
FOLDER/CASE.RANK.npz. Alone, with no torchrun, the same function trains for comparison.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from shutil import copyfile

import numpy as np
from test_learn_jobs import MAP, RAW_IGNORED, memory_scene, picture, settings, sweep, weights_of

from lidal3d.cli.main import main
from lidal3d.learn.checkpoint import CHECKPOINT_FILE
from lidal3d.learn.options import beside
from lidal3d.learn.processes import Processes, started_processes
from lidal3d.learn.train import train

STEPS = 3
FIRST_STEP = "first.safetensors"
Points = tuple[np.ndarray, np.ndarray]


def sweeps(count: int) -> list[Points]:
    return [sweep(i, 300) for i in range(count)]


def unlabelled(points: Points) -> Points:
    return points[0], np.full_like(points[1], RAW_IGNORED)


def nothing() -> Points:
    return np.zeros((0, 4), np.float32), np.zeros(0, np.uint32)


@dataclass(frozen=True)
class Case:
    """What is trained on, and how other than usual."""

    sweeps: list[Points]
    changes: dict[str, object] = field(default_factory=dict)
    beside: dict[str, object] = field(default_factory=dict)


CASES = {
    "minkunet": Case(sweeps(5)),
    "spvcnn": Case(sweeps(5), {"architecture": "spvcnn"}),
    "uneven": Case(sweeps(5), {"batch": 3}),
    # In half of the batches no process has a label, in the others one has.
    "mostly_unlabelled": Case([sweep(0, 300), *(unlabelled(sweep(i, 300)) for i in range(1, 4))]),
    "one_empty": Case([sweep(0, 300), nothing()], {"architecture": "spvcnn"}),
    "pictures": Case([picture(i) for i in range(5)], {"batch": 3}),
    "windows": Case([picture(i) for i in range(5)], {"window_px": 16}),
    "mixed": Case(sweeps(5), {"precision": "bfloat16"}),
    "teacher": Case(sweeps(5), {"batch": 3}, {"tod": {"weight": 0.5, "alpha": 0.9}}),
}
# Of several processes each pairs the units of its own sweeps: not the step of one.
HEAD = Case(sweeps(5), {}, {"learning_loss": {"weight": 1, "hidden": 8}, "units": {"kind": "grid"}})


def trained(case: Case, processes: Processes, folder: Path | None = None, stop_at: int = 0) -> dict[str, np.ndarray]:
    """Losses and weights of a case, cut off after a step where asked; its checkpoint of the first step is kept."""
    losses: list[float] = []

    def note(step: int, loss: float) -> None:
        losses.append(loss)
        if step == 1 and folder is not None and processes.writes:
            copyfile(folder / CHECKPOINT_FILE, folder / FIRST_STEP)
        if step == stop_at:
            raise InterruptedError

    config = settings(**{"steps": STEPS, "checkpoint_every": 1, "learning_rate": 1e-3, **case.changes})
    frames = list(memory_scene(*case.sweeps))
    other = beside(config.updated(case.beside), frames)
    model = train(frames, MAP, config.train, progress=note, folder=folder, processes=processes, beside=other)
    head = [] if model.loss_head is None else [t.numpy() for t in model.loss_head.head.state_dict().values()]
    weights = {f"weight{i}": w for i, w in enumerate([*weights_of(model), *head])}
    return {"losses": np.array(losses), **weights}


def work(folder: Path, processes: Processes) -> None:
    """All cases, and one that is cut off and goes on."""
    for name, case in CASES.items():
        found = trained(case, processes, folder / name)
        np.savez(folder / f"{name}.{processes.rank}.npz", **found)
    np.savez(folder / f"head.{processes.rank}.npz", **trained(HEAD, processes, folder / "head"))
    try:
        trained(CASES["spvcnn"], processes, folder / "resumed", stop_at=2)
    except InterruptedError:
        found = trained(CASES["spvcnn"], processes, folder / "resumed")
        np.savez(folder / f"resumed.{processes.rank}.npz", **found)


if __name__ == "__main__":
    work(Path(sys.argv[1]), started_processes())
    main(sys.argv[2:])
