# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Choosing from bare feature files: the command, its file, and bad input."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from command_line import CommandLine

UNITS = 60


@pytest.fixture
def lidal3d(capsys):
    return CommandLine(capsys)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made, rng = tmp_path_factory.mktemp("features"), np.random.default_rng(0)
    patterns = rng.normal(size=(UNITS, 3, 8)).astype(np.float32)
    patterns[::3, 1:] = np.nan
    np.save(made / "patterns.npy", patterns)
    np.save(made / "half.npy", patterns.astype(np.float16))
    np.save(made / "other.npy", rng.normal(size=(UNITS, 5)))
    (made / "ids.txt").write_text("".join(f"drive/{row:03d}.jpg\n" for row in range(UNITS)))
    (made / "labelled.txt").write_text("drive/004.jpg\ndrive/009.jpg\n")
    return made


def rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("rule", ["prob", "FDS", "kcenter"])
def test_an_order_of_ids_whose_beginnings_are_smaller_choices(lidal3d, folder, tmp_path, rule):
    ask = ("select-features", folder / "patterns.npy", "--ids", folder / "ids.txt", "--rule", rule)
    said = lidal3d.fine(*ask, "-b", 40, "-o", tmp_path / "forty.csv")
    assert "40 units of 60" in said
    many = rows(tmp_path / "forty.csv")
    assert [row["rank"] for row in many] == [str(rank) for rank in range(1, 41)]
    assert len({row["id"] for row in many}) == 40
    assert {row["id"] for row in many} <= {f"drive/{row:03d}.jpg" for row in range(UNITS)}
    lidal3d.fine(*ask, "-b", 11, "-o", tmp_path / "few.csv")
    assert rows(tmp_path / "few.csv") == many[:11]
    lidal3d.fine(*ask, "-b", 40, "-o", tmp_path / "again.csv")
    assert (tmp_path / "again.csv").read_bytes() == (tmp_path / "forty.csv").read_bytes()
    distance = [float(row["distance"]) for row in many[1:]]
    if rule != "prob":
        assert distance == sorted(distance, reverse=True)
    lidal3d.fine(*ask, "-b", 58, "-o", tmp_path / "rest.csv", "--labelled", folder / "labelled.txt")
    assert {row["id"] for row in rows(tmp_path / "rest.csv")} == {
        f"drive/{row:03d}.jpg" for row in range(UNITS) if row not in (4, 9)
    }


def test_files_of_two_sensors_are_covered_together(lidal3d, folder, tmp_path):
    ask = ("select-features", "-b", 30, "--rule", "FDS")
    lidal3d.fine(*ask, folder / "patterns.npy", folder / "other.npy", "-o", tmp_path / "both.csv")
    lidal3d.fine(*ask, folder / "patterns.npy", "-o", tmp_path / "one.csv")
    both, one = ([row["id"] for row in rows(tmp_path / f"{name}.csv")] for name in ("both", "one"))
    assert len(set(both)) == 30
    assert both != one
    lidal3d.fine(*ask, folder / "half.npy", "-o", tmp_path / "half.csv")
    assert len(rows(tmp_path / "half.csv")) == 30


def test_units_without_patterns_are_left_out_and_told(lidal3d, folder, tmp_path):
    poor = np.load(folder / "patterns.npy")
    poor[:7], poor[7] = np.nan, 0
    np.save(tmp_path / "poor.npy", poor)
    for rule in ("prob", "FDS"):
        said = lidal3d.fine(
            "select-features", tmp_path / "poor.npy", "-b", 52, "-o", tmp_path / "out.csv", "--rule", rule
        )
        assert "8 units without a pattern" in said
        assert {int(row["id"]) for row in rows(tmp_path / "out.csv")} == set(range(8, UNITS))
    lidal3d.fine("select-features", tmp_path / "poor.npy", "-b", 53, "-o", tmp_path / "out.csv", "--rule", "kcenter")
    assert {int(row["id"]) for row in rows(tmp_path / "out.csv")} == set(range(7, UNITS))


