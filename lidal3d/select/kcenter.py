# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""k-center, greedily: always the candidate farthest from all that is labelled or chosen (Sener and Savarese, ICLR 2018).

It is at most twice as far from covering the pool as the best choice of the same size (Gonzalez, 1985).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lidal3d.select.account import Account
from lidal3d.select.distances import Distances

Float64 = npt.NDArray[np.float64]


def farthest_first(distances: Distances, nearest: Float64, account: Account) -> tuple[npt.NDArray[np.int64], Float64]:
    """Choose until nothing fits the account any more.

    Args:
        distances: among the K candidates.
        nearest: (K,) squared distance to the nearest labelled unit; infinite where nothing is labelled.
        account: of the K candidates; spent here.

    Returns:
        The chosen candidates in order, and (K,) for each of these the squared distance at which it was chosen (NaN for
        the others). Ties go to the first candidate.
    """
    nearest = nearest.copy()
    order, reached = [], np.full(len(nearest), np.nan)
    while (fits := account.fits()).any():
        row = int(np.where(fits, nearest, -1.0).argmax())
        reached[row] = nearest[row]
        nearest = np.minimum(nearest, distances(row))
        account.take(row)
        order.append(row)
    return np.array(order, np.int64), reached


def nearest_to_mean(features: npt.NDArray[np.floating]) -> int:
    """The row (K, D) nearest the mean of all, the first of equals: where to start when nothing is labelled."""
    wide = features.astype(np.float64)
    return int(((wide - wide.mean(axis=0)) ** 2).sum(axis=1).argmin())
