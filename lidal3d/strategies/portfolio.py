# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Several strategies at once, each with a share of the budget, and a share that is left to chance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

from lidal3d.select.active import NothingToChoose
from lidal3d.select.budget import CURRENCIES, PoolTooSmall
from lidal3d.select.selection import Pick, Selection
from lidal3d.strategies.coreset import CORESET
from lidal3d.strategies.lidal import LIDAL, LIDAL_HUMAN
from lidal3d.strategies.random import RANDOM
from lidal3d.strategies.spend import Candidates, candidates
from lidal3d.strategies.strategy import OURS, Ask, Strategy

VALIDATION = "for_validation"
"""The score that is 1 in picks which `with_validation` drew at random."""


def portfolio(name: str, paper: str, asks: str, parts: Sequence[tuple[Strategy, float]]) -> Strategy:
    """A strategy that gives each of several a share of the budget, one after another.

    What one chose the next can't choose; what one leaves over the next may spend, also where it finds nothing at all.
    """
    strategies = [strategy for strategy, _ in parts]

    def rule(ask: Ask) -> Selection:
        return _joined(ask, spend_in_parts(ask, parts), candidates(ask))

    kinds = [strategy.kinds for strategy in strategies if strategy.kinds is not None]
    return Strategy(
        name, paper, asks, rule,
        needs=frozenset().union(*(strategy.needs for strategy in strategies)),
        columns=tuple(dict.fromkeys(column for strategy in strategies for column in strategy.columns)),
        kinds=frozenset.intersection(*kinds) if kinds else None,
        currencies=tuple(c for c in CURRENCIES if all(c in strategy.currencies for strategy in strategies)),
    )  # fmt: skip


def with_validation(name: str, paper: str, asks: str, strategy: Strategy, share: float) -> Strategy:
    """A strategy that leaves a share of the budget to chance: only what was drawn at random measures without bias.

    It is drawn first, from all there is. The score `for_validation` is 1 in these picks and 0 in the others.
    """
    parts = ((RANDOM, share), (strategy, 1 - share))
    both = portfolio(name, paper, asks, parts)

    def rule(ask: Ask) -> Selection:
        bought = spend_in_parts(ask, parts)
        marked = [_marked(part, part.strategy == RANDOM.name) for part in bought]
        return _joined(ask, marked, candidates(ask))

    return replace(both, rule=rule, pseudo=strategy.pseudo)


def spend_in_parts(ask: Ask, parts: Sequence[tuple[Strategy, float]]) -> list[Selection]:
    """What each strategy chooses with its share of what those before it left.

    Raises:
        NothingToChoose: none of them finds anything; DataError, UsageError: as the strategies.
    """
    some = candidates(ask)
    left, shares_left = some.limit, sum(share for _, share in parts)
    bought: list[Selection] = []
    for strategy, share in parts:
        # A share of the shares that are left: the last part is offered all that the others left over.
        part = _spend(ask, strategy, int(left * min(1.0, share / shares_left)), some, bought)
        shares_left -= share
        if part is not None:
            bought.append(replace(part, strategy=strategy.name))
            left -= round(part.used * some.costs.steps)
    if not bought:
        raise NothingToChoose(f"strategy '{ask.name}': none of its parts finds anything to choose; raise select.budget")
    return bought


def _spend(ask: Ask, strategy: Strategy, money: int, some: Candidates, bought: Sequence[Selection]) -> Selection | None:
    """What one part chooses, or None where the money buys nothing or nothing is left for it."""
    if money < 1:
        return None
    try:
        return strategy.rule(_part_of(ask, strategy.name, money, some, bought))
    except PoolTooSmall as error:
        return _spend(ask, strategy, error.whole, some, bought) if error.whole < money else None
    except NothingToChoose:
        return None


def _part_of(ask: Ask, name: str, money: int, some: Candidates, bought: Sequence[Selection]) -> Ask:
    amount = Decimal(money) / some.costs.steps
    select = ask.config.select.model_copy(update={"budget": f"{amount}:{some.budget.currency}"})
    labelled = (*ask.history.labelled, *(pick for part in bought for pick in part.picks))
    return replace(
        ask, name=name, config=ask.config.model_copy(update={"select": select}),
        history=replace(ask.history, labelled=labelled),
    )  # fmt: skip


def _joined(ask: Ask, bought: Sequence[Selection], some: Candidates) -> Selection:
    """The parts as one, ranked in their order; a frame that two parts take from is paid once."""
    paid: set[tuple[str, int]] = set()
    picks: list[Pick] = []
    # The manifest is one table: all picks have the same scores.
    unknown = {name: math.nan for part in bought for pick in part.picks for name in pick.scores}
    for pick in (pick for part in bought for pick in part.picks):
        frame = (pick.key.scene, pick.key.frame)
        cost = 0.0 if some.costs.frame_fee and frame in paid else pick.cost
        paid.add(frame)
        picks.append(replace(pick, rank=len(picks) + 1, cost=cost, scores={**unknown, **pick.scores}))
    used = sum(round(pick.cost * some.costs.steps) for pick in picks) / some.costs.steps
    return Selection(tuple(picks), ask.name, some.budget.currency, some.limit / some.costs.steps, used)


def _marked(part: Selection, drawn: bool) -> Selection:
    picks = (replace(pick, scores={**pick.scores, VALIDATION: float(drawn)}) for pick in part.picks)
    return replace(part, picks=tuple(picks))


PORTFOLIO = portfolio(
    "portfolio", OURS, "half the budget by lidal_human, three tenths by coreset, two tenths at random",
    ((LIDAL_HUMAN, 0.5), (CORESET, 0.3), (RANDOM, 0.2)),
)  # fmt: skip
LIDAL_VALIDATED = with_validation(
    "lidal_validated", OURS + ", after LiDAL", "as lidal, but a tenth of the budget drawn at random for validation",
    LIDAL, 0.1,
)  # fmt: skip
