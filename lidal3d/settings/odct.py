# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Settings of online deep clustering with track consistency, `lidal3d pretrain --method odct`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lidal3d.settings.base import Settings


class OdctConfig(Settings):
    """ODCT: sightings of things are clustered while the encoder learns their clusters; those of a track are one."""

    by: Literal["vote", "swap", "track"] = Field(
        "vote",
        description="how a track is one: vote: its mean feature decides; swap: two sightings get each other's label; track: one memory",
    )
    clusters: int | None = Field(None, ge=2, description="K; null: a fiftieth of the tracks")
    min_cluster: int = Field(5, ge=1, description="a smaller cluster is dissolved and the largest split; 20 in ODC")
    momentum: float = Field(0.5, gt=0, le=1, description="what a new feature counts in the memory")
    refresh_every: int = Field(10, ge=1, description="steps from one computation of all centroids to the next")
    min_sightings: int = Field(3, ge=1, description="tracks seen less often are left out, and have no vote")
    least_likeness: float = Field(
        0.0, ge=-1, lt=1, description="by=vote: who is less like the track's mean has no vote"
    )
    dimensions: int = Field(128, ge=2, description="outputs of the neck, which are clustered")
    hidden: int = Field(256, ge=2, description="width of the neck's hidden layer")
    crop_px: int = Field(64, ge=16, multiple_of=8, description="pictures: a crop round a thing is scaled to this edge")
    tracks: str | None = Field(None, description="a folder of `lidal3d track` of this drive; null: tracked anew")
