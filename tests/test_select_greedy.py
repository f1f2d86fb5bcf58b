# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Greedy choice, both rules, against loops written plainly here."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lidal3d.errors import DataError
from lidal3d.select import pyset
from lidal3d.select.columns import near_any
from lidal3d.select.greedy import Choice, Pool, choose


def _set_reuses_the_last_freed_slot() -> bool:
    """Whether this interpreter walks its sets as CPython 3.11 does: a case where other ways give other orders."""
    probe = {8}
    for number in (32, 24, 16):
        probe.add(number)
    probe.remove(8)
    probe.remove(32)
    probe.add(40)
    return list(probe) == [24, 40, 16]


def pool(
    score: list[float],
    preference: list[float],
    x_m: list[float],
    cost: list[int] | None = None,
    frame: list[int] | None = None,
    scene: list[int] | None = None,
    group: list[int] | None = None,
) -> Pool:
    """Units on a line."""
    count = len(score)
    center_m = np.zeros((count, 3))
    center_m[:, 0] = x_m
    return Pool(
        score=np.array(score, np.float64),
        preference=np.array(preference, np.float64),
        scene=np.array(scene or [0] * count, np.int32),
        frame=np.array(frame or range(count), np.int32),
        center_m=center_m,
        number=np.arange(count, dtype=np.int64),
        cost=np.array(cost or [1] * count, np.int64),
        group=np.array(group or [0] * count, np.int32),
    )


