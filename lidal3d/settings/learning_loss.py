# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Settings of Learning Loss: the loss head that is trained beside the network, and the strategy that asks by it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lidal3d.settings.base import Settings


class LearningLossConfig(Settings):
    """A head that learns to order units by their loss, and the strategy `learning_loss`."""

    weight: float = Field(
        0.0, ge=0, description="of the ranking loss in training (the paper: 1); 0 trains no loss head"
    )
    margin: float = Field(1.0, gt=0, description="by how much a pair of predicted losses has to differ")
    detach_after: float = Field(
        0.6,
        ge=0,
        le=1,
        description="share of the steps after which the ranking loss moves the head alone; 0: from the first",
    )
    hidden: int = Field(128, ge=1, description="width of the head for each tapped level")
    ties: Literal["skip", "released"] = Field(
        "skip", description="pairs of equal loss cost nothing; released: the second one should be larger"
    )
    held_out: float = Field(
        0.1,
        ge=0,
        le=0.5,
        description="share of the labels that only judge the head; 0 trains on all and judges nothing",
    )
    gate: float = Field(
        0.55,
        ge=0,
        lt=1,
        description="a head that orders no more than this share of held-out pairs is no use; 0: no gate",
    )
    below_gate: Literal["auto", "refuse", "random"] = Field(
        "auto", description="then refuse, or draw at random; auto: at random in an experiment, else refuse"
    )
    sub_pool: int = Field(0, ge=0, description="ask of so many units drawn at random first; 0: of all")
    trim: float = Field(
        0.0, ge=0, lt=1, description="share of the units with the largest predicted losses that are asked last: noise"
    )


# The released reproduction, which trains on all labels and has no gate.
