# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""The ledger: whole, or refused in one line; a crash costs at most the append that nobody was told of."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from drives import drive_of

from lidal3d.errors import DataError
from lidal3d.rounds.ledger import Ledger
from lidal3d.rounds.record import Record, by_people, history_of_records, in_force


def record(unit: int, round_number: int = 1, labeller: str = "human", **other) -> Record:  # type: ignore[no-untyped-def]
    fields = {
        "scene": "00", "frame": unit % 3, "unit": unit, "kind": "grid", "points": 10 + unit, "labeller": labeller,
        "round": round_number, "model": "abc", "strategy": "lidal", "cost": 10.0 + unit, "currency": "points",
        "center_m": (1.0 * unit, 0.5, -1.0),
    }  # fmt: skip
    return Record(**{**fields, **other})


@pytest.fixture
def scene():  # type: ignore[no-untyped-def]
    return drive_of(np.random.default_rng(0), frames=4, points=20)


@pytest.fixture
def path(tmp_path, scene) -> Path:  # type: ignore[no-untyped-def]
    ledger = Ledger.create(tmp_path / "ledger.jsonl", [scene])
    ledger.append([record(k, 0, "initial") for k in range(3)])
    ledger.append([record(k) for k in range(3, 7)] + [record(9, labeller="pseudo")])
    return tmp_path / "ledger.jsonl"


def head_of(path: Path) -> Path:
    return path.with_name(path.name + ".head")


def one_line(error: pytest.ExceptionInfo[DataError]) -> str:
    assert "\n" not in str(error.value)
    return str(error.value)


def test_what_was_appended_is_read_again(path, scene):
    ledger = Ledger.open(path, [scene])
    expected = [record(k, 0, "initial") for k in range(3)] + [record(k) for k in range(3, 7)]
    assert ledger.records == [*expected, record(9, labeller="pseudo")]
    assert ledger.last_round == 1
    assert len(ledger.of_round(0)) == 3
    ledger.append([record(20, 2)])
    assert Ledger.open(path).records[-1] == record(20, 2)


def test_the_same_records_are_the_same_bytes(path, scene, tmp_path):
    other = Ledger.create(tmp_path / "again" / "ledger.jsonl", [scene])
    other.append([record(k, 0, "initial") for k in range(3)])
    other.append([record(k) for k in range(3, 7)] + [record(9, labeller="pseudo")])
    assert other.path.read_bytes() == path.read_bytes()
    assert head_of(other.path).read_bytes() == head_of(path).read_bytes()


def test_an_append_cut_off_at_any_byte_is_as_if_it_never_was(path, scene):
    before, head = path.read_bytes(), head_of(path).read_bytes()
    Ledger.open(path).append([record(10, 2), record(11, 2)])
    after = path.read_bytes()
    kept = Ledger.open(path).records[:-2]
    for size in range(len(before), len(after) + 1):
        # The head still tells of the state before: that is the order in which an append writes.
        path.write_bytes(after[:size])
        head_of(path).write_bytes(head)
        said: list[str] = []
        ledger = Ledger.open(path, [scene], said.append)
        assert ledger.records == kept
        assert len(said) == (size > len(before))
        assert all("cut off" in line and "\n" not in line for line in said)
        ledger.append([record(10, 2), record(11, 2)])
        assert path.read_bytes() == after


def test_a_missing_tail_is_refused_at_every_byte_of_the_last_record(path):
    whole = path.read_bytes()
    last = whole[:-1].rfind(b"\n") + 1
    for size in range(last, len(whole)):
        path.write_bytes(whole[:size])
        with pytest.raises(DataError, match="tail is missing") as error:
            Ledger.open(path)
        assert "7 whole records, 8 were written" in one_line(error)
        assert path.read_bytes() == whole[:size], "nothing is lost on top"


