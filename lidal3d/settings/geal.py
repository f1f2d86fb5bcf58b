# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Settings of GEAL: how patterns are made of a unit's tokens when it is scored, and how they are drawn from."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lidal3d.settings.base import Settings

OF_SCORING = ("patterns", "kept", "clusters", "cut")  # the rest is of choosing


class GealConfig(Settings):
    """Strategy geal: units whose patterns of frozen features cover the pool (geal_v1 and freesel have their papers')."""

    patterns: int | None = Field(
        None, ge=1, description="K, patterns of a unit at most; null: 10 of an image, 15 of a sweep, 1 of a region"
    )
    kept: float = Field(0.5, ge=0, le=1, description="tau: the tokens kept hold this share of the attention; 1: all")
    clusters: Literal["euclidean", "cosine"] = Field(
        "euclidean", description="distance by which a unit's tokens are clustered"
    )
    cut: Literal["tiles", "whole", "squash"] = Field(
        "tiles",
        description="pictures for a ViT: in tiles; whole, positions interpolated; or squashed to the size it knows (paper)",
    )
    sampling: Literal["prob", "FDS"] = Field("prob", description="prob: drawn by D²; FDS: always the farthest")
    frame_share: float = Field(
        4.0,
        ge=0,
        description="regions: no frame gives more than so many times its equal part while others fit; 0: no limit",
    )

    def patterns_of(self, kind: str) -> int:
        """K of a kind of unit."""
        return self.patterns or {"image": 10, "frame": 15}.get(kind, 1)
