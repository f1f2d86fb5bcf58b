# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Greedy choice by score under a budget, of two units too close only one (LiDAL, ECCV 2022, section 3.3), two rules.

`paper` repeats the released loop: a candidate is compared with the first chosen unit too close to it, in the order of
a Python set of unit numbers (`pyset`); the more entropic of the two stays, unchecked against the rest and whatever
the budget says; the walk ends at the first candidate that does not fit. Equal to the loop pick by pick when the unit
numbers are those of the released code (running over scenes and frames), scores have no ties, and centres are
float64 in both: the released ones are float32, so pairs within a rounding error of the distance may differ.

`default` walks three times.
1. By score: a unit with nothing chosen too close to it is taken. Otherwise it must be more entropic than *every* chosen
   unit too close to it and fit the budget, and then replaces them all. The walk ends at the first unit with nothing
   close that doesn't fit.
2. By score again, without swaps, down to the end: whatever has nothing close and still fits is taken. So units whose
   better neighbour was itself swapped out come back, the budget is filled with smaller units, and nothing that fits
   is left out.
3. Every unit that walk 1 passed and that isn't chosen is put down to the most entropic chosen unit close to it.
No two chosen units are too close and the budget is never exceeded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from lidal3d.select import pyset
from lidal3d.select.columns import Chosen, Columns, columns_of, near, none_chosen, put, take_out

Int64 = npt.NDArray[np.int64]


class Pool(NamedTuple):
    """R candidates in the order of (scene, frame, unit).

    Attributes:
        score: (R,) float64, finite; the largest is taken first, ties in the order of the rows.
        preference: (R,) float64; of two units too close the one with more of it stays (LiDAL: inter-frame entropy).
        scene: (R,) int.
        frame: (R,) int, another number for every frame of every scene, from 0.
        center_m: (R, 3) float64.
        number: (R,) int64, the unit's number in the whole data set (`paper`: orders the set).
        cost: (R,) int64.
        group: (R,) int, from 0: what `group_limits` are for.
    """

    score: npt.NDArray[np.float64]
    preference: npt.NDArray[np.float64]
    scene: npt.NDArray[np.int32]
    frame: npt.NDArray[np.int32]
    center_m: npt.NDArray[np.float64]
    number: Int64
    cost: Int64
    group: npt.NDArray[np.int32]


@dataclass(frozen=True)
class Choice:
    """What was chosen.

    Attributes:
        rows: chosen candidates, best score first.
        suppressor: (R,) for each candidate the chosen one it was left out for, or −1.
        used: cost of all that was chosen.
    """

    rows: npt.NDArray[np.int64]
    suppressor: npt.NDArray[np.int32]
    used: int


class _State(NamedTuple):
    chosen: Chosen
    columns: Columns
    in_frame: Int64
    in_group: Int64
    account: Int64  # used so far, budget, fee a frame


def choose(
    pool: Pool,
    limit: int,
    min_distance_m: float,
    *,
    rule: str = "default",
    frame_fee: int = 0,
    group_limits: Int64 | None = None,
) -> Choice:
    """Choose from a pool.

    Args:
        limit: the budget, in the steps of `pool.cost`.
        min_distance_m: no two chosen units of a scene are nearer than this.
        rule: "default" or "paper"; the latter knows neither fees nor group limits.
        frame_fee: cost of a frame, paid with the first unit from it.
        group_limits: (G,) the most that the units of each group may cost together, fees apart.

    Raises:
        DataError: a centre that is not finite.
    """
    order = np.argsort(-pool.score, kind="stable")
    columns = columns_of(pool.scene, pool.center_m, max(min_distance_m, 1.0))
    groups = int(pool.group.max(initial=0)) + 1
    limits = np.full(groups, np.iinfo(np.int64).max) if group_limits is None else group_limits.astype(np.int64)
    state = _State(
        chosen=none_chosen(columns),
        columns=columns,
        in_frame=np.zeros(int(pool.frame.max(initial=-1)) + 1, np.int64),
        in_group=np.zeros(groups, np.int64),
        account=np.array([0, limit, frame_fee], np.int64),
    )
    is_chosen = np.zeros(len(order), bool)
    if rule == "paper":
        passed = _paper_walk(order, pool, state, min_distance_m, is_chosen)
    else:
        passed = _swapping_walk(order, pool, state, limits, min_distance_m, is_chosen)
        _filling_walk(order, pool, state, limits, min_distance_m, is_chosen)
    suppressor = _suppressors(order[:passed], pool, state, min_distance_m, is_chosen)
    return Choice(order[is_chosen[order]], suppressor, int(state.account[0]))


