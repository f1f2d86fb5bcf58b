# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Budget: a number with a currency, what a unit costs in it, and how much of it the pool can take.

    1%              of the points of all key frames in the score table, labelled or not, so that 1 % is the same amount
                    in every round (LiDAL: 1 % of the points of the training set)
    50000:points    20:regions    20:boxes    10:frames    3600:seconds

A frame is paid once: its first unit costs 1, every further one 0. Seconds follow a linear model of the labelling time.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_FLOOR, ROUND_HALF_EVEN, Decimal, InvalidOperation

import numpy as np
import numpy.typing as npt

from lidal3d.errors import UsageError

CURRENCIES = ("points", "regions", "boxes", "frames", "seconds")
EXAMPLES = "1%, 50000:points, 20:regions, 20:boxes, 10:frames or 3600:seconds"
MILLISECONDS = 1000  # seconds are counted in whole milliseconds, so that sums are exact


class PoolTooSmall(UsageError):
    """The pool costs less than was asked for; `whole` is what it costs, in steps of the currency."""

    def __init__(self, message: str, whole: int) -> None:
        super().__init__(message)
        self.whole = whole


@dataclass(frozen=True)
class Budget:
    """How much labelling may be asked for.

    Attributes:
        amount: of the currency, or percent of the pool's points.
        currency: points, regions, boxes, frames or seconds.
        percent: whether `amount` is a percentage of the points of all key frames.
    """

    amount: Decimal
    currency: str
    percent: bool = False


@dataclass(frozen=True)
class Costs:
    """What each of R units costs, in whole steps of the currency (points, regions, boxes, frames, milliseconds).

    Attributes:
        unit: (R,) int64, paid for every unit.
        frame_fee: paid once for every frame that any unit is taken from.
        steps: steps in one of the currency: 1000 for seconds, else 1.
    """

    unit: npt.NDArray[np.int64]
    frame_fee: int
    steps: int


def parse_budget(text: str) -> Budget:
    """The budget that "1%", "50000:points", "20:regions", "10:frames" or "3600:seconds" means.

    Raises:
        UsageError: malformed, an unknown currency, not above 0, over 100 %, or a fraction of a countable thing.
    """
    number, colon, currency = (part.strip() for part in text.strip().partition(":"))
    percent = not colon and number.endswith("%")
    amount = _number(number.removesuffix("%") if percent else number, text)
    if amount <= 0:
        raise UsageError(f"budget '{text}': {number} is not above 0; ask for at least something")
    if not colon and not percent:
        raise UsageError(f"budget '{text}': no currency; write {EXAMPLES}")
    currency = "points" if percent else currency
    if currency not in CURRENCIES:
        raise UsageError(f"budget '{text}': unknown currency '{currency}' (known: {', '.join(CURRENCIES)})")
    if percent and amount > 100:
        raise UsageError(f"budget '{text}': {number} is over 100 %, the whole pool")
    if not percent and currency != "seconds" and amount != amount.to_integral_value():
        raise UsageError(f"budget '{text}': {number} {currency} is not a whole number")
    return Budget(amount, currency, percent)


def _number(number: str, text: str) -> Decimal:
    try:
        amount = Decimal(number.strip())
    except InvalidOperation:
        raise UsageError(f"budget '{text}': '{number}' is not a number; write {EXAMPLES}") from None
    if not amount.is_finite():
        raise UsageError(f"budget '{text}': '{number}' is not a finite number; write {EXAMPLES}")
    return amount


def unit_costs(
    currency: str, points: npt.NDArray[np.int64], seconds_per_unit: float, seconds_per_1000_points: float
) -> Costs:
    """Costs of R units of the given numbers of points (R,) in a currency."""
    if currency == "points":
        return Costs(points.astype(np.int64), 0, 1)
    if currency in ("regions", "boxes"):
        return Costs(np.ones(len(points), np.int64), 0, 1)
    if currency == "frames":
        return Costs(np.zeros(len(points), np.int64), 1, 1)
    milliseconds = MILLISECONDS * seconds_per_unit + seconds_per_1000_points * points
    return Costs(np.rint(milliseconds).astype(np.int64), 0, MILLISECONDS)


def percent_limit(budget: Budget, pool_points: int, *, rounded: bool = False) -> int:
    """How many points a percentage of the pool's points is: rounded down, or to the nearest as LiDAL's code does.

    Raises:
        UsageError: it is less than one point.
    """
    rounding = ROUND_HALF_EVEN if rounded else ROUND_FLOOR
    limit = int((budget.amount * pool_points / 100).to_integral_value(rounding))
    if limit < 1:
        raise UsageError(f"budget {budget.amount}% of {pool_points} points is less than one point; ask for more")
    return limit


def absolute_limit(budget: Budget, costs: Costs, frame: npt.NDArray[np.integer] | None = None) -> int:
    """A budget's amount in steps of its currency, checked against what the whole pool costs when `frame` is given.

    Args:
        costs: of the units that can be chosen.
        frame: (R,) a number for each unit's frame, different for different frames; None for no check.

    Raises:
        PoolTooSmall: the pool costs less than was asked for ("pool has 812 regions, 1000 requested").
    """
    limit = int((budget.amount * costs.steps).to_integral_value(ROUND_FLOOR))
    if frame is not None:
        whole = int(costs.unit.sum()) + costs.frame_fee * len(np.unique(frame))
        if limit > whole:
            has = f"{whole / costs.steps:.10g} {budget.currency}"
            raise PoolTooSmall(f"pool has {has}, {budget.amount} requested; ask for at most that, or for 100%", whole)
    return limit
