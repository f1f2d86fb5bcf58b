# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Lloyd's k-means on unit features, seeded by k-means++ or by given rows, a block of rows at a time."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from lidal3d.select.account import Account
from lidal3d.select.distances import euclidean
from lidal3d.select.kmeanspp import spread

Float64 = npt.NDArray[np.float64]
ITERATIONS = 20
_ROWS = 8192


def kmeans(
    features: npt.NDArray[np.floating],
    clusters: int,
    rng: np.random.Generator,
    iterations: int = ITERATIONS,
    seeds: npt.NDArray[np.int64] | None = None,
    weight: Float64 | None = None,
) -> tuple[npt.NDArray[np.int64], Float64]:
    """Clusters of features (K, D).

    Args:
        clusters: how many; no more than K are made.
        rng: for the seeds.
        iterations: at most; it stops when nothing changes.
        seeds: the rows that are the first centres, or None to draw them by k-means++.
        weight: (K,) how much each row counts in the mean of its cluster; None: all alike.

    Returns:
        (K,) the cluster of each row, and (K,) the squared distance to its centre. A cluster that runs empty starts
        anew at the row farthest from its centre.
    """
    wide = np.ascontiguousarray(features, np.float64)
    count = min(clusters, len(wide))
    if not count:
        return np.empty(0, np.int64), np.empty(0)
    if seeds is None:
        one_each = Account(np.ones(len(wide), np.int64), np.zeros(len(wide), np.int64), 0, count)
        seeds = spread(int(rng.integers(len(wide))), euclidean(wide), one_each, rng)
    centers = wide[seeds[:count]]
    labels, distance = _assign(wide, centers)
    for _ in range(iterations):
        centers = _centers(wide, labels, distance, count, weight)
        before, (labels, distance) = labels, _assign(wide, centers)
        if (before == labels).all():
            break
    return labels, distance


def _centers(
    features: Float64, labels: npt.NDArray[np.int64], distance: Float64, count: int, weight: Float64 | None = None
) -> Float64:
    weight = np.ones(len(features)) if weight is None else weight
    sums = np.zeros((count, features.shape[1]))
    _add(sums, labels, features, weight)
    sizes = np.bincount(labels, weight, minlength=count)
    empty = np.flatnonzero(sizes == 0)
    centers = sums / np.where(sizes > 0, sizes, 1)[:, None]
    centers[empty] = features[np.argsort(-distance, kind="stable")[: len(empty)]]
    return centers


@njit(cache=True, nogil=True)
def _add(sums, labels, features, weight):  # type: ignore[no-untyped-def]
    for i in range(len(labels)):
        for d in range(features.shape[1]):
            sums[labels[i], d] += weight[i] * features[i, d]


def _assign(features: Float64, centers: Float64) -> tuple[npt.NDArray[np.int64], Float64]:
    """Each row's nearest centre, the first of equals, and the squared distance to it."""
    labels, distance = np.empty(len(features), np.int64), np.empty(len(features))
    of_center = (centers * centers).sum(axis=1)
    for row in range(0, len(features), _ROWS):
        part = slice(row, row + _ROWS)
        labels[part] = (of_center - 2 * features[part] @ centers.T).argmin(axis=1)
        distance[part] = ((features[part] - centers[labels[part]]) ** 2).sum(axis=1)
    return labels, distance
