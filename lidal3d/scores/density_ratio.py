# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""What a target domain is full of and a source lacks: log d_T(z | c) − log d_S(z | c), by predicted class.

After Wu et al., "D2ADA: Dynamic Density-aware Active Domain Adaptation for Semantic Segmentation", ECCV 2022. The mean of
the ratio over a class's target units estimates KL(p_T(z|c) ‖ p_S(z|c)). The released estimator (full covariances in all
dimensions, judged on what it was fitted to) finds hundreds of nats between two samples of one law; it is in
`released_ratio`. This one finds none: few dimensions, diagonal covariances, as many Gaussians as BIC allows, and no unit is
judged by a density that has seen its own scene.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lidal3d.scores.mixture import Mixture, fit_by_bic, single
from lidal3d.scores.projection import Float32, Float64, Int64, Projection
from lidal3d.settings.d2ada import D2adaConfig

LEAST_OF_CLASS = 20
"""Counted units of a class, in both domains, below which all classes together stand for it."""
LEAST_OF_ALL = 2
BROAD_SHARE = 0.01
"""Share of a broad Gaussian, the same in both densities: far from everything their ratio is 1, not a tail's accident."""
EXTREMES = 0.05
"""Share of a class's units at either end whose ratio counts as that of the others: some strange units are not a class."""
_FIT_ROWS = 20_000
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Domain:
    """Units of one domain.

    Attributes:
        features: (N, D) float32, finite.
        category: (N,) predicted class.
        fold: (N,) from `folds.fold_numbers`.
        counted: (N,) whether a unit is fitted to, see `folds.one_a_place`.
        stratum: (N,) what is standardised apart, from 0.
    """

    features: Float32
    category: Int64
    fold: Int64
    counted: npt.NDArray[np.bool_]
    stratum: Int64

    def __len__(self) -> int:
        return len(self.category)


@dataclass(frozen=True)
class Ratio:
    """What the densities say of T target units.

    Attributes:
        log_ratio: (T,) nats; large where the target is dense and the source is not, 0 where nothing can be said.
        kl: (C,) nats, at least 0.
        pooled: (C,) classes with target units that had too few for densities of their own.
    """

    log_ratio: Float64
    kl: Float64
    pooled: npt.NDArray[np.bool_]


def density_ratio(source: Domain, target: Domain, classes: int, config: D2adaConfig, rng: np.random.Generator) -> Ratio:
    """The ratio of cross-fitted class-conditional densities.

    A class with fewer than LEAST_OF_CLASS counted units in a domain is judged by the densities of all classes together;
    where even those can't be held out (one scene of one frame), the ratio is 0.
    """
    projection = Projection.of([(part.features, part.stratum) for part in (source, target)], config.dimensions)
    s, t = (projection((part.features, part.stratum)) for part in (source, target))
    log_ratio, pooled = np.full(len(target), np.nan), np.zeros(classes, bool)
    for category in np.unique(target.category):
        of_s, of_t = (np.flatnonzero(part.category == category) for part in (source, target))
        log_ratio[of_t] = _cross_fitted(
            _Sample.of(s, source, of_s), _Sample.of(t, target, of_t), LEAST_OF_CLASS, config, rng
        )  # fmt: skip
        pooled[category] = bool(np.isnan(log_ratio[of_t]).any())
    unknown = np.isnan(log_ratio)
    if unknown.any():
        every_s, every_t = np.arange(len(source)), np.arange(len(target))
        together = _cross_fitted(
            _Sample.of(s, source, every_s), _Sample.of(t, target, every_t), LEAST_OF_ALL, config, rng
        )  # fmt: skip
        log_ratio[unknown] = np.nan_to_num(together[unknown])
    _tell(source, target, pooled)
    return Ratio(log_ratio, _kl(log_ratio, target, classes), pooled)


def class_weights(kl: Float64, floor: float) -> Float64:
    """(C,) w_c ∝ max(KL_c, floor), sum 1."""
    raised = np.maximum(kl, floor)
    return raised / raised.sum()


@dataclass(frozen=True)
class _Sample:
    """Projected rows (N, P) of some units, with their folds and whether they count."""

    rows: Float32
    fold: Int64
    counted: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, projected: Float32, domain: Domain, places: Int64) -> _Sample:
        return cls(projected[places], domain.fold[places], domain.counted[places])

    def counted_rows(self, without: int | None = None) -> Float32:
        """The counted rows, but those of a fold, at most _FIT_ROWS of them, evenly spread."""
        places = np.flatnonzero(self.counted if without is None else self.counted & (self.fold != without))
        return self.rows[places[np.linspace(0, len(places) - 1, min(len(places), _FIT_ROWS)).astype(np.int64)]]


def _cross_fitted(s: _Sample, t: _Sample, least: int, config: D2adaConfig, rng: np.random.Generator) -> Float64:
    """(T,) each fold's units by densities of the others; NaN where those have fewer than `least` rows.

    Source units of the fold are left out too, unless no others are left: units beside the only labelled ones are then
    compared with these, which is what makes near copies of them not worth asking.
    """
    result = np.full(len(t.rows), np.nan)
    if not t.rows.shape[1]:
        return np.zeros(len(t.rows))
    if s.counted.sum() < least or t.counted.sum() < least:
        return result
    broad = single(np.concatenate([s.counted_rows(), t.counted_rows()]))
    whole: Mixture | None = None
    for fold in np.unique(t.fold):
        others = t.counted_rows(without=fold)
        if len(others) < least:
            continue
        held_out = s.counted_rows(without=fold)
        if (s.fold == fold).any() and len(held_out) >= least:
            of_source = fit_by_bic(held_out, config.components, rng)
        else:
            whole = whole or fit_by_bic(s.counted_rows(), config.components, rng)
            of_source = whole
        of_target = fit_by_bic(others, config.components, rng)
        asked = np.flatnonzero(t.fold == fold)
        result[asked] = _log_ratio(t.rows[asked], of_target, of_source, broad)
    return result


def _log_ratio(rows: Float32, of_target: Mixture, of_source: Mixture, broad: Mixture) -> Float64:
    tail = np.log(BROAD_SHARE) + broad.log_density(rows)
    most = np.log(1 - BROAD_SHARE)
    above = np.logaddexp(most + of_target.log_density(rows), tail)
    return above - np.logaddexp(most + of_source.log_density(rows), tail)


def _kl(log_ratio: Float64, target: Domain, classes: int) -> Float64:
    """(C,) the winsorised mean ratio over each class's counted units, at least 0."""
    kl = np.zeros(classes)
    for category in np.unique(target.category[target.counted]):
        ratio = log_ratio[target.counted & (target.category == category)]
        kl[category] = max(0.0, ratio.clip(*np.quantile(ratio, (EXTREMES, 1 - EXTREMES))).mean())
    return kl


def _tell(source: Domain, target: Domain, pooled: npt.NDArray[np.bool_]) -> None:
    for category in np.flatnonzero(pooled).tolist():
        counts = [int((part.counted & (part.category == category)).sum()) for part in (source, target)]
        _LOG.info(
            "class %d: %d source and %d target units are too few for a held-out density of its own (at least %d of each); "
            "all classes together stand for it", category, *counts, LEAST_OF_CLASS,
        )  # fmt: skip
