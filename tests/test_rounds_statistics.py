# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Areas, labels needed, wins and bands against brute force; the table and the curves drawn from them."""

from __future__ import annotations

import csv
import io
import math
import re
from xml.etree import ElementTree

import numpy as np
import pytest

from lidal3d.rounds.curves import curves_svg
from lidal3d.rounds.notes import ONE_SEED
from lidal3d.rounds.results import COLUMNS, Measured, full_csv, metrics_csv
from lidal3d.rounds.statistics import area_under_curve, labels_needed, mean_and_band, paired_difference, win_matrix
from lidal3d.rounds.table import needed_fraction, table_text


def rows(seeds=(0, 1, 2), strategies=("random", "lidal"), rounds=3, full=0.5) -> list[Measured]:  # type: ignore[no-untyped-def]
    found = []
    for place, strategy in enumerate(strategies):
        for seed in seeds:
            for number in range(rounds + 1):
                rng = np.random.default_rng([seed, number, place if number else 0])
                found.append(
                    Measured(
                        strategy, seed, number, 100 + 90 * number, 10 * place * number, 0, 1 + number, 1 + 5 * number,
                        30.0 * number, 10_000, 100, 0.2 + 0.08 * number + 0.02 * rng.random(),
                        {"car": 0.5, "bus": None}, full,
                    )
                )  # fmt: skip
    return found


def dense(x, y, count=200_001):  # type: ignore[no-untyped-def]
    fine = np.linspace(x[0], x[-1], count)
    return fine, np.interp(fine, x, y)


def test_area_and_labels_needed_agree_with_a_dense_grid():
    rng = np.random.default_rng(0)
    for _ in range(50):
        x = np.cumsum(rng.uniform(0.01, 1, 6))
        y = rng.uniform(0, 1, 6)
        fine_x, fine_y = dense(x, y)
        assert area_under_curve(x, y) == pytest.approx(fine_y.mean(), abs=1e-4)
        target = rng.uniform(0, 1.1)
        reached = np.flatnonzero(fine_y >= target)
        needed = labels_needed(x, y, target)
        if len(reached):
            assert needed == pytest.approx(fine_x[reached[0]], abs=1e-4 * (x[-1] - x[0]))
        else:
            assert needed is None


def test_area_and_labels_needed_of_a_curve_worked_out_by_hand():
    x, y = [100, 200, 300, 400], [0.20, 0.35, 0.42, 0.45]
    assert area_under_curve(x, y) == pytest.approx(0.365)
    needed = labels_needed(x, y, 0.9 * 0.45)
    assert needed == pytest.approx(278.57, abs=0.005)


def test_corner_cases_of_curves():
    assert math.isnan(area_under_curve([1.0], [0.5]))
    assert math.isnan(area_under_curve([1.0, 1.0], [0.5, 0.7]))
    assert labels_needed([0.1, 0.2], [0.5, 0.6], 0.5) == 0.1
    assert labels_needed([0.1, 0.2], [0.5, 0.6], 0.6) == pytest.approx(0.2)
    assert labels_needed([], [], 0.6) is None


def test_bands_are_students():
    mean, band = mean_and_band([1.0, 2.0, 4.0])
    assert mean == pytest.approx(7 / 3)
    assert band == pytest.approx(4.302653 * np.std([1, 2, 4], ddof=1) / np.sqrt(3), rel=1e-6)
    assert math.isnan(mean_and_band([3.0])[1])


def test_wins_are_counted_pair_by_pair():
    rng = np.random.default_rng(1)
    names = ("a", "b", "c")
    keys = [(seed, number) for seed in range(3) for number in range(1, 5)]
    outcomes = {name: {key: float(rng.integers(0, 4)) for key in keys} for name in names}
    del outcomes["c"][0, 1]
    wins, pairs = win_matrix(outcomes, names)
    for i, mine in enumerate(names):
        for j, other in enumerate(names):
            score = count = 0.0
            for key in keys:
                if i != j and key in outcomes[mine] and key in outcomes[other]:
                    count += 1
                    score += {1: 1.0, 0: 0.5, -1: 0.0}[int(np.sign(outcomes[mine][key] - outcomes[other][key]))]
            assert (wins[i, j], pairs[i, j]) == (score, count)
    mean, _ = paired_difference(outcomes, "a", "b")
    by_seed = [np.mean([outcomes["a"][s, r] - outcomes["b"][s, r] for r in range(1, 5)]) for s in range(3)]
    assert mean == pytest.approx(np.mean(by_seed))


def test_metrics_have_exactly_the_agreed_columns():
    lines = list(csv.reader(io.StringIO(metrics_csv(rows()))))
    agreed = "strategy,seed,round,labelled_points_fraction,pseudo_points_fraction,miou,full_supervision_miou"
    assert ",".join(lines[0]) == agreed == ",".join(COLUMNS)
    assert len(lines) == 1 + 2 * 3 * 4
    assert lines[1][:5] == ["random", "0", "0", "0.010000", "0.000000"]
    richer = list(csv.DictReader(io.StringIO(full_csv(rows()))))
    assert (richer[-1]["frames"], richer[-1]["seconds"], richer[-1]["iou_car"], richer[-1]["iou_bus"]) == (
        "4", "90.0", "0.500000", "",
    )  # fmt: skip


