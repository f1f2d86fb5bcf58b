# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""How a sweep or picture is cut into units."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lidal3d.settings.base import Settings


class UnitsConfig(Settings):
    """How a sweep is cut into regions."""

    kind: Literal["supervoxels", "kmeans", "grid", "frame", "track", "superpixels", "image"] = Field(
        "supervoxels",
        description="supervoxels follow surfaces; kmeans is LiDAL's 20 balanced regions a sweep; track: things over time; "
        "of pictures (DRIVE@CAMERA) superpixels or image",
    )
    regions: int = Field(20, ge=1, description="kmeans: regions a sweep")
    size_tolerance: float = Field(0.05, gt=0, lt=1, description="kmeans: how far a region's size may be off N/regions")
    voxel_m: float = Field(0.2, gt=0, description="supervoxels: edge of a voxel at the sensor; it grows with range")
    widest_m: float = Field(12.0, gt=0, description="supervoxels: widest extent at the sensor; it grows with range")
    merge_cost: float = Field(1.0, ge=0, description="supervoxels: how unlike two parts may be; more: fewer, larger")
    min_points: int = Field(20, ge=1, description="supervoxels: one with fewer points joins the nearest larger one")
    cell_m: float = Field(4.0, gt=0, description="grid: edge of a cell")
    superpixels: int = Field(150, ge=1, description="superpixels: about so many in a picture")
    compactness: float = Field(
        0.15, gt=0, description="superpixels: how much a grid step of distance counts, in colour from 0 to 1"
    )
