# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Settings of TOD: the discrepancy between two rounds' models, and training with a mean teacher."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lidal3d.settings.base import Settings


class TodConfig(Settings):
    """Strategy `tod`, and consistency with a mean teacher in training."""

    weight: float = Field(
        0.0, ge=0, description="of the consistency loss in training (the paper: 0.05); 0 trains on labels alone"
    )
    alpha: float = Field(0.999, ge=0, lt=1, description="how slowly the mean teacher follows")
    top_share: float = Field(
        1.0, gt=0, le=1, description="the mean over a unit's most changed points, this share of them; whole frames: 0.1"
    )
    sub_pool: int = Field(0, ge=0, description="ask of so many units drawn at random first; 0: of all")
    unchanged: Literal["random", "refuse"] = Field(
        "random", description="where no unit's prediction changed at all: draw at random, or refuse"
    )
