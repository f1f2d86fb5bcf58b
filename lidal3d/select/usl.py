# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Unsupervised selective labelling: dense units, one a cluster, that keep away from each other.

Wang, Lian and Yu, "Unsupervised Selective Labeling for More Effective Semi-Supervised Learning", ECCV 2022. Repaired:
utility and repulsion have the median 1 before they are weighed, and near copies in time are no neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lidal3d.errors import DataError
from lidal3d.select.kmeans import kmeans
from lidal3d.select.knn import Times, nearest_squared

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
LEAST_SQUARED = 1e-12  # of unit vectors: nearer is the same
_ROWS = 1024


@dataclass(frozen=True)
class Repulsion:
    """The regulariser.

    Attributes:
        iterations: T; 1 leaves the picks as utility makes them, unless some are fixed.
        weight: w.
        momentum: γ.
        power: α.
        horizon: picks at this squared distance or more don't count.
        nearest: only so many nearest picks count; 0 for all.
        paper_scale: weigh utility and repulsion as they are, not at median 1.
    """

    iterations: int = 10
    weight: float = 0.5
    momentum: float = 0.9
    power: float = 0.5
    horizon: float = 4.0
    nearest: int = 0
    paper_scale: bool = False


def unit_rows(features: npt.NDArray[np.floating]) -> Float64:
    """Rows (K, D) of length 1; zeros stay zeros. Raises DataError where one isn't finite."""
    wide = np.asarray(features, np.float64)
    bad = int((~np.isfinite(wide)).any(axis=1).sum())
    if bad:
        raise DataError(f"{bad} of {len(wide)} units have embeddings that are not finite; leave them out")
    length = np.linalg.norm(wide, axis=1, keepdims=True)
    return wide / np.where(length > 0, length, 1)


def utility(features: Float64, neighbours: int, times: Times | None = None) -> Float64:
    """U = 1 / mean of the K smallest squared distances, the one to itself (0) included; (K,).

    A unit with too few neighbours is judged by those it has, and one with none has utility 0: nothing is like it.

    Args:
        features: (K, D) of length 1.
        neighbours: K, the unit itself included.
        times: whose near copies are passed over.
    """
    squared = nearest_squared(features, max(2, neighbours), times)
    found = np.isfinite(squared)
    number = found.sum(axis=1)
    mean = np.where(found, squared, 0).sum(axis=1) / np.maximum(number, 1)
    return np.where(number > 1, 1 / np.maximum(mean, LEAST_SQUARED), 0.0)


def usl(
    features: Float64,
    value: Float64,
    clusters: int,
    rng: np.random.Generator,
    repulsion: Repulsion = Repulsion(),
    fixed: Float64 | None = None,
    kmeans_iterations: int = 100,
) -> tuple[Int64, Int64, Float64]:
    """One pick a cluster.

    Args:
        features: (K, D) of length 1.
        value: (K,) utility, for its cost where that counts.
        clusters: m, how many picks.
        rng: draws the first centres.
        repulsion: the regulariser.
        fixed: (L, D) what is labelled already, which repels as picks do.
        kmeans_iterations: of Lloyd's algorithm, at most.

    Returns:
        The picks, one a cluster; the cluster (K,) of each row; and (K,) the score that the picks are the largest of.

    Raises:
        DataError: more picks than units.
    """
    if clusters > len(features):
        raise DataError(f"{clusters} picks of {len(features)} units; ask for at most that")
    seeds = np.sort(rng.choice(len(features), clusters, replace=False))
    cluster, _ = kmeans(features, clusters, rng, kmeans_iterations, seeds)
    picks, score = regularised(features, value, cluster, repulsion, fixed)
    return picks, cluster, score


def regularised(
    features: Float64, value: Float64, cluster: Int64, repulsion: Repulsion, fixed: Float64 | None = None
) -> tuple[Int64, Float64]:
    """The picks of iteration T, one for each cluster that has a member, and the score (K,) they are the largest of.

    s_c = argmax over i in c of U_i − w R_i; then R_i ← γ R_i + (1 − γ) Σ over the picks s of other clusters of
    (‖z_i − s‖²)^−α. What is labelled is in R from the start.
    """
    none = np.empty((0, features.shape[1]))
    settled = repelled(features, none if fixed is None else fixed, None, None, repulsion)
    pressure = settled
    scale = 1.0 if repulsion.paper_scale else _median(value)
    for iteration in range(repulsion.iterations):
        weighed = pressure if repulsion.paper_scale else pressure / _median(pressure)
        score = value / scale - repulsion.weight * weighed
        picks = best_of_each(score, cluster)
        if iteration + 1 < repulsion.iterations:
            others = repelled(features, features[picks], cluster, cluster[picks], repulsion) + settled
            pressure = repulsion.momentum * pressure + (1 - repulsion.momentum) * others
    return picks, score


def repelled(
    features: Float64, picks: Float64, cluster: Int64 | None, pick_cluster: Int64 | None, repulsion: Repulsion
) -> Float64:
    """(K,) Σ over picks (M, D) of other clusters, or over all, of (‖z_i − s‖²)^−α."""
    result = np.zeros(len(features))
    of_pick = (picks * picks).sum(axis=1)
    for row in range(0, len(features), _ROWS):
        part = slice(row, row + _ROWS)
        block = features[part]
        squared = (block * block).sum(axis=1)[:, None] + of_pick - 2 * block @ picks.T
        counts = squared < repulsion.horizon
        if cluster is not None and pick_cluster is not None:
            counts &= cluster[part][:, None] != pick_cluster
        force = np.where(counts, np.maximum(squared, LEAST_SQUARED), np.inf) ** -repulsion.power
        if 0 < repulsion.nearest < force.shape[1]:
            force = -np.partition(-force, repulsion.nearest - 1, axis=1)[:, : repulsion.nearest]
        result[part] = force.sum(axis=1)
    return result


def best_of_each(score: Float64, cluster: Int64) -> Int64:
    """The row with the largest score of every cluster that has any, by cluster; the first of equals."""
    order = np.lexsort((np.arange(len(score)), -score, cluster))
    _, first = np.unique(cluster[order], return_index=True)
    return order[first].astype(np.int64)


def _median(values: Float64) -> float:
    """The median of what is above 0, or 1 where nothing is."""
    above = values[values > 0]
    return float(np.median(above)) if len(above) else 1.0