@numba.njit(cache=True)
def _paper_walk(order: Int64, pool: Pool, state: _State, distance_m: float, is_chosen: npt.NDArray[np.bool_]) -> int:
    table, filled, used = pyset.new_table(), 0, 0
    found = np.empty(len(order), np.int32)
    for position in range(len(order)):
        row = order[position]
        count = near(state.chosen, state.columns, pool.center_m, row, distance_m, found)
        if count:
            other = _first_in_set(found[:count], pool.number, table)
            if pool.preference[other] < pool.preference[row]:
                # The released code adds before it removes, which decides where the newcomer stands in the set.
                table, filled, used = pyset.add(table, filled, used, pool.number[row])
                pyset.remove(table, pool.number[other])
                used -= 1
                _drop(other, pool, state, is_chosen)
                _take(row, pool, state, is_chosen)
            continue
        if state.account[0] + pool.cost[row] > state.account[1]:
            return position
        table, filled, used = pyset.add(table, filled, used, pool.number[row])
        _take(row, pool, state, is_chosen)
    return len(order)


@numba.njit(cache=True)
def _first_in_set(found: npt.NDArray[np.int32], number: Int64, table: pyset.Table) -> int:
    first = found[0]
    for other in found[1:]:
        if pyset.place(table, number[other]) < pyset.place(table, number[first]):
            first = other
    return first


@numba.njit(cache=True)
def _swapping_walk(
    order: Int64,
    pool: Pool,
    state: _State,
    limits: Int64,
    distance_m: float,
    is_chosen: npt.NDArray[np.bool_],
) -> int:
    found = np.empty(len(order), np.int32)
    for position in range(len(order)):
        row = order[position]
        if pool.cost[row] + state.account[2] > state.account[1]:
            continue  # never fits: it must not end the walk
        count = near(state.chosen, state.columns, pool.center_m, row, distance_m, found)
        rivals = found[:count]
        if not _preferred(row, rivals, pool.preference):
            continue
        for other in rivals:
            _drop(other, pool, state, is_chosen)
        if _fits_group(row, pool, state, limits) and _fits(row, pool, state):
            _take(row, pool, state, is_chosen)
            continue
        for other in rivals:
            _take(other, pool, state, is_chosen)
        if count == 0 and _fits_group(row, pool, state, limits):
            return position
    return len(order)


@numba.njit(cache=True)
def _filling_walk(
    order: Int64,
    pool: Pool,
    state: _State,
    limits: Int64,
    distance_m: float,
    is_chosen: npt.NDArray[np.bool_],
) -> None:
    found = np.empty(len(order), np.int32)
    for row in order:
        if is_chosen[row] or not _fits(row, pool, state) or not _fits_group(row, pool, state, limits):
            continue
        if near(state.chosen, state.columns, pool.center_m, row, distance_m, found) == 0:
            _take(row, pool, state, is_chosen)


@numba.njit(cache=True)
def _suppressors(
    passed: Int64, pool: Pool, state: _State, distance_m: float, is_chosen: npt.NDArray[np.bool_]
) -> npt.NDArray[np.int32]:
    result = np.full(len(is_chosen), -1, np.int32)
    found = np.empty(len(is_chosen), np.int32)
    for row in passed:
        if is_chosen[row]:
            continue
        count = near(state.chosen, state.columns, pool.center_m, row, distance_m, found)
        for other in found[:count]:
            best = result[row]
            if best < 0 or (pool.preference[other], -other) > (pool.preference[best], -best):
                result[row] = other
    return result


@numba.njit(cache=True)
def _preferred(row: int, rivals: npt.NDArray[np.int32], preference: npt.NDArray[np.float64]) -> bool:
    worst = -np.inf
    for other in rivals:
        worst = max(worst, preference[other])
    return worst < preference[row]


@numba.njit(cache=True)
def _fits(row: int, pool: Pool, state: _State) -> bool:
    fee = state.account[2] if state.in_frame[pool.frame[row]] == 0 else 0
    return state.account[0] + pool.cost[row] + fee <= state.account[1]


@numba.njit(cache=True)
def _fits_group(row: int, pool: Pool, state: _State, limits: Int64) -> bool:
    group = pool.group[row]
    return state.in_group[group] + pool.cost[row] <= limits[group]


@numba.njit(cache=True)
def _take(row: int, pool: Pool, state: _State, is_chosen: npt.NDArray[np.bool_]) -> None:
    put(state.chosen, state.columns, row)
    is_chosen[row] = True
    frame = pool.frame[row]
    state.account[0] += pool.cost[row] + (state.account[2] if state.in_frame[frame] == 0 else 0)
    state.in_frame[frame] += 1
    state.in_group[pool.group[row]] += pool.cost[row]


@numba.njit(cache=True)
def _drop(row: int, pool: Pool, state: _State, is_chosen: npt.NDArray[np.bool_]) -> None:
    take_out(state.chosen, state.columns, row)
    is_chosen[row] = False
    frame = pool.frame[row]
    state.in_frame[frame] -= 1
    state.account[0] -= pool.cost[row] + (state.account[2] if state.in_frame[frame] == 0 else 0)
    state.in_group[pool.group[row]] -= pool.cost[row]
