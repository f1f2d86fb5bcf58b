# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Entropy of one prediction. (The table's column `entropy` is LiDAL's: of the consensus of neighbouring frames.)"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit


@njit(cache=True, nogil=True)
def entropy(probabilities: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """H(p) = −Σ_c p_c ln p_c, nats, with 0 ln 0 = 0, of probabilities (N, C) -> (N,); the largest is asked first."""
    result = np.zeros(len(probabilities))
    for i in range(len(probabilities)):
        for value in probabilities[i]:
            if value > 0:
                result[i] -= value * np.log(value)
    return result
