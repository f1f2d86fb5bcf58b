# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""DALBT: a model trained jointly on labels and with Barlow Twins, then asked where it is unsure.

Mandivarapu, Camp and Estrada, "Deep Active Learning Using Barlow Twins", 2022. The joint training is the paper's
(`joint.weight`, lidal3d.learn.joint); what is asked of the model is configurable here, since the paper's own rule could
not be verified.
"""

from __future__ import annotations

from lidal3d.select.selection import Selection
from lidal3d.strategies.ranked import BALD, ENTROPY, LEAST_CONFIDENCE, MARGIN
from lidal3d.strategies.strategy import Ask, Strategy

# What joint.acquisition names.
ACQUISITIONS = {"entropy": ENTROPY, "margin": MARGIN, "least_confidence": LEAST_CONFIDENCE}


def acquired(ask: Ask) -> Selection:
    """The units that the acquisition of `joint.acquisition` puts first."""
    return ACQUISITIONS[ask.config.joint.acquisition].rule(ask)


DALBT = Strategy(
    "dalbt", "after Mandivarapu et al., 2022", "the most uncertain units of a model trained with Barlow Twins beside its labels",
    acquired, columns=tuple(column for strategy in ACQUISITIONS.values() for column in strategy.columns),
)  # fmt: skip
DALBT_TWINS = Strategy(
    "dalbt_twins", "after Mandivarapu et al., 2022", "as dalbt the units whose augmented views the model sees differently",
    BALD.rule, BALD.needs, BALD.columns,
)  # fmt: skip
JOINT_STRATEGIES = (DALBT, DALBT_TWINS)
