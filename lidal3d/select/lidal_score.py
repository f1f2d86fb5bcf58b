# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""The default ranking score, `lidal`: divergence where neighbours see a region, imputed from entropy where none does.

This is ours, not the paper's. LiDAL's released code gives a point that no neighbour frame sees a divergence of 0, the
value of perfect certainty, so far, new and moving things are never asked about. Here, with the coverage κ of a region
(the share of its points seen in a neighbour), its divergence D over those points and the entropy E° over the others,

    score = κ · D + (1 − κ) · D̂(E°)

where D̂ turns an entropy into the divergence of equal rank: the q-quantile of the regions' entropies becomes the
q-quantile of their divergences. It is monotone, so regions that nobody else sees are ordered by their entropy, and it
needs no unit to be shared by the two measures.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]

QUANTILES = 4097  # of a larger table, only so many are compared


def divergence_of_entropy(entropy: Float64, known_entropy: Float64, known_divergence: Float64) -> Float64:
    """The divergence whose rank among the known ones is that of `entropy` among the known entropies.

    Args:
        entropy: any shape, nats; NaN stays NaN.
        known_entropy, known_divergence: the values to take the ranks from, any lengths; NaN are left out.

    Returns:
        As `entropy`; beyond the known entropies the least or the largest divergence. Where no divergence is known at
        all, `entropy` itself, so that its order still stands.
    """
    entropies, divergences = _quantiles(known_entropy), _quantiles(known_divergence)
    if not len(divergences) or not len(entropies):
        return np.array(entropy, dtype=np.float64)
    values, counts = np.unique(entropies, return_counts=True)
    # Equal entropies share the middle of their ranks, so that the map is one of values, not of rows.
    middle = np.cumsum(counts) - (counts + 1) / 2
    level = np.interp(entropy, values, middle / max(len(entropies) - 1, 1))
    return np.interp(level, np.linspace(0, 1, len(divergences)), divergences)


def _quantiles(values: Float64) -> Float64:
    """The finite values in order, or evenly many of their quantiles: a short table is looked up in the cache."""
    ordered = np.sort(values[np.isfinite(values)])
    if len(ordered) <= QUANTILES:
        return ordered
    return ordered[np.linspace(0, len(ordered) - 1, QUANTILES).round().astype(np.int64)]


def lidal_score(coverage: Float64, divergence: Float64, entropy_unmatched: Float64, known_entropy: Float64) -> Float64:
    """Ranking scores (R,) of R regions: κ · D + (1 − κ) · D̂(E°).

    Args:
        coverage: (R,) κ, 0 … 1.
        divergence: (R,) D over the points with matches, NaN where none has any.
        entropy_unmatched: (R,) E° over the points without, NaN where all have some.
        known_entropy: (R,) entropies of the whole regions, whose ranks are matched to those of `divergence`.

    Returns:
        (R,) float64; NaN where a part that counts is unknown.
    """
    imputed = divergence_of_entropy(entropy_unmatched, known_entropy, divergence)
    matched = np.where(coverage > 0, coverage * divergence, 0.0)
    unmatched = np.where(coverage < 1, (1 - coverage) * imputed, 0.0)
    return np.where(np.isnan(coverage), np.nan, matched + unmatched)
