# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Labels carried to neighbouring sweeps."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lidal3d.settings.base import Settings


class CarryConfig(Settings):
    """People's labels carried through the poses to the same places in neighbouring sweeps, for training."""

    by: Literal["place", "track"] = Field(
        "place", description="place: what stands still, around it in time; track: things, to all sweeps that show them"
    )
    half_window: int = Field(
        0, ge=0, description="by=place: sweeps on each side that a label is carried to; 0 carries none"
    )
    radius_m: float = Field(0.1, gt=0, description="a point takes the label of the nearest labelled one this near")
    weight: float = Field(1.0, gt=0, le=1, description="weight of a carried label in training; a human label has 1")
