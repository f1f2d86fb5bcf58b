# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""BADGE: large and different gradients.

Ash et al., "Deep Batch Active Learning by Diverse, Uncertain Gradient Lower Bounds", ICLR 2020. Were the predicted
class ŷ the true one, the last layer's gradient would be g = (e_ŷ − p) ⊗ f: long where the model is unsure, and pointing
elsewhere for other features and other confusions. k-means++ draws units that are far apart in g; the first is the
longest. Units stand in for images: p and f are means over a unit's points. g itself is never built.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lidal3d.select.distances import gradient, gradient_norms
from lidal3d.select.kmeanspp import spread
from lidal3d.select.selection import Selection
from lidal3d.strategies.spend import buy_in_order, candidates
from lidal3d.strategies.strategy import Ask, Strategy


def badge(ask: Ask) -> Selection:
    """k-means++ on gradient embeddings."""
    pool = ask.pool
    some = candidates(ask, {"features": pool.feature_rows, "probabilities": pool.probability_rows})
    features, residual = pool.feature_rows[some.rows], residuals(pool.probability_rows[some.rows])
    norms = gradient_norms(residual, features)
    account = some.account()
    longest = int(np.where(account.fits(), norms, -1).argmax())
    order = spread(longest, gradient(residual, features), account, ask.rng)
    length = np.sqrt(norms)
    return buy_in_order(
        ask, some, order,
        lambda row, scores: f"would change the model, and otherwise than the units before it (gradient {length[row]:.3g})",
    )  # fmt: skip


def residuals(probabilities: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """a = e_ŷ − p (K, C) with ŷ = argmax p."""
    result = -probabilities
    result[np.arange(len(result)), probabilities.argmax(axis=1)] += 1
    return result


BADGE = Strategy(
    "badge", "Ash et al., ICLR 2020", "units whose hypothetical gradients are long and different",
    badge, frozenset({"features", "probabilities"}),
)  # fmt: skip
