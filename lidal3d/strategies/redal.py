# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""ReDAL: uncertain, rugged regions, and not the same kind of region again and again.

Wu et al., "ReDAL: Region-based and Diversity-aware Active Learning for Point Cloud Semantic Segmentation", ICCV 2021.
The score is α U + γ V (`lidal3d.scores.redal`). Then, from the largest down (as LiDAL's re-implementation of it does;
ReDAL's own release puts the weights on other regions): the best tenth is clustered by its features, a region's score is multiplied by 0.95 for
every better one of its cluster, and all are sorted anew. Features are means over points where ReDAL takes voxels, and
the budget is kept where ReDAL stops after exceeding it. What the best tenth leaves of it goes to the rest by score.
"""

from __future__ import annotations

import numpy as np

from lidal3d.select.kmeans import kmeans
from lidal3d.select.selection import Selection
from lidal3d.strategies.spend import Float64, Int64, buy_in_order, candidates, why_by_score
from lidal3d.strategies.strategy import Ask, Strategy

SCORE = "redal"
CLUSTERS = 150
DECAY = 0.95
TRIM = 0.1


def redal(ask: Ask) -> Selection:
    """Sort, trim, cluster, decay, sort again."""
    table, features = ask.pool.table, ask.pool.feature_rows
    some = candidates(ask, {SCORE: table.score(SCORE), "features": features})
    score = table.score(SCORE)[some.rows]
    order = np.argsort(-score, kind="stable")
    best = order[: max(1, int(TRIM * len(order)))]
    cluster, _ = kmeans(features[some.rows[best]], CLUSTERS, ask.rng)
    decayed = score[best] * decay(cluster)
    order = np.concatenate([best[np.argsort(-decayed, kind="stable")], order[len(best) :]])
    return buy_in_order(ask, some, order, why_by_score(ask, SCORE, score))


def decay(cluster: Int64, rate: float = DECAY) -> Float64:
    """rate ** (how many of its cluster come before each), of clusters (J,) in descending order of score."""
    grouped = np.argsort(cluster, kind="stable")
    size = np.bincount(cluster)
    before = np.empty(len(cluster), np.int64)
    before[grouped] = np.arange(len(cluster)) - (size.cumsum() - size)[cluster[grouped]]
    return rate**before


REDAL = Strategy(
    "redal", "Wu et al., ICCV 2021", "the largest entropy and surface variation, less for every like region before it",
    redal, frozenset({"features"}), (SCORE,), frozenset({"supervoxels", "kmeans", "grid"}),
)  # fmt: skip