@pytest.mark.parametrize("rule", ["prob", "FDS", "kcenter"])
def test_identical_units_and_a_single_one(lidal3d, tmp_path, rule):
    np.save(tmp_path / "same.npy", np.ones((9, 2, 4), np.float32))
    ask = ("select-features", "-o", tmp_path / "out.csv", "--rule", rule)
    lidal3d.fine(*ask, tmp_path / "same.npy", "-b", 9)
    assert {row["id"] for row in rows(tmp_path / "out.csv")} == set("012345678")
    np.save(tmp_path / "one.npy", np.ones((1, 4), np.float32))
    lidal3d.fine(*ask, tmp_path / "one.npy", "-b", 1)
    assert len(rows(tmp_path / "out.csv")) == 1


def test_what_cannot_be_is_refused_in_one_line(lidal3d, folder, tmp_path):
    good = np.load(folder / "patterns.npy")
    broken = {"nan": good.copy(), "inf": good.copy(), "ints": np.ones((60, 3), int), "flat": np.ones(60),
              "short": good[:50], "empty": np.empty((0, 3, 8))}  # fmt: skip
    broken["nan"][1, 0, 2], broken["inf"][2, 0] = np.nan, np.inf
    for name, array in broken.items():
        np.save(tmp_path / f"{name}.npy", array)
    (tmp_path / "cut.npy").write_bytes((folder / "patterns.npy").read_bytes()[:300])
    (tmp_path / "few.txt").write_text("a\nb\n")
    (tmp_path / "twice.txt").write_text("a\n" * UNITS)
    (tmp_path / "comma.txt").write_text("".join(f"a,{row}\n" for row in range(UNITS)))
    (tmp_path / "unknown.txt").write_text("3\nsomething\n")
    file, out = folder / "patterns.npy", ("-o", tmp_path / "out.csv", "-b")
    cases = [
        ((file, *out, 61), 2, "the pool has 60 units to choose from, 61 requested"),
        ((file, *out, 5, "--rule", "best"), 2, "no rule 'best' (known: prob, FDS, kcenter)"),
        ((file, folder / "other.npy", *out, 5, "--rule", "kcenter"), 2, "kcenter takes one feature file, 2 are given"),
        ((file, tmp_path / "short.npy", *out, 5), 1, "50 units, "),
        ((file, *out, 5, "--ids", tmp_path / "few.txt"), 1, "2 ids for 60 units"),
        ((file, *out, 5, "--ids", tmp_path / "twice.txt"), 1, "the id 'a' stands for two units"),
        ((file, *out, 5, "--ids", tmp_path / "comma.txt"), 1, "has a comma"),
        ((file, *out, 5, "--ids", tmp_path / "none.txt"), 1, "not a readable text file"),
        (
            (file, *out, 5, "--labelled", tmp_path / "unknown.txt"),
            1,
            "1 of 2 ids are no units of the pool, 'something'",
        ),
        ((tmp_path / "none.npy", *out, 5), 1, "no such file"),
        ((tmp_path / "cut.npy", *out, 5), 1, "not a whole .npy array"),
        ((tmp_path / "nan.npy", *out, 5), 1, "1 of 180 vectors have numbers that are not finite"),
        ((tmp_path / "inf.npy", *out, 5), 1, "1 of 180 vectors have numbers that are not finite"),
        ((tmp_path / "ints.npy", *out, 5), 1, "int64 of shape (60, 3), expected floats"),
        ((tmp_path / "flat.npy", *out, 5), 1, "float64 of shape (60,), expected floats"),
        ((tmp_path / "empty.npy", *out, 5), 1, "of shape (0, 3, 8), expected floats"),
    ]
    for words, code, told in cases:
        assert told in lidal3d.fault("select-features", *words, code=code)
    assert not (tmp_path / "out.csv").exists()
