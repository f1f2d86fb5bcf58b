# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Settings of encoders that learn without labels: what all methods share, and TWIST's and Barlow Twins' own."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lidal3d.settings.base import Settings


class PretrainConfig(Settings):
    """Self-supervised training of an encoder (lidal3d pretrain)."""

    steps: int = Field(400, ge=1, description="optimiser steps")
    batch: int = Field(2, ge=1, description="sweeps or pictures a step; each gives all its regions")
    learning_rate: float = Field(2e-3, gt=0, description="peak of AdamW's schedule")
    weight_decay: float = Field(1e-4, ge=0, description="AdamW's")
    width: float = Field(0.25, gt=0, description="sweeps: factor on the network's channels, 96 of them at the end")
    blocks: int = Field(1, ge=1, description="sweeps: residual blocks a level")
    voxel_m: float = Field(0.2, gt=0, description="sweeps: edge of a voxel")
    max_range_m: float = Field(60.0, gt=0, description="sweeps: points further away are not learnt from")
    channels: int = Field(64, ge=2, description="pictures: features of a cell of 8 × 8 pixels")
    min_points: int = Field(20, ge=1, description="a region needs so many points or pixels in every view")
    views: Literal["augment", "neighbour", "camera"] = Field(
        "augment",
        description="the second view: the same sweep drawn anew, a neighbouring sweep, or the cameras' pictures",
    )
    neighbour_m: float = Field(1.0, gt=0, description="views=neighbour: the car has moved this far between the two")
    neighbour_most: int = Field(10, ge=1, description="views=neighbour: at most so many sweeps lie between")
    match_m: float = Field(0.3, gt=0, description="views=neighbour: a point is of the region of its nearest this near")
    drop: float = Field(0.3, ge=0, lt=1, description="sweeps: up to this share of the points is left out of a view")
    jitter_m: float = Field(0.02, ge=0, description="sweeps: standard deviation of noise on every coordinate")
    intensity_noise: float = Field(0.1, ge=0, description="sweeps: intensities are scaled by up to this share")
    crop: float = Field(0.6, gt=0, le=1, description="pictures: least share of width and height in a view")
    colour: float = Field(0.3, ge=0, lt=1, description="pictures: channels are scaled by up to this share")
    seed: int = Field(0, ge=0, description="seed of everything random")


class TwistConfig(Settings):
    """TWIST: two views of a region fall into the same latent class, sharply, and all classes are used."""

    clusters: int = Field(256, ge=2, description="C, latent classes")
    hidden: int = Field(256, ge=1, description="width of the head's two hidden layers")
    alpha: float = Field(1.0, ge=0, description="weight of sharpness; the paper's 1 for CNNs, 0.4 for ViTs")
    beta: float = Field(1.0, ge=0, description="weight of diversity")


class BarlowConfig(Settings):
    """Barlow Twins: the cross-correlation of two views' embeddings is to be the identity."""

    dimensions: int = Field(256, ge=2, description="D, outputs of the projector")
    hidden: int = Field(256, ge=1, description="width of the projector's two hidden layers")
    off_weight: float = Field(0.0051, ge=0, description="lambda, weight of the off-diagonal entries")