def test_a_changed_line_and_a_lost_head_are_refused(path):
    lines = path.read_text().splitlines()
    fields = json.loads(lines[2])
    path.write_text("\n".join([*lines[:2], json.dumps({**fields, "points": 99}, sort_keys=True), *lines[3:]]) + "\n")
    with pytest.raises(DataError, match="line 3 doesn't follow") as error:
        Ledger.open(path)
    one_line(error)
    path.write_text("\n".join([lines[0], lines[2], lines[1], *lines[3:]]) + "\n")
    with pytest.raises(DataError, match="line 2 doesn't follow"):
        Ledger.open(path)
    path.write_text("\n".join(lines) + "\n")
    head_of(path).unlink()
    with pytest.raises(DataError, match="may lack its tail") as error:
        Ledger.open(path)
    one_line(error)


def test_a_ledger_that_is_gone_is_not_begun_anew(path, scene):
    path.unlink()
    with pytest.raises(DataError, match=r"ledger.jsonl: is missing, but 8 records were written"):
        Ledger.open_or_create(path, [scene])
    assert head_of(path).exists()


def test_a_ledger_of_another_data_set_is_refused(path, scene):
    others = {
        "scene '00'": drive_of(np.random.default_rng(0), frames=4, points=20, scene_id="07"),
        "had 4 frames": drive_of(np.random.default_rng(0), frames=5, points=20),
        "now 4 frames": drive_of(np.random.default_rng(0), frames=4, points=20, moving=False),
    }
    for words, other in others.items():
        with pytest.raises(DataError, match=words) as error:
            Ledger.open(path, [other])
        one_line(error)
    further = drive_of(np.random.default_rng(1), frames=9, points=20, scene_id="05")
    assert Ledger.open(path, [scene, further]).last_round == 1


def test_no_ledger_is_no_ledger(tmp_path):
    with pytest.raises(DataError, match="no ledger there"):
        Ledger.open(tmp_path / "ledger.jsonl")
    (tmp_path / "other.jsonl").write_text('{"rank": 1}\n')
    (tmp_path / "other.jsonl.head").write_text('{"records": 0, "digest": ""}')
    with pytest.raises(DataError, match="not a ledger's"):
        Ledger.open(tmp_path / "other.jsonl")


def test_a_unit_is_asked_once_and_appending_is_all_or_nothing(path):
    ledger, before = Ledger.open(path), path.read_bytes()
    with pytest.raises(DataError, match="ask each unit once"):
        ledger.append([record(30, 2), record(4, 2)])
    assert path.read_bytes() == before
    ledger.append([record(9, 2)])  # was a guess, now a person's
    with pytest.raises(DataError, match="ask each unit once"):
        ledger.append([record(31, 3), record(31, 3)])


def test_two_writers_are_noticed(path):
    first, second = Ledger.open(path), Ledger.open(path)
    first.append([record(30, 2)])
    with pytest.raises(DataError, match="another process"):
        second.append([record(31, 2)])
    assert Ledger.open(path).records[-1] == record(30, 2)


def test_only_the_last_rounds_guesses_count(path):
    ledger = Ledger.open(path)
    assert [r.unit for r in in_force(ledger.records) if r.labeller == "pseudo"] == [9]
    ledger.append([record(12, 2), record(13, 2, "pseudo")])
    assert [r.unit for r in in_force(ledger.records)] == [0, 1, 2, 3, 4, 5, 6, 12, 13]
    assert len(by_people(ledger.records)) == 8


def test_history_knows_units_frames_and_guesses():
    frame = record(0, 0, "initial", kind="frame", frame=2)
    history = history_of_records([frame, record(4), record(5, labeller="pseudo")], "grid")
    assert history.labelled_frames == {("00", 2)}
    assert [(pick.key.unit, pick.points, pick.center_m) for pick in history.labelled] == [(4, 14, (4.0, 0.5, -1.0))]
    assert [pick.key.unit for pick in history.pseudo] == [5]
    assert len(history_of_records([frame], "frame").labelled) == 1
    with pytest.raises(DataError, match="labelled grid units, this pool has kmeans"):
        history_of_records([record(4)], "kmeans")


def test_a_ledger_moved_with_its_head_opens(path, scene, tmp_path):
    (tmp_path / "moved").mkdir()
    for part in (path, head_of(path)):
        shutil.copy(part, tmp_path / "moved")
    assert len(Ledger.open(tmp_path / "moved" / path.name, [scene]).records) == 8
