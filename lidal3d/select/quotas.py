# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Quotas: no class, scene or distance may eat the whole budget."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Int64 = npt.NDArray[np.int64]


def within_quotas(order: Int64, cost: Int64, group: npt.NDArray[np.integer], limits: Int64) -> npt.NDArray[np.bool_]:
    """Which candidates, taken in an order, fit what is left of their group's share; the others are passed over.

    Args:
        order: (J,) candidates.
        cost: (K,) of each candidate.
        group: (K,) of each candidate, from 0.
        limits: (G,) the most that each group may cost.

    Returns:
        (J,) in the order of `order`.
    """
    left = limits.astype(np.int64).copy()
    taken = np.zeros(len(order), bool)
    for place, row in enumerate(order):
        if cost[row] <= left[group[row]]:
            left[group[row]] -= cost[row]
            taken[place] = True
    return taken


def equal_shares(group: npt.NDArray[np.integer], limit: int) -> Int64:
    """The budget in equal parts for the groups (K,) that there are, 0 for the others; the sum is at most `limit`."""
    present = np.bincount(group) > 0
    return np.where(present, limit // max(int(present.sum()), 1), 0).astype(np.int64)


def proportional_shares(group: npt.NDArray[np.integer], weight: Int64, limit: int) -> Int64:
    """The budget in proportion to the weight (K,) of each group (K,), rounded down."""
    totals = np.bincount(group, weights=weight.astype(np.float64))
    return np.floor(limit * totals / max(totals.sum(), 1)).astype(np.int64)


def strata(values: npt.NDArray[np.floating], edges: tuple[float, ...]) -> Int64:
    """The stratum of each value, 0 below the first edge, and the last also for what isn't known."""
    return np.searchsorted(np.asarray(edges, np.float64), values, side="right").astype(np.int64)
