# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Chance: the baseline that most published scores don't beat once several seeds are run."""

from __future__ import annotations

import numpy as np

from lidal3d.select.quotas import proportional_shares, within_quotas
from lidal3d.select.selection import Selection
from lidal3d.strategies.spend import buy_frames, buy_in_order, candidates
from lidal3d.strategies.strategy import Ask, Strategy

BASELINE = "baseline"
DRAWN = "drawn at random"


def random_units(ask: Ask) -> Selection:
    """Units in random order, without replacement."""
    some = candidates(ask)
    return buy_in_order(ask, some, ask.rng.permutation(len(some)), lambda row, scores: DRAWN)


def random_frames(ask: Ask) -> Selection:
    """Whole frames in random order: all that is unlabelled in them, however small."""
    some = candidates(ask, min_points=1)
    frames = ask.rng.permutation(int(some.frame.max()) + 1)
    return buy_frames(ask, some, frames, lambda row, scores: "its frame was drawn at random")


def random_stratified(ask: Ask) -> Selection:
    """Units in random order, each scene's part of the budget in proportion to what it could take; the rest anywhere."""
    some = candidates(ask)
    scene = ask.pool.table.scene[some.rows]
    order = ask.rng.permutation(len(some))
    shares = proportional_shares(scene, some.costs.unit, some.limit)
    inside = within_quotas(order, some.costs.unit, scene, shares)
    order = np.concatenate([order[inside], order[~inside]])
    return buy_in_order(ask, some, order, lambda row, scores: f"{DRAWN} in its scene")


RANDOM = Strategy("random", BASELINE, "units drawn at random", random_units)
RANDOM_FRAMES = Strategy("random_frames", BASELINE, "whole frames drawn at random", random_frames)
RANDOM_STRATIFIED = Strategy(
    "random_stratified", BASELINE, "units drawn at random, every scene its share", random_stratified,
    currencies=("points", "regions", "boxes", "seconds"),
)  # fmt: skip
