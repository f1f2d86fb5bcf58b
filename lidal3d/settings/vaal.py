# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Settings of VAAL: the auto-encoder, the discriminator, and when they are believed."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lidal3d.settings.base import Settings


class VaalConfig(Settings):
    """Strategies vaal and vaal_encoder: what a discriminator finds least like what is labelled."""

    rule: Literal["default", "paper"] = Field(
        "default",
        description="default: both losses are sums over a unit, and held-out units are asked whether there is anything to "
        "learn; paper: the released code's scale of the losses, with no question asked",
    )
    nuisances: bool = Field(False, description="also tell units apart by their size (log of points) and their range")
    latent: int = Field(32, ge=2, le=512, description="dimensions of the latent space")
    beta: float = Field(1.0, ge=0, description="weight of the divergence from the prior")
    anneal: float = Field(0.3, ge=0, le=1, description="default: share of the steps over which beta rises from 0")
    adversary: float = Field(1.0, ge=0, description="weight of fooling the discriminator")
    steps: int = Field(200, ge=1, description="steps of the discriminator, each after two of the auto-encoder")
    batch: int = Field(128, ge=1, description="labelled units a step, and as many unlabelled ones")
    learning_rate: float = Field(5e-4, gt=0, description="Adam's, for both")
    held_out: float = Field(
        0.25, gt=0, lt=1, description="default: about this share of the labelled units, whole scenes or runs of frames"
    )
    least_active: int = Field(2, ge=0, description="default: fewer latent dimensions in use are refused")
    least_accuracy: float = Field(
        0.55, ge=0.5, le=1, description="default: below it on held-out units the discriminator counts as blind"
    )
    if_blind: Literal["random", "scores"] = Field("random", description="default: what a blind discriminator is worth")
    scene_parts: float = Field(
        2.0,
        ge=0,
        description="default: a scene has at most so many equal parts of the budget, if others can spend it; 0: all",
    )
