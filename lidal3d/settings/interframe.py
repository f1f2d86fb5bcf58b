# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""LiDAL's inter-frame measure."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lidal3d.settings.base import Settings


class InterframeConfig(Settings):
    """LiDAL's inter-frame divergence and entropy (ECCV 2022, section 3)."""

    half_window: int = Field(12, ge=1, le=24, description="neighbour frames on each side")
    radius_m: float = Field(0.1, gt=0, description="a neighbour frame's nearest point counts up to this distance")
    epsilon: float = Field(1e-5, ge=1e-6, description="added to every probability before the logarithm")
    window: Literal["index", "distance"] = Field(
        "distance", description="index: the nearest frames by number (paper); distance: only frames the car moved for"
    )
    min_step_m: float = Field(0.25, ge=0, description="window=distance: neighbours are at least this far apart")
    min_turn_rad: float = Field(0.01, ge=0, description="window=distance: or turned at least this much")
    min_matches: int = Field(1, ge=1, description="a point with fewer matches is unknown, not certain")
