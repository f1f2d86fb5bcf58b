# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Squared distances from one candidate to all: what farthest-first and k-means++ walk on, without an N × N matrix."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from numba import njit

Float64 = npt.NDArray[np.float64]
Distances = Callable[[int], Float64]  # a candidate -> (K,) squared distances to all K candidates, itself 0

EPSILON = 1e-5
_ROWS, _OTHERS = 1024, 4096  # at most so many pairs are held at a time: 32 MiB


def euclidean(features: npt.NDArray[np.floating]) -> Distances:
    """‖f_i − f_j‖² of features (K, D)."""
    return lambda row: _squared(features, row)


@njit(cache=True, nogil=True)
def _squared(features, row):  # type: ignore[no-untyped-def]
    result = np.zeros(len(features))
    for i in range(len(features)):
        for d in range(features.shape[1]):
            step = np.float64(features[i, d]) - np.float64(features[row, d])
            result[i] += step * step
    return result


def gradient(residuals: npt.NDArray[np.floating], features: npt.NDArray[np.floating]) -> Distances:
    """‖g_i − g_j‖² of the gradients g = a ⊗ f of the last layer, which are never built (BADGE, ICLR 2020).

    ‖g_i − g_j‖² = ‖a_i‖² ‖f_i‖² + ‖a_j‖² ‖f_j‖² − 2 ⟨a_i, a_j⟩ ⟨f_i, f_j⟩, so that K × (C + D) numbers do for K × C·D.

    Args:
        residuals: (K, C) a = e_ŷ − p.
        features: (K, D) f.
    """
    a, f = residuals.astype(np.float64), features.astype(np.float64)
    norm = gradient_norms(residuals, features)

    def distances(row: int) -> Float64:
        result = np.maximum(norm + norm[row] - 2 * (a @ a[row]) * (f @ f[row]), 0)
        result[row] = 0
        # What cancels leaves a rounding error, and equal units must have no distance.
        result[result < 1e-12 * (norm + norm[row])] = 0
        return result

    return distances


def gradient_norms(residuals: npt.NDArray[np.floating], features: npt.NDArray[np.floating]) -> Float64:
    """‖g‖² = ‖a‖² ‖f‖² (K,)."""
    a, f = residuals.astype(np.float64), features.astype(np.float64)
    return (a * a).sum(axis=1) * (f * f).sum(axis=1)


def symmetric_kl(p: npt.NDArray[np.floating], q: npt.NDArray[np.floating]) -> npt.NDArray:
    """½ KL(p ‖ q) + ½ KL(q ‖ p) along the last axis, nats; p and q are smoothed with 1e-5."""
    p, q = smooth(p), smooth(q)
    return 0.5 * ((p - q) * np.log(p / q)).sum(axis=-1)


def smooth(p: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Probabilities without zeros."""
    return np.asarray(p, np.float64) + EPSILON


def divergence(probabilities: npt.NDArray[np.floating]) -> Distances:
    """Symmetric KL of class probabilities (K, C); it takes the place of a squared distance."""
    p = smooth(probabilities)
    log_p = np.log(p)
    return lambda row: 0.5 * ((p - p[row]) * (log_p - log_p[row])).sum(axis=1)


def nearest_euclidean(features: npt.NDArray[np.floating], others: npt.NDArray[np.floating]) -> Float64:
    """The squared distance (K,) of each row to the nearest of some others (L, D); infinite where L is 0."""
    x, y = features.astype(np.float64), others.astype(np.float64)
    # About the mean: the smaller the numbers, the less cancels in x² + y² − 2xy.
    middle = x.mean(axis=0) if len(x) else 0.0
    x, y = x - middle, y - middle
    return _nearest(x, y, (x * x).sum(axis=1), (y * y).sum(axis=1), 2.0)


def nearest_divergence(probabilities: npt.NDArray[np.floating], others: npt.NDArray[np.floating]) -> Float64:
    """The symmetric KL (K,) of each row to the most alike of some others (L, C); infinite where L is 0."""
    p, q = smooth(probabilities), smooth(others)
    log_p, log_q = np.log(p), np.log(q)
    x, y = np.concatenate([p, log_p], axis=1), np.concatenate([log_q, q], axis=1)
    return _nearest(x, y, 0.5 * (p * log_p).sum(axis=1), 0.5 * (q * log_q).sum(axis=1), 0.5)


def _nearest(x: Float64, y: Float64, of_x: Float64, of_y: Float64, factor: float) -> Float64:
    """min over j of of_x_i + of_y_j − factor · ⟨x_i, y_j⟩, at least 0, a block of pairs at a time."""
    result = np.full(len(x), np.inf)
    for row in range(0, len(x), _ROWS):
        part = slice(row, row + _ROWS)
        for other in range(0, len(y), _OTHERS):
            block = slice(other, other + _OTHERS)
            pairs = of_y[block] - factor * (x[part] @ y[block].T)
            result[part] = np.minimum(result[part], pairs.min(axis=1) + of_x[part])
    return np.maximum(result, 0)
