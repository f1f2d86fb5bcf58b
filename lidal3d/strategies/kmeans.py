# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""k-means medoids: the pool in as many clusters as the budget buys units, and the unit nearest each centre.

As the k-means baseline of common active-learning collections. What the budget buys depends on which units it buys, so
clusters are made for units of average cost, the largest cluster is served first, and what is left over goes to every
cluster's second, and so on.
"""

from __future__ import annotations

import numpy as np

from lidal3d.select.kmeans import kmeans
from lidal3d.select.selection import Selection
from lidal3d.strategies.spend import Candidates, Int64, buy_in_order, candidates
from lidal3d.strategies.strategy import Ask, Strategy


def medoids(ask: Ask) -> Selection:
    """Round by round the unit next nearest to each centre."""
    features = ask.pool.feature_rows
    some = candidates(ask, {"features": features})
    cluster, distance = kmeans(features[some.rows], affordable(some), ask.rng)
    size = np.bincount(cluster)
    by_distance = np.lexsort((distance, cluster))
    first = np.concatenate([[0], size.cumsum()])[cluster[by_distance]]
    turn = np.empty(len(some), np.int64)
    turn[by_distance] = np.arange(len(some)) - first
    order = np.lexsort((cluster, -size[cluster], turn))
    return buy_in_order(ask, some, order, lambda row, scores: why(turn[row], int(size[cluster[row]])))


def affordable(some: Candidates) -> int:
    """How many units of average cost the budget buys, at least 1; of frames, how many frames."""
    mean = some.costs.unit.mean() + some.costs.frame_fee
    return max(1, min(len(some), int(some.limit / mean)))


def why(turn: Int64, size: int) -> str:
    """The reason of the unit that is number `turn` in its cluster."""
    place = "the typical unit" if turn == 0 else f"the typical unit number {turn + 1}"
    return f"{place} of {size} units with like features"


KMEANS = Strategy(
    "kmeans", "baseline", "the typical unit of each of as many clusters of features as the budget buys",
    medoids, frozenset({"features"}),
)  # fmt: skip
