# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Rules made of a score and a second thought: diverse as well, shares for all, worth the cost.

Each function makes a rule for any score column; listed in `lidal3d.strategies` is one of each, with entropy.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from lidal3d.select.budget import CURRENCIES
from lidal3d.select.quotas import Int64, equal_shares, strata, within_quotas
from lidal3d.select.selection import Selection
from lidal3d.strategies.coreset import diverse
from lidal3d.strategies.ranked import Rule, scored_candidates
from lidal3d.strategies.spend import Candidates, buy, buy_in_order, candidates, why_by_score
from lidal3d.strategies.strategy import OURS, Ask, Strategy

GroupOf = Callable[[Ask, Int64], Int64]  # rows of the pool -> a group for each, from 0
RANGE_EDGES_M = (10.0, 20.0, 40.0)
"""Points, features and entropy all change with distance: near, middle, far, very far."""


def over_select(column: str, factor: float) -> Rule:
    """Uncertain, then diverse: `factor` budgets' worth of the largest scores, and core-set among these."""

    def rule(ask: Ask) -> Selection:
        known: dict[str, npt.NDArray] = {column: ask.pool.table.score(column), "features": ask.pool.feature_rows}
        some = candidates(ask, known)
        order = np.argsort(-known[column][some.rows], kind="stable")
        return diverse(ask, some.take(np.sort(order[: _affordable(some, order, factor)])))

    return rule


def _affordable(some: Candidates, order: Int64, factor: float) -> int:
    """How many of the first candidates in an order `factor` budgets buy, and at least one more."""
    paid = np.zeros(len(order), np.int64)
    paid[np.unique(some.frame[order], return_index=True)[1]] = some.costs.frame_fee
    spent = (some.costs.unit[order] + paid).cumsum()
    return int(np.searchsorted(spent, factor * some.limit, side="right")) + 1


def equal_quotas(column: str, group_of: GroupOf) -> Rule:
    """Every group an equal part of the budget, its largest scores first; what a group leaves over goes to all."""
    return _quotas(column, group_of, equal_shares, fill=True)


def capped(column: str, group_of: GroupOf, times: float) -> Rule:
    """No group more than so many times its equal part of the budget; what that leaves over is left."""
    return _quotas(
        column, group_of,
        lambda group, limit: np.minimum((times * equal_shares(group, limit)).astype(np.int64), limit), fill=False,
    )  # fmt: skip


def _quotas(column: str, group_of: GroupOf, shares: Callable[[Int64, int], Int64], *, fill: bool) -> Rule:
    def rule(ask: Ask) -> Selection:
        some, score = scored_candidates(ask, column)
        group = group_of(ask, some.rows)
        order = np.argsort(-score, kind="stable")
        inside = within_quotas(order, some.costs.unit, group, shares(group, some.limit))
        order = np.concatenate([order[inside], order[~inside]]) if fill else order[inside]
        return buy_in_order(ask, some, order, why_by_score(ask, column, score))

    return rule


def scene_of(ask: Ask, rows: Int64) -> Int64:
    """The scene of each row."""
    return ask.pool.table.scene[rows].astype(np.int64)


def class_of(ask: Ask, rows: Int64) -> Int64:
    """The predicted class of each row; those without one are a group of their own."""
    predicted = ask.pool.table.score("predicted_class")[rows]
    return np.where(np.isfinite(predicted), predicted + 1, 0).astype(np.int64)


def range_of(ask: Ask, rows: Int64) -> Int64:
    """The stratum of each row's mean distance from the sensor."""
    return strata(ask.pool.table.score("range_m")[rows], RANGE_EDGES_M)


def per_cost(column: str) -> Rule:
    """The largest score per point, second or whatever the budget counts first (frames apart, which units share)."""

    def rule(ask: Ask) -> Selection:
        some, score = scored_candidates(ask, column)
        value = score / np.maximum(some.costs.unit, 1) * some.costs.steps
        reason = why_by_score(ask, column, score)
        currency = some.budget.currency
        return buy(ask, some, value, lambda row, s: f"{reason(row, s)}; {value[row]:.3g} for one of its {currency}")

    return rule


ENTROPY_SCORE = "softmax_entropy"
COUNTED = tuple(currency for currency in CURRENCIES if currency != "frames")  # whose units cost something each

ENTROPY_CORESET = Strategy(
    "entropy_coreset", OURS, "the most entropic units for five budgets, and core-set among them",
    over_select(ENTROPY_SCORE, 5), frozenset({"features"}), (ENTROPY_SCORE,),
)  # fmt: skip
ENTROPY_CLASS_QUOTA = Strategy(
    "entropy_class_quota", OURS, "the largest entropy, every predicted class an equal part of the budget",
    equal_quotas(ENTROPY_SCORE, class_of), columns=(ENTROPY_SCORE, "predicted_class"), currencies=COUNTED,
)  # fmt: skip
ENTROPY_RANGE_QUOTA = Strategy(
    "entropy_range_quota", OURS, "the largest entropy, an equal part each for up to 10, 20, 40 m and beyond",
    equal_quotas(ENTROPY_SCORE, range_of), columns=(ENTROPY_SCORE, "range_m"), currencies=COUNTED,
)  # fmt: skip
ENTROPY_SCENE_CAP = Strategy(
    "entropy_scene_cap", OURS, "the largest entropy, no scene more than twice its equal part",
    capped(ENTROPY_SCORE, scene_of, 2.0), columns=(ENTROPY_SCORE,), currencies=COUNTED,
)  # fmt: skip
ENTROPY_PER_COST = Strategy(
    "entropy_per_cost", OURS, "the largest entropy for each point, second or region it costs",
    per_cost(ENTROPY_SCORE), columns=(ENTROPY_SCORE,), currencies=COUNTED,
)  # fmt: skip
