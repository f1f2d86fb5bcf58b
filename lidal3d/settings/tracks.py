# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Segments and tracks."""

from __future__ import annotations

from pydantic import Field

from lidal3d.settings.base import Settings


class TracksConfig(Settings):
    """Segments of sweeps, and their tracks over time."""

    ground_height_m: float = Field(0.2, gt=0, description="points up to this far above the ground belong to it")
    ground_slope: float = Field(0.12, ge=0, description="rise of the ground over distance that is believed")
    ground_step_m: float = Field(0.15, gt=0, description="step of the ground that is believed anywhere: a curb")
    voxel_m: float = Field(0.16, gt=0, description="points in touching voxels are one segment; they grow with range")
    min_points: int = Field(10, ge=1, description="smaller segments are left out")
    widest_m: float = Field(16.0, gt=0, description="wider segments (walls, hedges) are cut into tiles of the ground")
    tile_m: float = Field(8.0, gt=0, description="edge of these tiles")
    gate_m: float = Field(0.6, gt=0, description="a segment this near to where a track should be can be its next")
    gate_mps: float = Field(4.0, ge=0, description="and so much farther for each second since it was seen last")
    new_gate_mps: float = Field(16.0, ge=0, description="the same for a track seen once, whose speed is unknown")
    max_missed: int = Field(3, ge=0, description="sweeps that a track may be hidden for")
    min_sweeps: int = Field(3, ge=1, description="shorter tracks are left out")
