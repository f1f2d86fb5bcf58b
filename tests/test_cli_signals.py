# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""From a drive and its models to a queue by Learning Loss and by TOD, on the command line; what it says where one lacks."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from command_line import FAST, CommandLine, street, write_drive

from lidal3d.scores.table import ScoreTable

TRAIN = ("--steps", "4", "--set", "train.width=0.0625", "--set", "train.voxel_m=0.5", *FAST)
SCORE = (*FAST, "--set", "predict.views=1")


@pytest.fixture
def lidal3d(capsys) -> CommandLine:  # type: ignore[no-untyped-def]
    return CommandLine(capsys)


@pytest.fixture(scope="module")
def given(tmp_path_factory) -> Path:  # type: ignore[no-untyped-def]
    """A drive, the model of a round, and the next one with a loss head."""
    from lidal3d.cli.main import main

    folder = tmp_path_factory.mktemp("given")
    write_drive(folder / "drive", street(8))
    drive = str(folder / "drive")
    with pytest.raises(SystemExit) as first:
        main(["train", drive, "--out", str(folder / "first"), *TRAIN])
    head = ("--set", "learning_loss.weight=1", "--set", "learning_loss.held_out=0.4", "--set", "tod.weight=0.05")
    with pytest.raises(SystemExit) as second:
        main(["train", drive, "--out", str(folder / "second"), "--initial", str(folder / "first"), *TRAIN, *head])
    assert (first.value.code or 0, second.value.code or 0) == (0, 0)
    return folder


def test_a_queue_by_predicted_loss_and_by_temporal_discrepancy(given: Path, lidal3d: CommandLine) -> None:
    scores = given / "scores"
    done = lidal3d(
        "score", given / "drive", "--model", given / "second", "--earlier-model", given / "first", "--out", scores,
        "--strategy", "learning_loss", "--strategy", "tod", "--strategy", "tod_first", *SCORE,
    )  # fmt: skip
    assert done.code == 0, done.err
    table = ScoreTable.read(scores / "scores.parquet")
    assert {"predicted_loss", "temporal_discrepancy", "distance_to_uniform"} <= set(table.scores)
    assert np.ptp(table.score("predicted_loss")) > 0
    assert table.score("temporal_discrepancy").max() > 0
    assert table.metadata["loss_head"]["units"] >= 5
    for strategy, settings in (("learning_loss", ("--set", "learning_loss.gate=0")), ("tod", ()), ("tod_first", ())):
        queue = given / strategy
        done = lidal3d("select", scores, "--strategy", strategy, "--budget", "5%", "--out", queue, *settings)
        assert done.code == 0, done.err
        assert json.loads((queue / "summary.json").read_text())


def test_what_is_missing_is_said_in_one_line(given: Path, lidal3d: CommandLine) -> None:
    asked = ("score", given / "drive", "--model", given / "first", "--out", given / "nothing", *SCORE)
    for strategy, said in (
        ("tod", "strategy 'tod' needs an earlier model; give --earlier-model"),
        ("learning_loss", "the model has no loss head; train the model with --set learning_loss.weight=1"),
    ):
        done = lidal3d(*asked, "--strategy", strategy)
        assert done.code != 0
        assert said in " ".join(done.err.split())
        assert "Traceback" not in done.err
    done = lidal3d(*asked, "--strategy", "tod", "--earlier-model", given / "nowhere")
    assert "no model there" in " ".join(done.err.split())


def test_a_head_below_the_gate_is_refused_with_its_number(given: Path, lidal3d: CommandLine) -> None:
    scores = given / "gated"
    done = lidal3d(
        "score", given / "drive", "--model", given / "second", "--out", scores, "--strategy", "learning_loss", *SCORE
    )
    assert done.code == 0, done.err
    select = ("select", scores, "--strategy", "learning_loss", "--budget", "5%", "--set", "learning_loss.gate=0.999")
    done = lidal3d(*select, "--out", given / "refused")
    said = " ".join(done.err.split())
    assert done.code != 0
    assert "% of the pairs of" in said
    assert "below_gate=random" in said
    done = lidal3d(*select, "--out", given / "drawn", "--set", "learning_loss.below_gate=random")
    assert done.code == 0, done.err
    first = json.loads((given / "drawn" / "manifest.jsonl").read_text().splitlines()[0])
    assert first["reason"].startswith("drawn at random: the loss head orders")
