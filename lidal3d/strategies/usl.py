# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""USL: what to label when nothing is labelled: dense units of an encoder's space, one a cluster, apart from each other.

Wang, Lian and Yu, ECCV 2022. The encoder learnt without labels (TWIST, Barlow Twins, a ViT), so neither labels nor a
model are needed. There are as many clusters as the budget buys units of average cost; what is left over goes to every
cluster's second, and so on. In later rounds what is labelled repels as picks do.
"""

from __future__ import annotations

import numpy as np

from lidal3d.config import Config
from lidal3d.select.knn import Times
from lidal3d.select.quotas import within_quotas
from lidal3d.select.selection import Selection
from lidal3d.select.usl import Repulsion, unit_rows, usl, utility
from lidal3d.strategies.kmeans import affordable
from lidal3d.strategies.spend import Candidates, Float64, Int64, Why, buy_in_order, candidates, labelled_rows
from lidal3d.strategies.strategy import Ask, Strategy

NANOSECONDS = 1_000_000_000
LEAST_WINDOWS = 4  # in a drive that is all there is
OF_PICTURES = ("image", "superpixels")  # whose scenes are one drive's cameras: "00.image_2"


def cold_start(ask: Ask) -> Selection:
    """Density, coverage, and the regulariser between the picks."""
    every, settings = ask.pool.embedding_rows, ask.config.usl
    some = candidates(ask, {"embeddings": every})
    finite = np.flatnonzero(np.isfinite(every).all(axis=1))
    features = np.zeros(every.shape)
    features[finite] = unit_rows(every[finite])
    dense = np.zeros(len(every))
    dense[finite] = utility(
        features[finite], neighbours(len(finite), ask.config), times_of(ask, finite) if settings.exclude_s else None
    )
    value = dense[some.rows]
    if settings.per_cost:
        value = value / np.maximum(some.costs.unit, 1)
    fixed = features[labelled_rows(ask, every)]
    picks, cluster, score = usl(
        features[some.rows], value, affordable(some), ask.rng, repulsion_of(ask.config), fixed,
        settings.kmeans_iterations,
    )  # fmt: skip
    order = by_turns(picks, cluster, score)
    return buy_in_order(ask, some, within_share(ask, some, order), why(dense[some.rows], cluster))


def neighbours(units: int, config: Config) -> int:
    """K of the density."""
    return config.usl.neighbours or max(2, min(20, units // 50))


def repulsion_of(config: Config) -> Repulsion:
    """The regulariser's settings."""
    of = config.usl
    return Repulsion(of.iterations, of.weight, of.momentum, of.power, of.horizon, of.nearest, of.scale == "paper")


def times_of(ask: Ask, rows: Int64) -> Times:
    """When and in which drive the units of some rows were seen; all cameras of a drive are one drive.

    A drive that is the only one has windows of at most a quarter of it.
    """
    table = ask.pool.table
    pictures = table.kind in OF_PICTURES
    names = [name.rpartition(".")[0] or name if pictures else name for name in table.scenes]
    number = np.array([names.index(name) for name in names], np.int64)
    both = np.column_stack([table.scene[rows], table.frame[rows]]).astype(np.int64)
    frames, of = np.unique(both, axis=0, return_inverse=True)
    ns = [ask.frame_facts(table.scenes[scene], frame)[1] for scene, frame in frames.tolist()]
    drive, when = number[table.scene[rows]], np.array(ns, np.int64)[of.ravel()]
    window_ns = round(ask.config.usl.exclude_s * NANOSECONDS)
    if len(when) and len(np.unique(drive)) == 1:
        # Nothing else is there to be like: a short drive's middle must not be lonelier than its ends.
        window_ns = min(window_ns, int(np.ptp(when)) // LEAST_WINDOWS)
    return Times(drive, when, window_ns)


def by_turns(picks: Int64, cluster: Int64, score: Float64) -> Int64:
    """All candidates: the picks, of the largest cluster first, then every cluster's second, and so on."""
    score = score.copy()
    score[picks] = np.inf
    size = np.bincount(cluster)
    inside = np.lexsort((-score, cluster))
    first = np.concatenate([[0], size.cumsum()])[cluster[inside]]
    turn = np.empty(len(score), np.int64)
    turn[inside] = np.arange(len(score)) - first
    return np.lexsort((cluster, -size[cluster], turn))


def within_share(ask: Ask, some: Candidates, order: Int64) -> Int64:
    """The part of an order that leaves no scene more than `usl.scene_share` of the budget."""
    share = ask.config.usl.scene_share
    if share == 1:
        return order
    scene = ask.pool.table.scene[some.rows]
    limits = np.full(len(ask.pool.table.scenes), int(share * some.limit), np.int64)
    if not some.costs.frame_fee:
        return order[within_quotas(order, some.costs.unit, scene, limits)]
    # Frames are paid: a frame is in or out with all its units, and comes when its first unit does.
    _, first = np.unique(some.frame[order], return_index=True)
    opening = order[np.sort(first)]
    fee = np.full(len(some), some.costs.frame_fee, np.int64)
    paid = some.frame[opening[within_quotas(opening, fee, scene, limits)]]
    return order[np.isin(some.frame[order], paid)]


def why(dense: Float64, cluster: Int64) -> Why:
    """The reason of a candidate."""
    size, ascending = np.bincount(cluster), np.sort(dense)

    def reason(row: int, scores: dict[str, float]) -> str:
        below = np.searchsorted(ascending, dense[row], side="left") / len(dense)
        return f"stands for {size[cluster[row]]} units that look alike; {100 * below:.0f} % of all have less like them elsewhere"

    return reason


USL = Strategy(
    "usl", "Wang et al., ECCV 2022", "dense units of an encoder's space, one a cluster, apart from each other: no labels",
    cold_start, frozenset({"embeddings"}),
)  # fmt: skip
