# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""TOD: people are asked about the units on which the model changed its mind most since the round before.

Huang et al., "Semi-Supervised Active Learning with Temporal Output Discrepancy", ICCV 2021: ½‖p − p'‖² bounds the loss
from below where p' is of the model that this one was trained on from. Between models trained apart it tells of their
seeds: an experiment needs `start: warm`. In the first round there is no earlier model; `tod_first` is the rule for it.
"""

from __future__ import annotations

import logging

from lidal3d.errors import UsageError
from lidal3d.select.selection import Selection
from lidal3d.strategies.ranked import scored_candidates
from lidal3d.strategies.spend import Candidates, Float64, buy_in_order, why_by_score
from lidal3d.strategies.strategy import Ask, Strategy
from lidal3d.strategies.sub_pool import best_of_some

PAPER = "Huang et al., ICCV 2021"
COLUMN, FIRST_COLUMN = "temporal_discrepancy", "distance_to_uniform"
UNCHANGED = "no prediction differs from the earlier model's"
_LOG = logging.getLogger(__name__)


def tod(ask: Ask) -> Selection:
    """The largest temporal discrepancy."""
    some, score = scored_candidates(ask, COLUMN)
    return _best(ask, some, score, COLUMN) if score.any() else _unchanged(ask, some)


def tod_first(ask: Ask) -> Selection:
    """The predictions nearest to uniform: TOD without an earlier model."""
    some, score = scored_candidates(ask, FIRST_COLUMN, smallest_first=True)
    return _best(ask, some, score, FIRST_COLUMN)


def _best(ask: Ask, some: Candidates, score: Float64, column: str) -> Selection:
    order = best_of_some(ask, score, ask.config.tod.sub_pool)
    return buy_in_order(ask, some, order, why_by_score(ask, column, score))


def _unchanged(ask: Ask, some: Candidates) -> Selection:
    """Where the two models are one, their discrepancy would choose by the order of the rows."""
    if ask.config.tod.unchanged == "refuse":
        raise UsageError(
            f"strategy '{ask.name}': {UNCHANGED}; give --earlier-model the model of the round before, not this round's"
        )
    _LOG.warning("strategy '%s': %s; units are drawn at random", ask.name, UNCHANGED)
    return buy_in_order(ask, some, ask.rng.permutation(len(some)), lambda row, scores: f"drawn at random: {UNCHANGED}")


TOD = Strategy(
    "tod", PAPER, "what the model says otherwise than the model of the round before", tod, frozenset({"earlier"}),
    (COLUMN,),
)  # fmt: skip
TOD_FIRST = Strategy(
    "tod_first", PAPER + ", its first round", "the predictions nearest to uniform", tod_first,
    columns=(FIRST_COLUMN,),
)  # fmt: skip
