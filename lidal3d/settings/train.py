# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""The built-in networks and their training."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lidal3d.settings.base import Settings


class TrainConfig(Settings):
    """The built-in networks and their training."""

    architecture: Literal["minkunet", "spvcnn", "unet2d"] = Field(
        "minkunet", description="spvcnn adds a point branch; of pictures it is unet2d"
    )
    backend: Literal["torch", "spconv"] = Field("torch", description="what computes sparse convolutions in training")
    precision: Literal["float32", "bfloat16"] = Field("float32", description="bfloat16: mixed precision, for GPUs")
    width: float = Field(0.25, gt=0, description="factor on the channels, for sweeps 32 32 64 128 256 256 128 96 96")
    blocks: int = Field(1, ge=1, description="residual blocks a level")
    voxel_m: float = Field(0.2, gt=0, description="edge of a voxel")
    max_range_m: float = Field(60.0, gt=0, description="points further away are not used in training")
    steps: int = Field(400, ge=1, description="optimiser steps")
    batch: int = Field(
        1, ge=1, description="sweeps or pictures a step over all processes; with context_m or window_px parts of more"
    )
    context_m: float = Field(
        0.0, ge=0, description="train only on points this near to a label, so that a step holds more labels; 0: all"
    )
    window_px: int = Field(
        128, ge=0, description="of pictures a step sees windows of this edge, each about a label of another; 0: all"
    )
    learning_rate: float = Field(3e-3, gt=0, description="peak of the schedule")
    schedule: Literal["cosine", "constant"] = Field("cosine", description="what follows the linear rise")
    weight_decay: float = Field(0.01, ge=0, description="AdamW's")
    class_balance: float = Field(0.5, ge=0, le=1, description="a class weighs frequency^-this; 0 treats all alike")
    augmentation: Literal["default", "paper"] = Field(
        "default", description="default: rotation, mirror, scale; paper: LiDAL's random affine map"
    )
    checkpoint_every: int = Field(0, ge=0, description="steps between checkpoints to resume from; 0 writes none")
    seed: int = Field(0, description="seed of everything random in training")

    def fills(self, pictures: bool) -> bool:
        """Whether a step is filled with labels of as many frames as it takes."""
        return (self.window_px if pictures else self.context_m) > 0
