# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""A random part of the pool first, as score-based strategies sample from near copies (Learning Loss, TOD)."""

from __future__ import annotations

import numpy as np

from lidal3d.strategies.spend import Float64, Int64
from lidal3d.strategies.strategy import Ask


def best_of_some(ask: Ask, score: Float64, size: int, trim: float = 0.0) -> Int64:
    """An order of the candidates: the largest scores of so many drawn at random, then the largest of the rest.

    Args:
        score: (K,) finite; ties go by the order of the candidates.
        size: how many are drawn; 0 for all.
        trim: this share of all candidates, those with the largest scores, comes last whether drawn or not.
    """
    falling = np.argsort(-score, kind="stable")
    last = np.zeros(len(score), bool)
    last[falling[: int(trim * len(score))]] = True
    drawn = np.ones(len(score), bool)
    if 0 < size < len(score):
        drawn[:] = False
        drawn[ask.rng.choice(len(score), size, replace=False)] = True
    group = np.where(last, 2, np.where(drawn, 0, 1))[falling]
    return falling[np.argsort(group, kind="stable")]
