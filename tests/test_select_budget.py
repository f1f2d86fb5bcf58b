# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Budgets: what can be asked for, what it costs, and what is refused in one line with both numbers."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest

from lidal3d.errors import UsageError
from lidal3d.select.budget import Budget, absolute_limit, parse_budget, percent_limit, unit_costs


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        ("1%", Budget(Decimal(1), "points", percent=True)),
        (" 0.5 % ", Budget(Decimal("0.5"), "points", percent=True)),
        ("100%", Budget(Decimal(100), "points", percent=True)),
        ("50000:points", Budget(Decimal(50000), "points")),
        ("20:regions", Budget(Decimal(20), "regions")),
        ("10 : frames", Budget(Decimal(10), "frames")),
        ("3600.5:seconds", Budget(Decimal("3600.5"), "seconds")),
    ],
)
def test_budgets_that_make_sense(text: str, budget: Budget) -> None:
    assert parse_budget(text) == budget


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("0", "0 is not above 0"),
        ("5", "no currency"),
        ("", "not a number"),
        ("%", "not a number"),
        ("0%", "not above 0"),
        ("-1%", "-1% is not above 0"),
        ("100.01%", "100.01% is over 100 %"),
        ("0:points", "not above 0"),
        ("-3:regions", "-3 is not above 0"),
        ("nan%", "not a finite"),
        ("inf:points", "not a finite"),
        ("many:points", "'many' is not a number"),
        ("5:apples", "unknown currency 'apples'"),
        ("5%:points", "'5%' is not a number"),
        ("2.5:regions", "not a whole number"),
    ],
)
def test_budgets_that_make_none_are_usage_errors_of_one_line(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        parse_budget(text)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_costs_in_each_currency() -> None:
    points = np.array([1, 999, 2000])
    assert unit_costs("points", points, 20, 10).unit.tolist() == [1, 999, 2000]
    assert unit_costs("regions", points, 20, 10).unit.tolist() == [1, 1, 1]
    frames = unit_costs("frames", points, 20, 10)
    assert (frames.unit.tolist(), frames.frame_fee) == ([0, 0, 0], 1)
    seconds = unit_costs("seconds", points, 20, 10)
    assert seconds.unit.tolist() == [20_010, 29_990, 40_000]
    assert seconds.steps == 1000


@pytest.mark.parametrize(
    ("percent", "points", "down", "nearest"), [("1%", 250, 2, 2), ("1%", 350, 3, 4), ("0.7%", 1000, 7, 7)]
)
def test_percent_of_the_pools_points(percent: str, points: int, down: int, nearest: int) -> None:
    assert percent_limit(parse_budget(percent), points) == down
    assert (
        percent_limit(parse_budget(percent), points, rounded=True)
        == nearest
        == round(float(percent[:-1]) / 100 * points)
    )


def test_a_percentage_of_less_than_one_point_is_refused() -> None:
    with pytest.raises(UsageError, match="1% of 99 points"):
        percent_limit(parse_budget("1%"), 99)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("1000:regions", "pool has 812 regions, 1000 requested"),
        ("8121:points", "pool has 8120 points, 8121 requested"),
        ("407:frames", "pool has 406 frames, 407 requested"),
        ("20000:seconds", "pool has 16321.2 seconds, 20000 requested"),
    ],
)
def test_more_than_the_pool_has_is_refused_with_both_numbers(text: str, says: str) -> None:
    budget = parse_budget(text)
    costs = unit_costs(budget.currency, np.full(812, 10), 20.0, 10.0)
    with pytest.raises(UsageError, match=says):
        absolute_limit(budget, costs, np.arange(812) // 2)
    assert absolute_limit(budget, costs, None) == int(budget.amount * costs.steps)


def test_all_of_the_pool_may_be_asked_for() -> None:
    costs = unit_costs("points", np.full(812, 10), 20.0, 10.0)
    assert absolute_limit(parse_budget("8120:points"), costs, np.arange(812)) == 8120


def test_boxes_cost_one_each() -> None:
    assert parse_budget("20:boxes") == Budget(Decimal(20), "boxes")
    costs = unit_costs("boxes", np.array([0, 5, 900]), 20.0, 10.0)
    assert (costs.unit.tolist(), costs.frame_fee, costs.steps) == ([1, 1, 1], 0, 1)
