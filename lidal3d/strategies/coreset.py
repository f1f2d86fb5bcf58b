# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Core-set: the pool's features are to be covered by what is labelled.

Sener and Savarese, "Active Learning for Convolutional Neural Networks: A Core-Set Approach", ICLR 2018: the greedy
k-center solution, started from what is labelled. Units stand in for images, their mean point feature for the image's.
"""

from __future__ import annotations

import numpy as np

from lidal3d.select.cover import Cover
from lidal3d.select.kcenter import farthest_units, nearest_to_mean, one_each
from lidal3d.select.selection import Selection
from lidal3d.strategies.spend import Candidates, Float64, Why, buy_in_order, candidates, labelled_rows
from lidal3d.strategies.strategy import Ask, Strategy


def coreset(ask: Ask) -> Selection:
    """The unit farthest from everything labelled or chosen, again and again."""
    return diverse(ask, candidates(ask, {"features": ask.pool.feature_rows}))


def diverse(ask: Ask, some: Candidates) -> Selection:
    """Core-set among some candidates."""
    every = ask.pool.feature_rows
    features, labelled = every[some.rows], every[labelled_rows(ask, every)]
    cover = Cover([one_each(features)])
    cover.cover([labelled])
    order, reached = farthest_units(cover, some.account(), nearest_to_mean(features))
    return buy_in_order(ask, some, order, why_far(reached))


def why_far(reached: Float64) -> Why:
    """The reason of a unit that was chosen at a squared distance."""

    def why(row: int, scores: dict[str, float]) -> str:
        if np.isinf(reached[row]):
            return "the most ordinary unit of the pool, where nothing is labelled yet"
        return f"unlike everything labelled or chosen before it (feature distance {np.sqrt(reached[row]):.3g})"

    return why


CORESET = Strategy(
    "coreset", "Sener and Savarese, ICLR 2018", "the unit whose feature is farthest from all labelled or chosen ones",
    coreset, frozenset({"features"}),
)  # fmt: skip
