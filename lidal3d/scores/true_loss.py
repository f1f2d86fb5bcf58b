# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""The true loss: an oracle that knows the labels, as an upper reference for every guess at what the model gets wrong."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_LEAST = 1e-7


def true_loss(probabilities: npt.NDArray[np.floating], labels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """−ln p_y of each point, nats, at most 16.1; NaN where the label y (N,) is 255; the largest is asked first.

    A label that `probabilities` (N, C) has no column for is taken as 255.
    """
    known = labels < probabilities.shape[1]
    result = np.full(len(labels), np.nan)
    result[known] = -np.log(np.maximum(probabilities[known, labels[known]].astype(np.float64), _LEAST))
    return result
