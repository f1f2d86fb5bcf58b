# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Inference with the built-in networks."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lidal3d.settings.base import Settings


class PredictConfig(Settings):
    """Inference with the built-in model."""

    views: int = Field(8, ge=1, description="random augmentations whose softmax is averaged")
    dtype: Literal["float16", "float32"] = Field("float16", description="type of the saved probabilities")
    features: bool = Field(False, description="also save the network's point features")
    members: bool = Field(False, description="also save each view's probabilities")
    seed: int = Field(0, description="seed of the augmentations")
