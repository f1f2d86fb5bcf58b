# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""What the comparison of two domains says of the candidates, and which of them a density budget buys (D2ADA)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lidal3d.scores.density_ratio import Ratio, class_weights, density_ratio
from lidal3d.scores.density_ratio_released import released_ratio, released_weights
from lidal3d.scores.table import ScoreTable
from lidal3d.select.quotas import within_quotas
from lidal3d.strategies.domains import domains
from lidal3d.strategies.spend import Candidates, Float64, Int64
from lidal3d.strategies.strategy import Ask

RATIO = "density_ratio"
LEAST_KL = 0.1  # nats: what a class that doesn't differ counts for
BEST_OF_CLASS = 200  # the released code looks at no more target units of a class


@dataclass(frozen=True)
class Compared:
    """What the comparison of the two domains says of K candidates.

    Attributes:
        ratio: (K,) log d_T − log d_S.
        category: (K,) predicted class.
        weight: (C,) of each class, for its part of the budget.
        best: (K,) whether it is among the best of its class in the target, labelled ones included.
        found: of the whole target.
        table: the pool's, with the ratio as a column.
    """

    ratio: Float64
    category: Int64
    weight: Float64
    best: npt.NDArray[np.bool_]
    found: Ratio
    table: ScoreTable

    @classmethod
    def of(cls, ask: Ask, some: Candidates) -> Compared:
        """Compare by the rule that the settings name. Raises UsageError as `domains`."""
        source, target, rows = domains(ask)
        classes = ask.pool.probability_rows.shape[1]
        if ask.config.d2ada.rule == "paper":
            found = released_ratio(source, target, classes)
            weight = released_weights(found.kl).astype(np.float64)
        else:
            found = density_ratio(source, target, classes, ask.config.d2ada, ask.rng)
            weight = class_weights(found.kl, LEAST_KL)
        of_pool, best = np.full(len(ask.pool), np.nan), np.zeros(len(ask.pool), bool)
        of_pool[rows], best[rows] = found.log_ratio, place_in_class(-found.log_ratio, target.category) < BEST_OF_CLASS
        table = ask.pool.table.with_scores(**{RATIO: of_pool})
        category = ask.pool.probability_rows[some.rows].argmax(axis=1).astype(np.int64)
        return cls(of_pool[some.rows], category, weight, best[some.rows], found, table)

    def order(self, some: Candidates, money: int, among: Int64) -> Int64:
        """Candidates that `money` buys: the largest ratios within each class's part, and what is left of that by ratio.

        Args:
            among: those that may be bought, the largest ratio first.
        """
        present = np.bincount(self.category[among], minlength=len(self.weight)) > 0
        part = np.where(present, self.weight, 0)
        limits = np.floor(money * part / part.sum()).astype(np.int64)
        inside = within_quotas(among, some.costs.unit, self.category, limits)
        chosen, others = among[inside], among[~inside]
        left = money - int(some.costs.unit[chosen].sum())
        return np.concatenate([chosen, affordable_of(others, some.costs.unit, left)])

    def released_order(self, some: Candidates, money: int, among: Int64) -> Int64:
        """Class by class `weight` candidates in turn, of the best of each class; what is bought already falls out late."""
        among = np.sort(among)
        usable = among[self.best[among] & (self.weight[self.category[among]] > 0)]
        place = place_in_class(-self.ratio[usable], self.category[usable])
        turn = place // np.maximum(self.weight[self.category[usable]], 1)
        order = usable[np.lexsort((place, self.category[usable], turn))]
        return affordable_of(order, some.costs.unit, money)


def affordable_of(order: Int64, cost: Int64, money: int) -> Int64:
    """Those of an order (J,) of candidates that `money` buys; what doesn't fit is passed over."""
    return order[within_quotas(order, cost, np.zeros(len(cost), np.int64), np.array([money], np.int64))]


def place_in_class(value: Float64, category: Int64) -> Int64:
    """(N,) how many of its class come before each, the smallest value first."""
    order = np.lexsort((np.arange(len(value)), value, category))
    size = np.bincount(category) if len(category) else np.zeros(0, np.int64)
    place = np.empty(len(value), np.int64)
    place[order] = np.arange(len(value)) - (size.cumsum() - size)[category[order]]
    return place
