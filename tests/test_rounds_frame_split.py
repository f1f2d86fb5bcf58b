# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""One scene split by frames: nothing but the frames named is asked about or evaluated, and the table says what it is."""

from __future__ import annotations

import json
import os
import traceback
from pathlib import Path

import numpy as np
import pytest
from command_line import CommandLine, street, write_drive
from experiments import tiny

from lidal3d.errors import DataError, UsageError
from lidal3d.rounds.experiment import run_experiment
from lidal3d.rounds.frame_split import nearest_s, split_frames
from lidal3d.rounds.ledger import Ledger
from lidal3d.scene.open import open_drive
from lidal3d.scene.scene import Frame

TRAIN, VALIDATION = ["00/000000..000002"], ["00/000005"]


@pytest.fixture(scope="module")
def drive(tmp_path_factory) -> Path:  # type: ignore[no-untyped-def]
    return write_drive(tmp_path_factory.mktemp("drive"), street(6, points=1500), street(2, scene="01"))


def test_just_the_named_frames_are_key_frames(drive):
    train, validation = split_frames(open_drive(drive), [*TRAIN, "01/000001"], VALIDATION, drive)
    assert {scene.id: np.flatnonzero(scene.is_key_frame).tolist() for scene in train} == {"00": [0, 1, 2], "01": [1]}
    assert {scene.id: np.flatnonzero(scene.is_key_frame).tolist() for scene in validation} == {"00": [5]}
    times = open_drive(drive)[0].timestamps_ns
    assert nearest_s(train, validation) == pytest.approx((times[5] - times[2]) / 1e9)
    assert nearest_s(train[1:], validation) is None


@pytest.mark.parametrize(
    ("train", "validation", "words"),
    [
        (["00/000000..000003"], ["00/000002..000005"], "frame '00/000002' is both for training and for validation"),
        (["00/000009"], VALIDATION, "no frame '000009' in scene '00' (it has 6: 000000..000005)"),
        (["07/000000"], VALIDATION, "no scene of frame '07/000000' among its 2 (00, 01)"),
        (["000000"], VALIDATION, "no scene of frame '000000'"),
        (["00/000002..000000"], VALIDATION, "ends before it begins"),
        ([], VALIDATION, "no frame is named to train on"),
        (TRAIN, [], "no frame is named to validate on"),
    ],
)
def test_frames_that_cannot_be_are_named(drive, train, validation, words):
    with pytest.raises(UsageError) as error:
        split_frames(open_drive(drive), train, validation, drive)
    assert words in str(error.value)


def test_a_frame_without_labels_is_named(tmp_path):
    folder = write_drive(tmp_path, street(6))
    (folder / "sequences" / "00" / "labels" / "000002.label").unlink()
    with pytest.raises(DataError, match="frame 00/000002 has no labels"):
        split_frames(open_drive(folder), TRAIN, VALIDATION, folder)


@pytest.mark.parametrize(
    ("world", "words"),
    [
        ({"train_frames": TRAIN}, "give both train_frames and validation_frames"),
        ({"train_frames": TRAIN, "validation_frames": VALIDATION, "validation": ["01"]}, "not both"),
    ],
)
def test_half_a_split_is_refused(world, words):
    with pytest.raises(UsageError, match=words):
        tiny(world=world)


def test_an_experiment_on_one_scene_asks_and_evaluates_its_own_frames_only(drive, tmp_path, monkeypatch):
    opened: set[tuple[str, bool]] = set()
    raw_labels = Frame.raw_labels

    def watched(frame: Frame):  # type: ignore[no-untyped-def]
        evaluating = "evaluate" in {call.name for call in traceback.extract_stack()}
        opened.add((f"{frame.scene.id}/{frame.name}", evaluating))
        return raw_labels(frame)

    monkeypatch.setattr(Frame, "raw_labels", watched)
    world = {"drive": str(drive), "train_frames": TRAIN, "validation_frames": VALIDATION, "key_frames_only": False}
    out = tmp_path / "out"
    result = run_experiment(tiny(world=world, strategies=["lidal"]), out)
    assert "VALIDATION IS NOT INDEPENDENT: its frames lie 0.3 s from training frames" in result.table
    assert "VALIDATION IS NOT INDEPENDENT" in (out / "curves.svg").read_text()
    records = Ledger.open(out / "seed-3" / "lidal" / "ledger.jsonl").records
    assert {record.scene for record in records} == {"00"}
    assert {record.frame for record in records if record.labeller != "initial"} <= {0, 1, 2}
    assert opened == {("00/000000", False), ("00/000001", False), ("00/000002", False), ("00/000005", True)}
    confusion = np.array(
        json.loads((out / "seed-3" / "lidal" / "round-2" / "evaluation.json").read_text())["confusion"]
    )
    labels = open_drive(drive)[0][5].labels()
    assert labels is not None
    assert confusion.sum() == (labels != 255).sum()


REAL = os.environ.get("LIDAL3D_REAL_DATA")


@pytest.mark.skipif(not REAL, reason="LIDAL3D_REAL_DATA is not set")
def test_the_real_sample_runs_from_end_to_end(capsys, tmp_path):
    short = (Path(__file__).parents[1] / "configs" / "semantickitti" / "sample.yaml").read_text()
    for before, after in (("rounds: 2", "rounds: 1"), ("steps: 60", "steps: 2"), ("width: 0.25", "width: 0.125")):
        assert before in short
        short = short.replace(before, after)
    (tmp_path / "short.yaml").write_text(short)
    lidal3d = CommandLine(capsys)
    ran = lidal3d(
        "experiment", tmp_path / "short.yaml", "--drive", Path(str(REAL)) / "semantickitti", "--out", tmp_path / "out",
        "--strategy", "lidal",
    )  # fmt: skip
    assert ran.code == 0, ran
    assert "VALIDATION IS NOT INDEPENDENT: its frames lie 0.1 s" in ran.out
    assert "ONE SEED PROVES NOTHING" in ran.out
    records = Ledger.open(tmp_path / "out" / "seed-0" / "lidal" / "ledger.jsonl").records
    assert {record.frame for record in records} <= {0, 1}
    assert [record for record in records if record.labeller == "human"]