def test_the_table_tells_warnings_before_and_notes_after_the_numbers():
    many, one = table_text("toy", rows()), table_text("toy", rows(seeds=(0,)), [ONE_SEED], ["trained in stages"])
    blocks = one.split("\n\n")
    assert blocks[1] == ONE_SEED
    assert blocks[-1] == "trained in stages"
    assert "ONE SEED" not in many
    assert "±" in many.splitlines()[3]
    assert "not reached" in table_text("toy", rows(full=0.9))
    assert "unknown" in table_text("toy", rows(full=float("nan")))


def test_the_table_counts_seeds_that_never_get_there():
    some = [r for r in rows(seeds=(0, 1)) if r.strategy == "random"]
    low = [r if r.seed == 0 else Measured(**{**r.__dict__, "miou": 0.1}) for r in some]
    text = table_text("toy", low)
    assert "(1 of 2 seeds)" in text
    needed = needed_fraction([r for r in low if r.seed == 0], 0.85)
    assert needed is not None
    assert f"{100 * needed:.2f} % (1 of 2 seeds)" in text


@pytest.mark.parametrize("seeds", [(0,), (0, 1, 2)])
def test_curves_are_svg_with_a_band_where_there_are_seeds(seeds):
    warnings = ["first < last", ONE_SEED] if len(seeds) == 1 else []
    drawn = rows(seeds=seeds, strategies=("random", "lidal", "x", "y", "z", "u", "v", "w"))
    text = curves_svg("a < b", drawn, warnings)
    root = ElementTree.fromstring(text)
    names = [element.tag.rpartition("}")[2] for element in root.iter()]
    assert names.count("polyline") == 8 * 4
    assert names.count("polygon") == (8 * 4 if len(seeds) > 1 else 0)
    assert "nan" not in text
    words = " ".join(element.text or "" for element in root.iter())
    for axis in ("points labelled", "frames touched", "units labelled", "labelling time", "full supervision"):
        assert axis in words
    assert ("ONE SEED" in words) == ("first < last" in words) == (len(seeds) == 1)
    width, height = float(root.get("width", 0)), float(root.get("height", 0))
    for circle in (element for element in root.iter() if element.tag.endswith("circle")):
        assert 0 < float(circle.get("cx", -1)) < width
        assert 0 < float(circle.get("cy", -1)) < height


def texts_and_bands(drawn: list[Measured]) -> tuple[list[str], list[list[tuple[float, float]]]]:
    """The words of a figure, and the corners of each band."""
    root = ElementTree.fromstring(curves_svg("toy", drawn))
    words = [element.text or "" for element in root.iter() if element.tag.endswith("text")]
    bands = [element.get("points", "") for element in root.iter() if element.tag.endswith("polygon")]
    return words, [[tuple(map(float, corner.split(","))) for corner in band.split()] for band in bands]  # type: ignore[misc]


def test_ticks_are_round_numbers_with_commas_and_times_have_a_fitting_unit():
    drawn = [Measured(**{**r.__dict__, "units": 1540 * r.round, "seconds": 1540.0 * r.round}) for r in rows()]
    words, _ = texts_and_bands(drawn)
    assert "labelling time, minutes" in words
    assert {"1,000", "4,000", "20", "60", "0", "3"} <= set(words)
    numbers = [word for word in words if re.fullmatch(r"[0-9.,e+]+", word)]
    assert all(re.fullmatch(r"[0-9]{1,3}(,[0-9]{3})*(\.[0-9]+)?", number) for number in numbers)
    days = [Measured(**{**r.__dict__, "seconds": 5e5 * r.round}) for r in rows()]
    assert "labelling time, hours" in texts_and_bands(days)[0]


@pytest.mark.parametrize(("seeds", "what"), [((0, 1), "range over 2 seeds"), ((0, 1, 2), "95 % band over 3 seeds")])
def test_a_band_of_two_seeds_is_their_range_and_never_the_whole_panel(seeds, what):
    drawn = rows(seeds=seeds, strategies=("random",))
    words, bands = texts_and_bands(drawn)
    assert words[0] == f"toy: mIoU on the validation scenes, mean and {what}"
    # Two ticks of the y axis tell what its pixels mean.
    root = ElementTree.fromstring(curves_svg("toy", drawn))
    ticks = [e for e in root.iter() if e.tag.endswith("text") and e.get("text-anchor") == "end"][:2]
    (y0, v0), (y1, v1) = ((float(e.get("y", 0)) - 4, float(e.text or 0)) for e in ticks)
    corners, rounds = bands[0], 4
    for number in range(rounds):
        miou = [100 * r.miou for r in drawn if r.round == number]
        mean, half = mean_and_band(miou)
        low, high = (min(miou), max(miou)) if len(seeds) == 2 else (mean - half, mean + half)
        shown = [v0 + (y - y0) * (v1 - v0) / (y1 - y0) for _, y in (corners[number], corners[2 * rounds - 1 - number])]
        lowest, highest = (v0 + (edge - y0) * (v1 - v0) / (y1 - y0) for edge in (46 + 250, 46))
        assert shown == pytest.approx([min(high, highest), max(low, lowest)], abs=0.05)
