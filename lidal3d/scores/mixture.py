# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Gaussian mixtures with diagonal covariances, fitted by expectation maximisation in one pass a step.

A step keeps no N × K array: responsibilities are used up row by row, so that memory is that of the rows themselves.
Sums run in a fixed order on one thread: equal rows and seeds give equal bytes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

FLOOR = 1e-3
"""Added to every variance of features that were standardised."""
ITERATIONS = 100
TOLERANCE = 1e-3  # of the mean log-likelihood
_SEED_ROWS = 4096
_LOG_2PI = float(np.log(2 * np.pi))


@dataclass(frozen=True)
class Mixture:
    """K Gaussians in D dimensions.

    Attributes:
        weights: (K,), sum 1.
        means: (K, D).
        variances: (K, D).
    """

    weights: Float64
    means: Float64
    variances: Float64

    def log_density(self, rows: Float32) -> Float64:
        """log Σ_k w_k N(x; μ_k, σ²_k) of rows (N, D), (N,) nats."""
        result = np.empty(len(rows))
        _log_density(rows, *self._terms(), result)
        return result

    def bic(self, rows: Float32) -> float:
        """Bayesian information criterion on the rows that it was fitted to; less is better (Schwarz, 1978)."""
        parameters = 2 * self.means.size + len(self.weights) - 1
        return float(-2 * self.log_density(rows).sum() + parameters * np.log(len(rows)))

    def _terms(self) -> tuple[Float64, Float64, Float64]:
        """What the kernels read: (K,) constants, (D, K) means and precisions."""
        dimensions = self.means.shape[1]
        with np.errstate(divide="ignore"):
            constant = np.log(self.weights) - 0.5 * (dimensions * _LOG_2PI + np.log(self.variances).sum(axis=1))
        return constant, np.ascontiguousarray(self.means.T), np.ascontiguousarray(1 / self.variances.T)


def single(rows: Float32, floor: float = FLOOR) -> Mixture:
    """The one Gaussian of rows (N, D)."""
    wide_mean = rows.mean(axis=0, dtype=np.float64)
    variance = np.square(rows - wide_mean.astype(np.float32), dtype=np.float64).mean(axis=0) + floor
    return Mixture(np.ones(1), wide_mean[None], variance[None])


def fit_mixture(rows: Float32, components: int, rng: np.random.Generator, floor: float = FLOOR) -> Mixture:
    """A mixture of `components` Gaussians, no more than there are rows.

    Args:
        rows: (N, D) float32, finite, N at least 1.
        rng: for the seeds, which are spread as by k-means++.
    """
    start = single(rows, floor)
    if min(components, len(rows)) <= 1:
        return start
    means = spread_rows(rows, min(components, len(rows)), rng)
    count = len(means)
    mixture = Mixture(np.full(count, 1 / count), means, np.repeat(start.variances, count, axis=0))
    return improve(mixture, rows, floor)


def improve(
    mixture: Mixture,
    rows: Float32,
    floor: float = FLOOR,
    iterations: int = ITERATIONS,
    tolerance: float = TOLERANCE,
) -> Mixture:
    """Expectation maximisation from a given mixture until the mean log-likelihood grows by less than `tolerance`."""
    before = -np.inf
    for _ in range(iterations):
        likelihood, mixture = _step(mixture, rows, floor)
        if abs(likelihood - before) < tolerance:
            break
        before = likelihood
    return mixture


def fit_by_bic(rows: Float32, most: int, rng: np.random.Generator) -> Mixture:
    """The mixture of 1, 2, 4, … components, at most `most` and one for twenty rows, after which BIC grows no better."""
    best = fit_mixture(rows, 1, rng)
    least, components = best.bic(rows), 2
    while components <= min(most, len(rows) // 20):
        mixture = fit_mixture(rows, components, rng)
        bic = mixture.bic(rows)
        if bic >= least:
            break
        best, least, components = mixture, bic, 2 * components
    return best


def spread_rows(rows: npt.NDArray[np.floating], count: int, rng: np.random.Generator) -> Float64:
    """`count` rows (K, D) far from each other: k-means++ on some thousand of them."""
    some = rows[np.linspace(0, len(rows) - 1, min(len(rows), max(_SEED_ROWS, count))).astype(np.int64)]
    wide = np.asarray(some, np.float64)
    chosen = [int(rng.integers(len(wide)))]
    nearest = np.square(wide - wide[chosen[0]]).sum(axis=1)
    while len(chosen) < count:
        # Where all that is left equals a chosen row, any will do.
        share = nearest.cumsum() if nearest.sum() > 0 else np.arange(1.0, len(wide) + 1)
        chosen.append(min(int(np.searchsorted(share, rng.random() * share[-1], side="right")), len(wide) - 1))
        nearest = np.minimum(nearest, np.square(wide - wide[chosen[-1]]).sum(axis=1))
    return wide[chosen]


def _step(mixture: Mixture, rows: Float32, floor: float) -> tuple[float, Mixture]:
    """The mean log-likelihood of a mixture, and the next mixture."""
    count, dimensions = mixture.means.shape
    total, first, second = np.zeros(count), np.zeros((dimensions, count)), np.zeros((dimensions, count))
    likelihood = _sums(rows, *mixture._terms(), total, first, second)
    alive = total > 1e-6  # a component without rows stays where it is, with weight 0
    share = np.where(alive, total, 1.0)
    means = np.where(alive[:, None], (first / share).T, mixture.means)
    variances = np.maximum((second / share).T - means**2, 0) + floor
    variances = np.where(alive[:, None], variances, mixture.variances)
    return likelihood / len(rows), Mixture(np.where(alive, total, 0) / total[alive].sum(), means, variances)


@njit(cache=True, nogil=True)
def _log_joint(row, constant, mean, precision, joint):  # type: ignore[no-untyped-def]
    """log w_k + log N(x; μ_k, σ²_k) into `joint`; their log-sum is returned."""
    joint[:] = 0.0
    for d in range(len(row)):
        x = np.float64(row[d])
        for k in range(len(joint)):
            step = x - mean[d, k]
            joint[k] += step * step * precision[d, k]
    most = -np.inf
    for k in range(len(joint)):
        joint[k] = constant[k] - 0.5 * joint[k]
        most = max(most, joint[k])
    total = 0.0
    for k in range(len(joint)):
        total += np.exp(joint[k] - most)
    return most + np.log(total)


@njit(cache=True, nogil=True)
def _log_density(rows, constant, mean, precision, result):  # type: ignore[no-untyped-def]
    joint = np.empty(len(constant))
    for i in range(len(rows)):
        result[i] = _log_joint(rows[i], constant, mean, precision, joint)


@njit(cache=True, nogil=True)
def _sums(rows, constant, mean, precision, total, first, second):  # type: ignore[no-untyped-def]
    """Σ r, Σ r x, Σ r x² of every component, added to the last three; returns the log-likelihood."""
    joint = np.empty(len(constant))
    likelihood = 0.0
    for i in range(len(rows)):
        log_density = _log_joint(rows[i], constant, mean, precision, joint)
        likelihood += log_density
        for k in range(len(joint)):
            joint[k] = np.exp(joint[k] - log_density)
            total[k] += joint[k]
        for d in range(rows.shape[1]):
            x = np.float64(rows[i, d])
            for k in range(len(joint)):
                part = joint[k] * x
                first[d, k] += part
                second[d, k] += part * x
    return likelihood
