# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Exact distances to the nearest neighbours, a block of pairs at a time, past near copies of the same drive."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit

Float64 = npt.NDArray[np.float64]
_ROWS, _OTHERS = 1024, 4096


@dataclass(frozen=True)
class Times:
    """When and in which drive units were seen: neighbours of the same drive within a window are near copies.

    Attributes:
        drive: (K,) a number for each unit's drive.
        ns: (K,) int64 its time.
        window_ns: units of one drive no further apart than this aren't neighbours.
    """

    drive: npt.NDArray[np.int64]
    ns: npt.NDArray[np.int64]
    window_ns: int


def nearest_squared(features: npt.NDArray[np.floating], k: int, times: Times | None = None) -> Float64:
    """The k smallest squared Euclidean distances (K, k) of each row (K, D), ascending; the first is 0, to itself.

    Infinite where there are fewer neighbours. Never holds more than a block of pairs.

    Args:
        features: finite.
        k: how many, the row itself included.
        times: whose near copies are passed over, or None.
    """
    x = np.ascontiguousarray(features, np.float64)
    # About the mean: the smaller the numbers, the less cancels in x² + y² − 2xy.
    x = x - x.mean(axis=0) if len(x) else x
    squares = (x * x).sum(axis=1)
    result = np.full((len(x), k), np.inf)
    drive, ns = (np.arange(len(x)), np.zeros(len(x), np.int64)) if times is None else (times.drive, times.ns)
    window = -1 if times is None else times.window_ns
    for row in range(0, len(x), _ROWS):
        part = slice(row, row + _ROWS)
        for other in range(0, len(x), _OTHERS):
            block = slice(other, other + _OTHERS)
            pairs = squares[part, None] + squares[block] - 2 * (x[part] @ x[block].T)
            _keep_smallest(pairs, result[part], drive[part], ns[part], drive[block], ns[block], window, other - row)
    return result


@njit(cache=True, nogil=True)
def _keep_smallest(  # type: ignore[no-untyped-def]
    pairs, smallest, drive, ns, other_drive, other_ns, window_ns, shift
):
    """Put a block's distances into the sorted rows of `smallest`; column j of a block is row j + shift."""
    k = smallest.shape[1]
    for i in range(len(pairs)):
        row = smallest[i]
        for j in range(pairs.shape[1]):
            itself = j + shift == i
            if not itself and drive[i] == other_drive[j] and abs(ns[i] - other_ns[j]) <= window_ns:
                continue
            # Rounding may leave less than nothing between equal rows.
            distance = 0.0 if itself else max(pairs[i, j], 0.0)
            if distance < row[k - 1]:
                place = k - 1
                while place > 0 and row[place - 1] > distance:
                    row[place] = row[place - 1]
                    place -= 1
                row[place] = distance
