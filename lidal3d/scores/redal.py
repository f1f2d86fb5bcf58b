# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""ReDAL's region information on LiDAR, which has no colour (Wu et al., ICCV 2021): α U + γ V."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lidal3d.scores.entropy import entropy

ALPHA = 1.0
GAMMA = 0.05


def redal_score(
    probabilities: npt.NDArray[np.floating],
    variation: npt.NDArray[np.float64],
    alpha: float = ALPHA,
    gamma: float = GAMMA,
) -> npt.NDArray[np.float64]:
    """α · H2(p) / C + γ · V of each point; the largest is asked first, region by region the mean.

    Args:
        probabilities: (N, C).
        variation: (N,) V, from `surface_variation`.
        alpha, gamma: weights; the defaults are the released ones for SemanticKITTI.
    """
    return alpha * entropy(probabilities) / np.log(2) / max(probabilities.shape[1], 1) + gamma * variation
