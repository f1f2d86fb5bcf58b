# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Attention filter: of the patches of an image, the most attended ones, which hold a share of all attention.

Xie et al., "Towards Free Data Selection with General-Purpose Models", NeurIPS 2023 (FreeSel, formerly GEAL).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def attended(
    attention: npt.NDArray[np.floating], share: float, features: npt.NDArray[np.floating] | None = None
) -> npt.NDArray[np.bool_]:
    """Which patches are kept: the least attended ones go as long as they hold no more than 1 − share of the attention.

    Args:
        attention: (P,) at least 0; where its sum is 0, all patches are attended alike.
        share: τ, in [0, 1]: 1 keeps all patches, 0 the most attended one.
        features: (P, E); where no patch is left (as can happen in rounding), the longest of these is kept. None: the
            most attended one.

    Returns:
        (P,) bool; at least one is kept where P > 0. Of equally attended patches the first go first.
    """
    weight = np.asarray(attention, np.float64)
    if not len(weight):
        return np.zeros(0, bool)
    if not weight.sum() > 0:
        weight = np.ones(len(weight))
    rising = np.argsort(weight, kind="stable")
    held = weight[rising].cumsum()
    kept = np.zeros(len(weight), bool)
    # With τ = 1 even patches without any attention stay.
    kept[rising] = (held > (1 - share) * held[-1]) | (share >= 1)
    if not kept.any():
        strength = weight if features is None else (np.asarray(features, np.float64) ** 2).sum(axis=1)
        kept[int(strength.argmax())] = True
    return kept
