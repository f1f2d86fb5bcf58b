# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Learning Loss: people are asked about the units whose loss a head of the network predicts to be the largest.

Yoo and Kweon, "Learning Loss for Active Learning", CVPR 2019. The head is trained with the network to order units by
their loss (`learning_loss.weight`); it is asked of all units, or of a random part of them (`sub_pool`). A head that does
not order units it has never seen says nothing of the pool either: the gate, which the paper has not, looks at that first.
"""

from __future__ import annotations

import logging
from typing import Any

from lidal3d.config import Config
from lidal3d.errors import UsageError
from lidal3d.select.selection import Selection
from lidal3d.settings.learning_loss import LearningLossConfig
from lidal3d.strategies.ranked import scored_candidates
from lidal3d.strategies.spend import buy_in_order, candidates, why_by_score
from lidal3d.strategies.strategy import HOW_TO_GET, Ask, Strategy
from lidal3d.strategies.sub_pool import best_of_some

COLUMN = "predicted_loss"
VERDICT = "loss_head"  # in the metadata of a table: what held-out units say of the head
_LOG = logging.getLogger(__name__)


def learning_loss(ask: Ask) -> Selection:
    """The largest predicted losses, as far as the head is worth anything."""
    settings = ask.config.learning_loss
    fault = fault_of(ask.pool.table.metadata.get(VERDICT), settings)
    if fault and settings.below_gate != "random":
        raise UsageError(
            f"strategy '{ask.name}': {fault}; train on more labels, take another strategy, or draw at random with "
            "--set learning_loss.below_gate=random"
        )
    if fault:
        _LOG.warning("strategy '%s': %s; units are drawn at random", ask.name, fault)
        some = candidates(ask)
        return buy_in_order(ask, some, ask.rng.permutation(len(some)), lambda row, scores: f"drawn at random: {fault}")
    some, score = scored_candidates(ask, COLUMN)
    order = best_of_some(ask, score, settings.sub_pool, settings.trim)
    return buy_in_order(ask, some, order, why_by_score(ask, COLUMN, score))


def fault_of(verdict: dict[str, Any] | None, settings: LearningLossConfig) -> str:
    """Why a head is not to be trusted, in half a sentence; empty where it is, or where nothing is known of it.

    Args:
        verdict: `Quality` as plain values, {} where the model has no head.
        settings: the gate.
    """
    if verdict is None or not settings.gate:
        return ""
    if not verdict:
        return f"the model has no loss head: {HOW_TO_GET['loss_head']}"
    accuracy = verdict["accuracy"]
    if accuracy is None:
        return f"how well the loss head orders units is not known: {verdict['units']} were held out, 5 that differ are needed"
    if accuracy <= settings.gate:
        return (
            f"the loss head orders {100 * accuracy:.1f} % of the pairs of {verdict['units']} held-out units, more than "
            f"{100 * settings.gate:g} % are needed (learning_loss.gate)"
        )
    return ""


def in_experiment(config: Config) -> Config:
    """The settings with which an experiment goes on where a person would be told."""
    settings = config.learning_loss
    if settings.below_gate != "auto":
        return config
    return config.model_copy(update={"learning_loss": settings.model_copy(update={"below_gate": "random"})})


LEARNING_LOSS = Strategy(
    "learning_loss", "Yoo and Kweon, CVPR 2019", "the largest loss that a head of the network predicts", learning_loss,
    frozenset({"loss_head"}), (COLUMN,),
)  # fmt: skip
