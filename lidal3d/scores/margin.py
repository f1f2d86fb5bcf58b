# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Margin: how far the most likely class is ahead of the second."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit


@njit(cache=True, nogil=True)
def margin(probabilities: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """p_(1) − p_(2), of probabilities (N, C) -> (N,); the *smallest* is asked first (Scheffer et al., IDA 2001).

    LiDAL's released baseline asks for the largest, the most certain ones; that is not repeated here.
    """
    result = np.empty(len(probabilities))
    for i in range(len(probabilities)):
        first = second = 0.0
        for value in probabilities[i]:
            if value > first:
                first, second = value, first
            elif value > second:
                second = value
        result[i] = first - second
    return result
