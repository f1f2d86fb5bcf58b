# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Strategies: one short file a paper; STRATEGIES is the whole list. A new one is one file and one line here."""

from __future__ import annotations

import difflib

from lidal3d.errors import UsageError
from lidal3d.strategies.annotator import ANNOTATOR
from lidal3d.strategies.badge import BADGE
from lidal3d.strategies.cdal import CDAL, CDAL_UNITS
from lidal3d.strategies.combine import (
    ENTROPY_CLASS_QUOTA,
    ENTROPY_CORESET,
    ENTROPY_PER_COST,
    ENTROPY_RANGE_QUOTA,
    ENTROPY_SCENE_CAP,
)
from lidal3d.strategies.coreset import CORESET
from lidal3d.strategies.d2ada import D2ADA, D2ADA_APART, D2ADA_DENSITY, D2ADA_FRAMES
from lidal3d.strategies.dalbt import DALBT, DALBT_TWINS
from lidal3d.strategies.density import DENSITY
from lidal3d.strategies.geal import FREESEL, GEAL, GEAL_V1
from lidal3d.strategies.hpal import HPAL
from lidal3d.strategies.kmeans import KMEANS
from lidal3d.strategies.learning_loss import LEARNING_LOSS
from lidal3d.strategies.lidal import LIDAL, LIDAL_DIVERGENCE, LIDAL_ENTROPY, LIDAL_HUMAN, LIDAL_REDUNDANT
from lidal3d.strategies.pool import UnitPool
from lidal3d.strategies.portfolio import LIDAL_VALIDATED, PORTFOLIO
from lidal3d.strategies.pt4al import PT4AL, PT4AL_START
from lidal3d.strategies.random import RANDOM, RANDOM_FRAMES, RANDOM_STRATIFIED
from lidal3d.strategies.ranked import (
    BALD,
    ENTROPY,
    ENTROPY_APART,
    INTERFRAME_ENTROPY,
    LEAST_CONFIDENCE,
    MARGIN,
    MC_ENTROPY,
    SEGMENT_ENTROPY,
    TRUE_LOSS,
    VOTE_ENTROPY,
)
from lidal3d.strategies.redal import REDAL
from lidal3d.strategies.strategy import Strategy
from lidal3d.strategies.tod import TOD, TOD_FIRST
from lidal3d.strategies.tracks import LIDAL_BY_TRACK, TRACK_DISAGREEMENT
from lidal3d.strategies.usl import USL
from lidal3d.strategies.vaal import VAAL, VAAL_ENCODER

__all__ = ["STRATEGIES", "Strategy", "UnitPool", "strategy_named"]

_ALL = (
    RANDOM,
    RANDOM_FRAMES,
    RANDOM_STRATIFIED,
    LEAST_CONFIDENCE,
    MARGIN,
    ENTROPY,
    ENTROPY_APART,
    SEGMENT_ENTROPY,
    MC_ENTROPY,
    BALD,
    VOTE_ENTROPY,
    CORESET,
    KMEANS,
    BADGE,
    CDAL,
    CDAL_UNITS,
    DENSITY,
    REDAL,
    ANNOTATOR,
    HPAL,
    D2ADA,
    D2ADA_APART,
    D2ADA_DENSITY,
    D2ADA_FRAMES,
    VAAL,
    VAAL_ENCODER,
    PT4AL,
    PT4AL_START,
    GEAL,
    FREESEL,
    GEAL_V1,
    LIDAL,
    LIDAL_HUMAN,
    LIDAL_DIVERGENCE,
    LIDAL_ENTROPY,
    LIDAL_REDUNDANT,
    INTERFRAME_ENTROPY,
    LEARNING_LOSS,
    TOD,
    TOD_FIRST,
    TRUE_LOSS,
    ENTROPY_CORESET,
    ENTROPY_CLASS_QUOTA,
    ENTROPY_RANGE_QUOTA,
    ENTROPY_SCENE_CAP,
    ENTROPY_PER_COST,
    PORTFOLIO,
    LIDAL_VALIDATED,
    TRACK_DISAGREEMENT,
    LIDAL_BY_TRACK,
    USL,
    DALBT,
    DALBT_TWINS,
)

STRATEGIES: dict[str, Strategy] = {strategy.name: strategy for strategy in _ALL}


def strategy_named(name: str) -> Strategy:
    """A strategy of the list. Raises UsageError with the nearest name and all there are."""
    if name not in STRATEGIES:
        near = difflib.get_close_matches(name, STRATEGIES, n=1, cutoff=0.4)
        hint = f"did you mean '{near[0]}'? " if near else ""
        raise UsageError(f"no strategy '{name}' ({hint}known: {', '.join(STRATEGIES)})")
    return STRATEGIES[name]
