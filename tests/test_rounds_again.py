# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Training once more on the labels of a finished experiment."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from experiments import tiny

from lidal3d.rounds.chain import train_again
from lidal3d.rounds.experiment import run_experiment
from lidal3d.rounds.links import Link, round_folder

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):  # type: ignore[no-untyped-def]
    out = tmp_path_factory.mktemp("again") / "out"
    experiment = tiny(seeds=(3,), rounds=1, strategies=["random"])
    run_experiment(experiment, out)
    return experiment, out


@pytest.mark.parametrize("row", ["random", "full"])
def test_the_same_settings_give_the_same_model(finished, tmp_path, row):
    experiment, out = finished
    link = Link(experiment, out, 3, row)
    found = train_again(link, 1, experiment.settings_of("random"), tmp_path)
    there = link.folder if row == "full" else round_folder(out, 3, row, 1)
    assert (tmp_path / "model.safetensors").read_bytes() == (there / "model.safetensors").read_bytes()
    assert found == json.loads((there / "evaluation.json").read_text())


def test_longer_trainings_are_other_models_and_the_results_stay(finished, tmp_path):
    experiment, out = finished
    link = Link(experiment, out, 3, "random")
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    config = experiment.settings_of("random")
    train_again(link, 1, config.assigned([f"train.steps={config.train.steps + 2}"]), tmp_path)
    there = round_folder(out, 3, "random", 1)
    assert (tmp_path / "model.safetensors").read_bytes() != (there / "model.safetensors").read_bytes()
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_the_rows_come_in_the_order_asked_for_whatever_ends_first(finished, tmp_path):
    _, out = finished
    asked = ["--row", "random", "--row", "full", "--set", "train.steps=3", "--workers", "2", "--out", tmp_path]
    subprocess.run([sys.executable, ROOT / "tools" / "retrain.py", out, *asked], check=True, capture_output=True)
    rows = (tmp_path / "retrained.csv").read_text().splitlines()
    assert [row.rpartition(",")[0] for row in rows] == ["row,seed,round", "random,3,1", "full,3,"]
    for row, folder in ((rows[1], "random-1"), (rows[2], "full-1")):
        evaluation = json.loads((tmp_path / "seed-3" / folder / "evaluation.json").read_text())
        assert float(row.rpartition(",")[2]) == pytest.approx(evaluation["miou"], abs=1e-6)
