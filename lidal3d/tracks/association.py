# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Which segment continues which track: how boxes moved, a gate, and the Hungarian method.

What a sensor sees of a thing grows and shrinks: a far end comes into view, a near one is hidden. The middle of its box
then moves though the thing doesn't, but one of its faces stays. So a box is taken to have moved, along each axis, as
little as its lower face, its middle or its upper face did.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

FORBIDDEN = 1e6  # more than all that is allowed together
RESHAPE_M = 0.5  # a box of twice the length costs as much as one that is this far off


def moves(from_low_m: Float64, from_high_m: Float64, to_low_m: Float64, to_high_m: Float64) -> Float64:
    """(T, S, 3) how far each of S boxes is from each of T, along each axis; corners (T, 3) and (S, 3), metres."""
    low = to_low_m[None] - from_low_m[:, None]
    high = to_high_m[None] - from_high_m[:, None]
    middle = 0.5 * (low + high)
    nearer = np.where(np.abs(low) <= np.abs(high), low, high)
    return np.where(np.abs(middle) <= np.abs(nearer), middle, nearer)


def reshaping(from_low_m: Float64, from_high_m: Float64, to_low_m: Float64, to_high_m: Float64) -> Float64:
    """(T, S) metres that are added for another length, width or height: RESHAPE_M times the mean |log2| of the ratios."""
    before = np.log2(np.maximum(from_high_m - from_low_m, 0.3))
    after = np.log2(np.maximum(to_high_m - to_low_m, 0.3))
    return RESHAPE_M * np.abs(after[None] - before[:, None]).mean(axis=2)


def assign(cost: Float64, allowed: npt.NDArray[np.bool_]) -> tuple[Int64, Int64]:
    """Rows and columns of a matrix (T, S) that go together: as many as can be, and of these the cheapest; none twice."""
    if not allowed.any():
        return np.empty(0, np.int64), np.empty(0, np.int64)
    rows, columns = linear_sum_assignment(np.where(allowed, cost, FORBIDDEN))
    kept = allowed[rows, columns]
    return rows[kept], columns[kept]
