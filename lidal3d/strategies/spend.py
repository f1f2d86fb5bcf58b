# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""The two ends that all strategies share: which units can be chosen at what cost, and buying them in an order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from lidal3d.errors import UsageError
from lidal3d.scores.table import ScoreTable
from lidal3d.select.account import Account
from lidal3d.select.active import budget_limit, candidate_rows, costs_of_rows, frame_numbers, picks_of, pool_of_rows
from lidal3d.select.budget import Budget, Costs, parse_budget
from lidal3d.select.greedy import choose
from lidal3d.select.history import is_labelled
from lidal3d.select.reason import reason
from lidal3d.select.selection import Selection
from lidal3d.settings.select import SelectConfig
from lidal3d.strategies.strategy import Ask

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
Why = Callable[[int, dict[str, float]], str]


@dataclass(frozen=True)
class Candidates:
    """K units that can be chosen, in the order of (scene, frame, unit), and the budget for them.

    Attributes:
        rows: (K,) rows of the pool.
        costs: what each costs.
        frame: (K,) a number for each one's frame, from 0, in the order of (scene, frame).
        limit: the budget in steps of its currency.
        budget: as it was asked for.
        apart_m: no two that are bought lie nearer than this.
    """

    rows: Int64
    costs: Costs
    frame: npt.NDArray[np.int32]
    limit: int
    budget: Budget
    apart_m: float = 0.0

    def __len__(self) -> int:
        return len(self.rows)

    def account(self) -> Account:
        """An account with the whole budget still to spend."""
        return Account(self.costs.unit, self.frame, self.costs.frame_fee, self.limit)

    def take(self, places: Int64) -> Candidates:
        """Some of the candidates, in the given order."""
        costs = Costs(self.costs.unit[places], self.costs.frame_fee, self.costs.steps)
        return replace(self, rows=self.rows[places], costs=costs, frame=self.frame[places])


def candidates(
    ask: Ask,
    known: Mapping[str, npt.NDArray] | None = None,
    min_points: int | None = None,
    *,
    apart: bool = False,
) -> Candidates:
    """The units that can be chosen: in key frames, never labelled, large enough, and with everything known.

    Args:
        known: name -> (R,) or (R, K) what must be finite, with its name for the message.
        min_points: in place of `select.min_points`.
        apart: with LiDAL's redundancy removal (`select.min_distance_m`): none that lies that near to what earlier rounds
            labelled, where `select.earlier_rounds` says so, and no two that are bought.

    Raises:
        DataError: there are none.
        UsageError: the budget makes no sense, or the pool can't take it.
    """
    table, select = ask.pool.table, ask.config.select
    name = " and ".join(known) if known else "unit"
    finite = np.ones(len(table), bool)
    for values in (known or {}).values():
        finite &= np.isfinite(values) if values.ndim == 1 else np.isfinite(values).all(axis=1)
    rules = SelectConfig(
        score=name,
        earlier_rounds=apart and select.earlier_rounds,
        min_distance_m=select.min_distance_m,
        min_points=min_points or select.min_points,
    )
    marked = table.with_scores(**{name: np.where(finite, 0.0, np.nan)})
    rows = candidate_rows(marked, rules, ask.history)
    budget = parse_budget(select.budget)
    costs = costs_of_rows(table, rows, budget, select)
    limit = budget_limit(budget, costs, table, rows, rounded=select.rule == "paper")
    apart_m = select.distance_m(table.kind) if apart else 0.0
    return Candidates(rows, costs, frame_numbers(table, rows), limit, budget, apart_m)


def labelled_rows(ask: Ask, known: npt.NDArray) -> Int64:
    """The rows of the pool that people labelled and whose `known` (R, K) is finite."""
    return np.flatnonzero(is_labelled(ask.pool.table, ask.history) & np.isfinite(known).all(axis=1))


def buy(ask: Ask, some: Candidates, score: Float64, why: Why, table: ScoreTable | None = None) -> Selection:
    """Take the units with the largest scores as long as the budget lasts; what doesn't fit is passed over.

    Args:
        score: (K,) of the candidates, finite; ties go by the order of the candidates.
        why: (candidate, its scores) -> the reason.
        table: the pool's table with further columns to note in the picks.
    """
    table = ask.pool.table if table is None else table
    pool = pool_of_rows(table, some.rows, some.costs, score, np.zeros(len(score)))
    choice = choose(pool, some.limit, some.apart_m, frame_fee=some.costs.frame_fee)
    picks = picks_of(choice, table, some.rows, some.costs, ask.frame_facts, why)
    steps = some.costs.steps
    return Selection(picks, ask.name, some.budget.currency, some.limit / steps, choice.used / steps)


def buy_in_order(ask: Ask, some: Candidates, order: Int64, why: Why, table: ScoreTable | None = None) -> Selection:
    """`buy`, in an order of candidates (J,); those that are not in it are never taken. `why` is told their places."""
    falling = -np.arange(len(order), dtype=np.float64)
    return buy(ask, some.take(order), falling, lambda row, scores: why(int(order[row]), scores), table)


def far_apart(ask: Ask, some: Candidates, score: Float64) -> Int64:
    """Candidates, the largest score (K,) first, without those that are nearer than `apart_m` to one before them."""
    pool = pool_of_rows(ask.pool.table, some.rows, some.costs, score, np.zeros(len(score)))
    return choose(pool, int(some.costs.unit.sum()), some.apart_m).rows


def buy_frames(ask: Ask, some: Candidates, frames: Int64, why: Why) -> Selection:
    """Take whole frames, all their candidates, in an order of frame numbers; a frame that doesn't fit is passed over.

    Raises:
        UsageError: no frame fits the budget.
    """
    account = frame_account(some)
    fitting = []
    for frame in frames.tolist():
        if account.fits_row(frame):
            account.take(frame)
            fitting.append(frame)
    if not fitting:
        raise UsageError(
            f"strategy '{ask.name}' buys whole frames: the smallest costs {frame_costs(some).min() / some.costs.steps:g} "
            f"{some.budget.currency}, the budget is {some.limit / some.costs.steps:g}; raise select.budget"
        )
    place = np.full(int(some.frame.max()) + 1, len(some))
    place[fitting] = np.arange(len(fitting))
    order = np.argsort(place[some.frame], kind="stable")
    return buy_in_order(ask, some, order[: int((place[some.frame] < len(some)).sum())], why)


def frame_costs(some: Candidates) -> Int64:
    """(F,) what all candidates of each frame cost together, its fee included."""
    return np.bincount(some.frame, weights=some.costs.unit).astype(np.int64) + some.costs.frame_fee


def frame_account(some: Candidates) -> Account:
    """An account whose things to buy are whole frames."""
    costs = frame_costs(some)
    return Account(costs, np.arange(len(costs)), 0, some.limit)


def why_by_score(ask: Ask, column: str, score: Float64) -> Why:
    """The reason of a unit ranked by a column: what it is, and how far up among the candidates (K,) it stands."""
    ascending, table = np.sort(score), ask.pool.table
    classes = table.metadata.get("classes", ())

    def why(row: int, scores: dict[str, float]) -> str:
        above = len(ascending) - np.searchsorted(ascending, score[row], side="left")
        return reason(scores, column, float(above / len(ascending)), classes, table.kind)

    return why
