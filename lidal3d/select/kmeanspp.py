# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""k-means++ seeding: the next one is drawn with a chance in proportion to its squared distance to what is chosen.

Arthur and Vassilvitskii, SODA 2007. It spreads as k-center does, without running after outliers.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lidal3d.select.account import Account
from lidal3d.select.distances import Distances


def spread(first: int, distances: Distances, account: Account, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Candidates in the order they are drawn, until nothing fits the account any more.

    Args:
        first: chosen without a draw, if it fits.
        distances: squared, among the K candidates.
        account: of the K candidates; spent here.
        rng: one draw a step. Where all that fits is at distance 0, all of it has the same chance.
    """
    fits = account.fits()
    if not fits.any():
        return np.empty(0, np.int64)
    row = first if fits[first] else int(np.flatnonzero(fits)[0])
    nearest, order = np.full(len(fits), np.inf), []
    while True:
        order.append(row)
        account.take(row)
        nearest = np.minimum(nearest, distances(row))
        fits = account.fits()
        if not fits.any():
            return np.array(order, np.int64)
        weight = np.where(fits, nearest, 0.0)
        row = _draw(weight if weight.any() else fits.astype(np.float64), rng)


def _draw(weight: npt.NDArray[np.float64], rng: np.random.Generator) -> int:
    total = weight.cumsum()
    row = int(np.searchsorted(total, rng.random() * total[-1], side="right"))
    # A product rounded up to the whole sum would point past the last row with a weight.
    return min(row, int(np.flatnonzero(weight)[-1]))
