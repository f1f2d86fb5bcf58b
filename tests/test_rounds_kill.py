# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""An experiment killed with -9 in every phase, before every single file of it appears: the same bytes in the end."""

from __future__ import annotations

import multiprocessing
import signal
import sys
from pathlib import Path

import pytest
from experiments import run_and_die, tinier

from lidal3d.rounds.experiment import run_experiment

PHASES = {
    "noting what the folder is for": "run.json",
    "simulating": "world/sequences/01",
    "drawing the initial set": "seed-3/initial.json",
    "initial training": "seed-3/initial/checkpoint.safetensors",
    "saving the initial model": "seed-3/initial/model.safetensors",
    "full training": "seed-3/full/checkpoint.safetensors",
    "evaluating full supervision": "seed-3/full/evaluation.json",
    "beginning a ledger": "seed-3/entropy/ledger.jsonl",
    "guessing": "seed-3/gist/round-1/scores/guesses/00/000002.npz",
    "scoring": "seed-3/gist/round-1/scores/parts/00/000000-000003.arrow",
    "choosing": "seed-3/gist/round-1/queue",
    "appending to a ledger": "seed-3/gist/ledger.jsonl.head",
    "training a round": "seed-3/entropy/round-1/checkpoint.safetensors",
    "training a stage on people's labels": "seed-3/gist/round-1/stages/human/checkpoint.safetensors",
    "training a stage on pseudo-labels": "seed-3/gist/round-1/stages/2-pseudo/checkpoint.safetensors",
    "judging a stage": "seed-3/gist/round-1/stages/1-pseudo/held_out.json",
    "choosing between stages": "seed-3/gist/round-1/stages.json",
    "returning a stage": "seed-3/gist/round-1/model.safetensors",
    "evaluating a round": "seed-3/gist/round-1/evaluation.json",
    "copying ledgers": "ledgers/gist_seed-3.jsonl",
    "drawing curves": "curves.svg",
    "writing the table": "table.txt",
    "writing the metrics": "metrics.csv",
}
LOG = "training.csv"  # it has times in it
IMPORTED = ("lidal3d", "numba", "numpy", "open3d", "pyarrow", "scipy", "torch")


def bytes_of(out: Path) -> dict[str, bytes]:
    files = [path for path in sorted(out.rglob("*")) if path.is_file() and path.name != LOG]
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):  # type: ignore[no-untyped-def]
    """The folder of the same experiment, which nobody disturbed."""
    out = tmp_path_factory.mktemp("whole") / "out"
    run_experiment(tinier(), out)
    return out


@pytest.fixture(scope="module")
def killed(whole, tmp_path_factory):  # type: ignore[no-untyped-def]
    """The folder of an experiment whose process died before every file of it, and what it died at."""
    folder = tmp_path_factory.mktemp("killed")
    forks = multiprocessing.get_context("forkserver")
    # Processes that start with all imported that an experiment imports: this one has run it.
    forks.set_forkserver_preload([name for name in sorted(sys.modules) if name.partition(".")[0] in IMPORTED])
    deaths = folder / "deaths"
    for _ in range(300):
        process = forks.Process(target=run_and_die, args=(tinier(), folder / "out", deaths))
        process.start()
        process.join()
        if process.exitcode != -signal.SIGKILL:
            break
    assert process.exitcode == 0
    return folder / "out", deaths.read_text().splitlines()


@pytest.mark.parametrize("phase", PHASES)
def test_it_was_killed_in_every_phase(killed, phase):
    _, deaths = killed
    assert PHASES[phase] in {death.partition(" ")[0] for death in deaths}


def test_killed_before_every_file_it_gives_the_same_bytes(killed, whole):
    out, deaths = killed
    # Of a ledger's head there are three: empty, with the initial set, with the round.
    assert len([death for death in deaths if death.startswith("seed-3/gist/ledger.jsonl.head ")]) == 3
    found, expected = bytes_of(out), bytes_of(whole)
    assert found.keys() == expected.keys()
    assert [name for name in expected if found[name] != expected[name]] == []
    assert not [name for name in found if ".writing-" in name or "/stages/" in name or "/scores/" in name]
