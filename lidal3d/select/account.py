# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""An account for rules that choose one unit after another: what still fits the budget, and what was spent."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


class Account:
    """The budget of K candidates while it is spent. What doesn't fit once never fits again, until the cap is lifted.

    Args:
        cost: (K,) of each unit, in steps of the currency.
        frame: (K,) a number for each unit's frame, from 0.
        fee: of a frame, paid with its first unit.
        limit: the budget.
        most_a_frame: units that are bought of a frame at most; None for any number.
    """

    def __init__(
        self,
        cost: npt.NDArray[np.int64],
        frame: npt.NDArray[np.integer],
        fee: int,
        limit: int,
        most_a_frame: int | None = None,
    ) -> None:
        self._cost, self._frame, self._fee, self._left = cost, frame, fee, limit
        self._bought = np.zeros(int(frame.max(initial=-1)) + 1, np.int64)
        self._most = len(cost) if most_a_frame is None else most_a_frame
        self._free = np.ones(len(cost), bool)

    def lift_cap(self) -> None:
        """From now on a frame may give any number of units."""
        self._most = len(self._cost)

    def fits(self) -> npt.NDArray[np.bool_]:
        """(K,) which units aren't taken yet and fit what is left."""
        bought = self._bought[self._frame]
        return self._free & (bought < self._most) & (self._cost + np.where(bought, 0, self._fee) <= self._left)

    def fits_row(self, row: int) -> bool:
        """Whether one unit isn't taken yet and fits what is left."""
        bought = self._bought[self._frame[row]]
        fee = 0 if bought else self._fee
        return bool(self._free[row] and bought < self._most and self._cost[row] + fee <= self._left)

    def take(self, row: int) -> None:
        """Pay for a unit."""
        frame = self._frame[row]
        self._left -= int(self._cost[row]) + (0 if self._bought[frame] else self._fee)
        self._bought[frame] += 1
        self._free[row] = False
