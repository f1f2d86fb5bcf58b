# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Choosing under a budget."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lidal3d.settings.base import Settings


class SelectConfig(Settings):
    """Greedy selection under a budget, with redundancy removal."""

    budget: str = Field(
        "1%",
        coerce_numbers_to_str=True,
        description="1%, 50000:points, 20:regions, 20:boxes, 10:frames or 3600:seconds",
    )
    score: str = Field("lidal", description="score column to rank by; lidal = divergence with unknown points imputed")
    min_distance_m: float | None = Field(
        None,
        ge=0,
        description="of two units closer than this only one is asked; null: 2 for supervoxels and superpixels, 1 for boxes, 0 for tracks, else 5",
    )
    rule: Literal["default", "paper"] = Field(
        "default", description="default re-tests after swaps and fills the budget; paper is LiDAL's released loop"
    )
    earlier_rounds: bool = Field(True, description="also keep the distance to regions chosen in earlier rounds")
    min_points: int = Field(10, ge=1, description="smaller regions are not asked about: a few stray points")
    seed: int = Field(0, ge=0, description="seed of strategies that leave something to chance")
    seconds_per_unit: float = Field(20.0, ge=0, description="labelling time model: seconds to open a unit")
    seconds_per_1000_points: float = Field(10.0, ge=0, description="labelling time model: seconds for 1000 points")

    def distance_m(self, kind: str) -> float:
        """The least distance between regions of a kind: LiDAL's 5 m suits its regions, which are some 6 m wide.

        Supervoxels are a third as wide; at 5 m they would run out before a budget of 1 % is spent. The boxes of one
        parked object lie within 1 m of each other, and two pedestrians may stand little further apart. A
        track is one thing, asked about once: there is nothing to remove.
        """
        if self.min_distance_m is not None:
            return self.min_distance_m
        return {"supervoxels": 2.0, "superpixels": 2.0, "box": 1.0, "track": 0.0}.get(kind, 5.0)