def random_pool(
    rng: np.random.Generator, count: int, *, extent_m: float, grid: bool = False, scenes: int = 2, gaps: bool = False
) -> Pool:
    """Units in a cube; on a 1 m grid with few distinct scores there are ties and distances of exactly 5 m."""
    center_m = rng.uniform(-extent_m, extent_m, (count, 3))
    score, preference = rng.random(count), rng.random(count)
    if grid:
        center_m = np.round(center_m)
        score, preference = np.round(score, 1), np.round(preference, 1)
    number = np.sort(rng.choice(50 * count + 1, count, replace=False)) if gaps else np.arange(count)
    return Pool(
        score=score,
        preference=preference,
        scene=np.sort(rng.integers(0, scenes, count)).astype(np.int32),
        frame=np.sort(rng.integers(0, max(count // 3, 1), count)).astype(np.int32),
        center_m=center_m,
        number=number.astype(np.int64),
        cost=rng.integers(1, 20, count),
        group=rng.integers(0, 3, count).astype(np.int32),
    )


def close(units: Pool, a: int, b: int, distance_m: float) -> bool:
    apart = np.sqrt(((units.center_m[a] - units.center_m[b]) ** 2).sum())
    return bool(units.scene[a] == units.scene[b] and apart < distance_m)


def released_loop(units: Pool, limit: int, distance_m: float) -> tuple[set[int], int]:
    """LiDAL's loop (spec 1.9) with a real Python set of unit numbers."""
    row_of = {int(number): row for row, number in enumerate(units.number)}
    chosen: set[int] = set()
    left = limit
    for row in sorted(range(len(units.score)), key=lambda r: (-units.score[r], r)):
        number = int(units.number[row])
        rival = next((n for n in chosen if close(units, row, row_of[n], distance_m)), None)
        if rival is None:
            if left - units.cost[row] < 0:
                break
            left -= int(units.cost[row])
            chosen.add(number)
        elif units.preference[row_of[rival]] < units.preference[row]:
            chosen.add(number)
            chosen.remove(rival)
            left += int(units.cost[row_of[rival]] - units.cost[row])
    return {row_of[n] for n in chosen}, limit - left


def repaired_loop(
    units: Pool, limit: int, distance_m: float, fee: int = 0, caps: list[int] | None = None
) -> tuple[list[int], dict[int, int], int]:
    """The default rule, with every sum made anew from the whole set at every step."""

    def total(rows: set[int]) -> int:
        return sum(int(units.cost[r]) for r in rows) + fee * len({int(units.frame[r]) for r in rows})

    def in_caps(rows: set[int], row: int) -> bool:
        group = units.group[row]
        return caps is None or sum(int(units.cost[r]) for r in rows if units.group[r] == group) <= caps[group]

    order = sorted(range(len(units.score)), key=lambda r: (-units.score[r], r))
    chosen: set[int] = set()
    passed = len(order)
    for position, row in enumerate(order):
        if units.cost[row] + fee > limit:
            continue
        rivals = {r for r in chosen if close(units, row, r, distance_m)}
        if any(units.preference[r] >= units.preference[row] for r in rivals):
            continue
        swapped = (chosen - rivals) | {row}
        if not in_caps(swapped, row):
            continue
        if total(swapped) <= limit:
            chosen = swapped
        elif not rivals:
            passed = position
            break
    for row in order:
        clear = row not in chosen and not any(close(units, row, r, distance_m) for r in chosen)
        if clear and total(chosen | {row}) <= limit and in_caps(chosen | {row}, row):
            chosen.add(row)
    suppressor = {}
    for row in order[:passed]:
        rivals = {r for r in chosen if close(units, row, r, distance_m)}
        if row not in chosen and rivals:
            suppressor[row] = max(rivals, key=lambda r: (units.preference[r], -r))
    return [row for row in order if row in chosen], suppressor, total(chosen)


def suppressors(choice: Choice) -> dict[int, int]:
    return {int(row): int(choice.suppressor[row]) for row in np.flatnonzero(choice.suppressor >= 0)}


@pytest.mark.skipif(not _set_reuses_the_last_freed_slot(), reason="this interpreter's sets are walked in another order")
@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("highest", [30, 1000, 10**6])
def test_set_order_is_that_of_a_real_set(seed: int, highest: int) -> None:
    rng = np.random.default_rng(seed)
    real: set[int] = set()
    table, filled, used = pyset.new_table(), 0, 0
    for number in rng.integers(0, highest, 600).tolist():
        if number in real:
            real.remove(number)
            pyset.remove(table, number)
            used -= 1
        else:
            real.add(number)
            table, filled, used = pyset.add(table, filled, used, number)
        assert [int(n) for n in table if n >= 0] == list(real)


@pytest.mark.skipif(not _set_reuses_the_last_freed_slot(), reason="this interpreter's sets are walked in another order")
@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize("extent_m", [4.0, 12.0, 60.0])
@pytest.mark.parametrize("seed", range(5))
def test_paper_rule_is_the_released_loop(seed: int, extent_m: float, gaps: bool) -> None:
    rng = np.random.default_rng(seed)
    units = random_pool(rng, 400, extent_m=extent_m, gaps=gaps)
    for limit in (0, 7, 300, 1500, 10**6):
        choice = choose(units, limit, 5.0, rule="paper")
        rows, used = released_loop(units, limit, 5.0)
        assert (set(choice.rows.tolist()), choice.used) == (rows, used)


@pytest.mark.parametrize("grid", [False, True])
@pytest.mark.parametrize("extent_m", [4.0, 12.0, 60.0])
@pytest.mark.parametrize("seed", range(5))
def test_default_rule_is_the_plain_loop(seed: int, extent_m: float, grid: bool) -> None:
    rng = np.random.default_rng(seed)
    units = random_pool(rng, 150, extent_m=extent_m, grid=grid)
    for limit, fee, caps in ((0, 0, None), (7, 0, None), (120, 0, [30, 60, 200]), (500, 25, None), (10**6, 3, None)):
        choice = choose(units, limit, 5.0, frame_fee=fee, group_limits=None if caps is None else np.array(caps))
        rows, suppressor, used = repaired_loop(units, limit, 5.0, fee, caps)
        assert choice.rows.tolist() == rows
        assert suppressors(choice) == suppressor
        assert choice.used == used <= limit


@settings(max_examples=60, deadline=None)
@given(
    units=st.lists(
        st.tuples(*[st.integers(0, 3)] * 2, *[st.integers(-6, 6)] * 3, st.integers(0, 1), st.integers(1, 4)),
        max_size=12,
    ),
    limit=st.integers(0, 20),
    distance_m=st.sampled_from([0.0, 1.0, 3.0, 5.0, 100.0]),
    fee=st.integers(0, 3),
)
def test_default_rule_on_any_small_pool(units: list, limit: int, distance_m: float, fee: int) -> None:
    table = np.array(units, np.int64).reshape(-1, 7)
    table = table[np.argsort(table[:, 5], kind="stable")]
    small = Pool(
        score=table[:, 0].astype(float),
        preference=table[:, 1].astype(float),
        scene=table[:, 5].astype(np.int32),
        frame=(np.arange(len(table)) // 2).astype(np.int32),
        center_m=table[:, 2:5].astype(float),
        number=np.arange(len(table)),
        cost=table[:, 6].copy(),
        group=np.zeros(len(table), np.int32),
    )
    choice = choose(small, limit, distance_m, frame_fee=fee)
    rows, suppressor, used = repaired_loop(small, limit, distance_m, fee)
    assert (choice.rows.tolist(), suppressors(choice), choice.used) == (rows, suppressor, used)


@pytest.mark.parametrize("rule", ["default", "paper"])
def test_no_unit_and_one_unit(rule: str) -> None:
    assert choose(pool([], [], []), 10, 5.0, rule=rule).rows.tolist() == []
    one = pool([1.0], [1.0], [0.0], cost=[3])
    assert choose(one, 3, 5.0, rule=rule).rows.tolist() == [0]
    assert choose(one, 2, 5.0, rule=rule).rows.tolist() == []


@pytest.mark.parametrize("rule", ["default", "paper"])
def test_budget_met_exactly_and_missed_by_one_point(rule: str) -> None:
    units = pool([3, 2, 1], [0, 0, 0], [0, 10, 20], cost=[4, 3, 5])
    exact = choose(units, 12, 5.0, rule=rule)
    assert (exact.rows.tolist(), exact.used) == ([0, 1, 2], 12)
    short = choose(units, 11, 5.0, rule=rule)
    assert (short.rows.tolist(), short.used) == ([0, 1], 7)


def test_default_fills_with_smaller_units_where_paper_stops() -> None:
    units = pool([4, 3, 2, 1], [0, 0, 0, 0], [0, 10, 20, 30], cost=[4, 9, 3, 2])
    assert choose(units, 9, 5.0, rule="paper").rows.tolist() == [0]
    filled = choose(units, 9, 5.0)
    assert (filled.rows.tolist(), filled.used) == ([0, 2, 3], 9)


def test_ties_go_to_the_first_scene_frame_unit() -> None:
    units = pool([1, 1, 1, 1], [0, 0, 0, 0], [0, 10, 20, 30])
    assert choose(units, 2, 5.0).rows.tolist() == [0, 1]


def test_equal_entropy_keeps_the_higher_score() -> None:
    assert choose(pool([2, 1], [5, 5], [0, 3]), 9, 5.0).rows.tolist() == [0]


def test_exactly_the_distance_is_far_enough() -> None:
    assert choose(pool([2, 1], [0, 1], [0, 5]), 9, 5.0).rows.tolist() == [0, 1]
    assert choose(pool([2, 1], [0, 1], [0, 4.999]), 9, 5.0).rows.tolist() == [1]


def test_the_same_place_in_another_scene_is_another_place() -> None:
    assert choose(pool([2, 1], [0, 1], [0, 0], scene=[0, 1]), 9, 5.0).rows.tolist() == [0, 1]


def test_a_swap_that_makes_a_new_conflict() -> None:
    # 2 lies within 5 m of both 0 and 1, which are 8 m apart, and is more entropic than both.
    units = pool([3, 2, 1], [0.1, 0.2, 0.9], [0, 8, 4])
    paper = choose(units, 9, 5.0, rule="paper")
    assert len(paper.rows) == 2
    assert 2 in paper.rows  # the pair 4 m apart that the released code leaves
    repaired = choose(units, 9, 5.0)
    assert repaired.rows.tolist() == [2]
    assert suppressors(repaired) == {0: 2, 1: 2}


def test_a_swap_is_refused_when_one_of_the_rest_is_more_entropic() -> None:
    units = pool([3, 2, 1], [0.1, 0.9, 0.5], [0, 8, 4])
    choice = choose(units, 9, 5.0)
    assert choice.rows.tolist() == [0, 1]
    assert suppressors(choice) == {2: 1}


def test_a_unit_comes_back_when_what_replaced_it_is_replaced() -> None:
    # 1 replaces 0; 2 replaces 1 and is 8 m from 0.
    units = pool([3, 2, 1], [0.1, 0.5, 0.9], [0, 4, 8])
    assert choose(units, 9, 5.0).rows.tolist() == [0, 2]


def test_a_swap_may_not_break_the_budget() -> None:
    units = pool([3, 2], [0.1, 0.9], [0, 3], cost=[4, 6])
    assert choose(units, 5, 5.0).rows.tolist() == [0]
    tight = pool([3, 2, 1], [0.1, 0.2, 0.9], [0, 10, 3], cost=[4, 4, 6])
    assert choose(tight, 8, 5.0).rows.tolist() == [0, 1]
    assert choose(tight, 8, 5.0, rule="paper").used == 10  # the released code ends beyond its budget


def test_a_unit_dearer_than_the_budget_does_not_end_the_walk_with_swaps() -> None:
    units = pool([4, 3, 2], [0, 0.1, 0.9], [50, 0, 3], cost=[100, 4, 4])
    assert choose(units, 8, 5.0).rows.tolist() == [2]


def test_a_frame_is_paid_once() -> None:
    units = pool([4, 3, 2, 1], [0, 0, 0, 0], [0, 10, 20, 30], cost=[0, 0, 0, 0], frame=[0, 1, 0, 2])
    assert units.cost.tolist() == [0, 0, 0, 0]
    choice = choose(units, 2, 5.0, frame_fee=1)
    assert (choice.rows.tolist(), choice.used) == ([0, 1, 2], 2)


def test_group_limits() -> None:
    units = pool([4, 3, 2, 1], [0] * 4, [0, 10, 20, 30], cost=[2, 2, 1, 2], group=[1, 1, 1, 0])
    choice = choose(units, 10, 5.0, group_limits=np.array([10, 3]))
    assert choice.rows.tolist() == [0, 2, 3]


@pytest.mark.parametrize("smooth", [False, True])
def test_no_two_picks_of_a_scene_are_too_close_and_no_candidate_is_left_that_fits(smooth: bool) -> None:
    rng = np.random.default_rng(3)
    units = random_pool(rng, 5000, extent_m=60.0, scenes=3)
    if smooth:
        units = units._replace(score=np.cos(units.center_m @ rng.normal(0, 0.1, 3)))
    limit = int(units.cost.sum()) // 20
    choice = choose(units, limit, 5.0)
    rows = choice.rows
    assert choice.used == units.cost[rows].sum() <= limit
    apart = np.linalg.norm(units.center_m[rows, None] - units.center_m[None, rows], axis=2)
    same = (units.scene[rows, None] == units.scene[None, rows]) & ~np.eye(len(rows), dtype=bool)
    assert len(rows) > 50
    assert apart[same].min() >= 5.0
    others = np.setdiff1d(np.flatnonzero(units.cost <= limit - choice.used), rows)
    blocked = near_any(units.scene[others], units.center_m[others], units.scene[rows], units.center_m[rows], 5.0)
    assert blocked.all()


def test_near_any_against_all_pairs() -> None:
    rng = np.random.default_rng(0)
    a, b = random_pool(rng, 80, extent_m=8.0, grid=True), random_pool(rng, 30, extent_m=8.0, grid=True)
    got = near_any(a.scene, a.center_m, b.scene, b.center_m, 5.0)
    apart = np.sqrt(((a.center_m[:, None] - b.center_m[None]) ** 2).sum(axis=2))
    expected = ((apart < 5.0) & (a.scene[:, None] == b.scene[None])).any(axis=1)
    assert got.tolist() == expected.tolist()
    assert 0 < got.sum() < len(got)
    assert not near_any(a.scene, a.center_m, b.scene[:0], b.center_m[:0], 5.0).any()


def test_a_centre_that_is_not_finite_is_named() -> None:
    units = pool([1, 2], [1, 2], [0, np.nan])
    with pytest.raises(DataError, match="centre of row 1"):
        choose(units, 5, 5.0)
