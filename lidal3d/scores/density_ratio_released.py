# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""The density ratio as D2ADA's released code estimates it, to compare with: full covariances, judged in sample.

A class has clip(n_T / 100, 1, 10) Gaussians in both domains, over all feature dimensions, 1e-6 added to variances. Classes
with fewer than two target units are skipped, as there; so are those with fewer than two source units. Its float32 arrays,
which often don't fit, are float64 here.
"""

from __future__ import annotations

import contextlib

import numpy as np
import numpy.typing as npt
from scipy.linalg import LinAlgError, solve_triangular

from lidal3d.errors import DataError
from lidal3d.scores.density_ratio import Domain, Ratio
from lidal3d.scores.mixture import Float64, spread_rows

FLOOR = 1e-6
ITERATIONS = 200
TOLERANCE = 1e-3
_KMEANS = 10
_ROWS = 8192


def released_ratio(source: Domain, target: Domain, classes: int) -> Ratio:
    """log d_T(z | c) − log d_S(z | c) of all target units, and |its mean| as the divergence of a class."""
    log_ratio, kl, skipped = np.zeros(len(target)), np.zeros(classes), np.zeros(classes, bool)
    for category in np.unique(target.category):
        of_s, of_t = (np.flatnonzero(part.category == category) for part in (source, target))
        if min(len(of_s), len(of_t)) < 2:
            skipped[category] = True
            continue
        components = int(np.clip(len(of_t) // 100, 1, 10))
        s, t = source.features[of_s].astype(np.float64), target.features[of_t].astype(np.float64)
        log_ratio[of_t] = FullMixture.fit(t, components).log_density(t) - FullMixture.fit(s, components).log_density(t)
        kl[category] = abs(log_ratio[of_t].mean())
    return Ratio(log_ratio, kl, skipped)


def released_weights(kl: Float64) -> npt.NDArray[np.int64]:
    """(C,) int(log10 KL), how many units of a class are taken in a turn; 0 and less take none.

    The released loop never ends once a weight is 0 or less. Where all are, all classes take one.
    """
    with np.errstate(divide="ignore"):
        weights = np.nan_to_num(np.log10(kl), neginf=0.0).astype(np.int64)
    return np.maximum(weights, 0) if (weights > 0).any() else np.ones(len(kl), np.int64)


class FullMixture:
    """K Gaussians with full covariances, in float64."""

    def __init__(self, weights: Float64, means: Float64, covariances: Float64) -> None:
        """weights (K,), means (K, D), covariances (K, D, D)."""
        self.weights, self.means, self.covariances = weights, means, covariances
        self._factors = [_factor(covariance) for covariance in covariances]

    @classmethod
    def fit(cls, rows: Float64, components: int) -> FullMixture:
        """Expectation maximisation from k-means' clusters of rows (N, D)."""
        share = _clusters(rows, min(components, len(rows)))
        before = -np.inf
        for _ in range(ITERATIONS):
            mixture = cls._of(rows, share)
            joint = mixture._log_joint(rows)
            density = np.logaddexp.reduce(joint, axis=1)
            share = np.exp(joint - density[:, None])
            if abs(density.mean() - before) < TOLERANCE:
                break
            before = density.mean()
        return mixture

    @classmethod
    def _of(cls, rows: Float64, share: Float64) -> FullMixture:
        total = share.sum(axis=0) + 10 * np.finfo(float).eps
        means = (share.T @ rows) / total[:, None]
        covariances = np.empty((len(total), rows.shape[1], rows.shape[1]))
        for k in range(len(total)):
            apart = rows - means[k]
            covariances[k] = (share[:, k, None] * apart).T @ apart / total[k] + FLOOR * np.eye(rows.shape[1])
        return cls(total / total.sum(), means, covariances)

    def log_density(self, rows: Float64) -> Float64:
        """(N,) nats of rows (N, D)."""
        parts = [rows[first : first + _ROWS] for first in range(0, len(rows), _ROWS)]
        return np.concatenate([np.logaddexp.reduce(self._log_joint(part), axis=1) for part in parts])

    def _log_joint(self, rows: Float64) -> Float64:
        joint = np.empty((len(rows), len(self.weights)))
        for k, factor in enumerate(self._factors):
            apart = solve_triangular(factor, (rows - self.means[k]).T, lower=True)
            joint[:, k] = np.log(self.weights[k]) - 0.5 * (
                (apart * apart).sum(axis=0) + rows.shape[1] * np.log(2 * np.pi) + 2 * np.log(np.diag(factor)).sum()
            )
        return joint


def _factor(covariance: Float64) -> Float64:
    """The Cholesky factor; a variance that rounding took away is given back."""
    scale = FLOOR * max(1.0, float(np.abs(covariance).max()))
    for floor in (0.0, *(scale * 10.0**power for power in range(10))):
        with contextlib.suppress(LinAlgError):
            return np.asarray(np.linalg.cholesky(covariance + floor * np.eye(len(covariance))))
    raise DataError("features too large or too different to fit a full covariance to; take d2ada.rule=default")


def _clusters(rows: Float64, count: int) -> Float64:
    """(N, K) 1 for the cluster of each row by Lloyd's k-means, seed 0."""
    centers = spread_rows(rows, count, np.random.default_rng(0))
    for _ in range(_KMEANS):
        cluster = ((centers**2).sum(axis=1) - 2 * rows @ centers.T).argmin(axis=1)
        share = (cluster[:, None] == np.arange(count)).astype(np.float64)
        size = share.sum(axis=0)
        centers = np.where(size[:, None] > 0, share.T @ rows / np.maximum(size, 1)[:, None], centers)
    return share
