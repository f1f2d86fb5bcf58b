# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Least confidence: one minus the largest probability."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def least_confidence(probabilities: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """1 − max_c p_c, of probabilities (N, C) -> (N,); the largest is asked first (Lewis and Gale, SIGIR 1994)."""
    return 1 - probabilities.max(axis=1, initial=0)
