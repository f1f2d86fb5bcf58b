# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""k-center, greedily: always the candidate farthest from all that is labelled or chosen (Sener and Savarese, ICLR 2018).

It is at most twice as far from covering the pool as the best choice of the same size (Gonzalez, 1985).
"""

from __future__ import annotations

import heapq

import numpy as np
import numpy.typing as npt

from lidal3d.select.account import Account
from lidal3d.select.cover import Cover, VectorSet
from lidal3d.select.distances import Distances

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
_LOOKED_AT = 2048  # of the units with the largest bounds, between two matrix products


def farthest_first(distances: Distances, nearest: Float64, account: Account) -> tuple[Int64, Float64]:
    """Choose until nothing fits the account any more, by any distances.

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


def one_each(features: npt.NDArray[np.floating]) -> VectorSet:
    """Units that are one feature (K, D) each."""
    return VectorSet(np.ascontiguousarray(features, np.float32), np.arange(len(features) + 1))


def farthest_units(cover: Cover, account: Account, first: int) -> tuple[Int64, Float64]:
    """`farthest_first` of units in a cover, which need not look at all of them after each choice.

    Args:
        cover: nothing chosen, or what people labelled.
        account: of the units; spent here.
        first: what is chosen first where nothing is, if it fits.

    Returns:
        The chosen units in order, and (K,) for each of these its `unit_value` when it was chosen (NaN for the others;
        infinite for the first where nothing was covered). Ties go to the first unit.
    """
    order: list[int] = []
    reached = np.full(len(cover.sets[0]), np.nan)

    def take(unit: int, value: float) -> None:
        reached[unit] = value
        order.append(unit)
        account.take(unit)
        cover.choose(unit)

    if not cover.chosen and (fits := account.fits()).any():
        take(first if fits[first] else int(fits.argmax()), np.inf)
    while (fits := account.fits()).any():
        cover.settle()
        bound = np.where(fits, cover.unit_values(), -1.0)
        falling = np.argsort(-bound, kind="stable")
        if bound[falling[0]] == 0:  # all that is left repeats what is covered, and goes on doing so
            for unit in falling.tolist():
                if account.fits_row(unit):
                    take(unit, 0.0)
            break
        _take_surely_farthest(cover, account, bound, falling, take)
    return np.array(order, np.int64), reached


def _take_surely_farthest(cover, account, bound, falling, take) -> None:  # type: ignore[no-untyped-def]
    """Take units as long as those looked at are sure to hold the farthest one."""
    others = float(bound[falling[_LOOKED_AT]]) if len(falling) > _LOOKED_AT else -1.0
    heap = [(-float(bound[unit]), unit, 0) for unit in falling[:_LOOKED_AT].tolist() if bound[unit] >= 0]
    while heap and not (cover.waiting and cover.is_full):
        value, unit, waited = heapq.heappop(heap)
        if not account.fits_row(unit):
            continue  # what doesn't fit once never does
        if waited < cover.waiting:
            heapq.heappush(heap, (-cover.unit_value(unit), unit, cover.waiting))
            continue
        # With an equal bound, one of the others may come before it.
        if -value <= others and cover.waiting:
            return
        take(unit, -value)


def nearest_to_mean(features: npt.NDArray[np.floating]) -> int:
    """The row (K, D) nearest the mean of all, the first of equals: where to start when nothing is labelled."""
    wide = features.astype(np.float64)
    return int(((wide - wide.mean(axis=0)) ** 2).sum(axis=1).argmin())
