# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""An account for rules that choose one unit after another: what still fits the budget, and what was spent."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


class Account:
    """The budget of K candidates while it is spent.

    Args:
        cost: (K,) of each unit, in steps of the currency.
        frame: (K,) a number for each unit's frame, from 0.
        fee: of a frame, paid with its first unit.
        limit: the budget.
    """

    def __init__(self, cost: npt.NDArray[np.int64], frame: npt.NDArray[np.integer], fee: int, limit: int) -> None:
        self._cost, self._frame, self._fee, self._left = cost, frame, fee, limit
        self._paid = np.zeros(int(frame.max(initial=-1)) + 1, bool)
        self._free = np.ones(len(cost), bool)

    def fits(self) -> npt.NDArray[np.bool_]:
        """(K,) which units aren't taken yet and fit what is left."""
        return self._free & (self._cost + np.where(self._paid[self._frame], 0, self._fee) <= self._left)

    def fits_row(self, row: int) -> bool:
        """Whether one unit isn't taken yet and fits what is left."""
        fee = 0 if self._paid[self._frame[row]] else self._fee
        return bool(self._free[row] and self._cost[row] + fee <= self._left)

    def take(self, row: int) -> None:
        """Pay for a unit."""
        frame = self._frame[row]
        self._left -= int(self._cost[row]) + (0 if self._paid[frame] else self._fee)
        self._paid[frame], self._free[row] = True, False
