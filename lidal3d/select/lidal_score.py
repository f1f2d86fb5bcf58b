# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""The default ranking score, `lidal`: divergence where neighbours see a region, expected from entropy where none does.

This is ours, not the paper's. LiDAL's released code gives a point that no neighbour frame sees a divergence of 0, the
value of perfect certainty, so far, new and moving things are never asked about. Here, with the coverage κ of a region
(the share of its points seen in a neighbour), its divergence D over those points and the entropy E° over the others,

    score = κ · D + (1 − κ) · D̂(E°)

where D̂(E) is the divergence to expect of a region of entropy E: the monotone regression of D on E over the regions of
the drive that neighbours do see. A region that nobody else sees is thus ordered by its entropy, and never outranks the
contradictions that were really observed just for being far away and unsure.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.optimize import isotonic_regression

Float64 = npt.NDArray[np.float64]

BINS = 64  # the regression runs on means of so many equally full bins: a bin of one region would fit its noise
SEEN = 0.5  # least coverage of a region whose divergence the expectation is learnt from


def divergence_of_entropy(entropy: Float64, known_entropy: Float64, known_divergence: Float64) -> Float64:
    """The expected divergence at an entropy: isotonic regression on bin means, linear between them.

    Args:
        entropy: any shape, nats; NaN stays NaN.
        known_entropy, known_divergence: (K,) pairs to learn from; pairs with a NaN are left out.

    Returns:
        As `entropy`; beyond the first and last bin their values. Where there is no pair at all, `entropy` itself, so
        that its order still stands.
    """
    usable = np.isfinite(known_entropy) & np.isfinite(known_divergence)
    pairs = np.column_stack([known_entropy[usable], known_divergence[usable]])
    if not len(pairs):
        return np.array(entropy, dtype=np.float64)
    # Equal entropies by divergence, so that the order of rows does not matter.
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    bins = min(BINS, len(pairs))
    first = np.linspace(0, len(pairs), bins, endpoint=False).astype(np.int64)
    means = np.add.reduceat(pairs, first) / np.diff(np.append(first, len(pairs)))[:, None]
    return np.interp(entropy, means[:, 0], isotonic_regression(means[:, 1]).x)


def lidal_score(coverage: Float64, divergence: Float64, entropy_unmatched: Float64, entropy: Float64) -> Float64:
    """Ranking scores (R,) of R regions: κ · D + (1 − κ) · D̂(E°).

    Args:
        coverage: (R,) κ, 0 … 1.
        divergence: (R,) D over the points with matches, NaN where none has any.
        entropy_unmatched: (R,) E° over the points without, NaN where all have some.
        entropy: (R,) entropies of the whole regions; D̂ is learnt from it and D where coverage is at least SEEN.

    Returns:
        (R,) float64; NaN where a part that counts is unknown.
    """
    seen = coverage >= SEEN
    imputed = divergence_of_entropy(entropy_unmatched, entropy[seen], divergence[seen])
    matched = np.where(coverage > 0, coverage * divergence, 0.0)
    unmatched = np.where(coverage < 1, (1 - coverage) * imputed, 0.0)
    return np.where(np.isnan(coverage), np.nan, matched + unmatched)
