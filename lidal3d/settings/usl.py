# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Settings of unsupervised selective labelling."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lidal3d.settings.base import Settings


class UslConfig(Settings):
    """Strategy usl: the densest unit of each of as many clusters as the budget buys, spread out; no label, no model."""

    neighbours: int = Field(0, ge=0, description="K of the density; 0: a fiftieth of the units, 2 to 20")
    exclude_s: float = Field(
        5.0,
        ge=0,
        description="units of the same drive this near in time don't count as neighbours: a red light; of one drive at most a quarter; 0: all count",
    )
    iterations: int = Field(10, ge=1, description="T of the regulariser; 1 is without")
    weight: float = Field(0.5, ge=0, description="w of the regulariser")
    momentum: float = Field(0.9, ge=0, lt=1, description="gamma of the regulariser")
    power: float = Field(
        0.5, gt=0, description="alpha: a pick repels by its squared distance to the power of minus this"
    )
    horizon: float = Field(4.0, gt=0, description="picks at this squared distance or more don't repel; at most 4")
    nearest: int = Field(0, ge=0, description="only so many nearest picks repel a unit; 0: all within the horizon")
    scale: Literal["median", "paper"] = Field(
        "median",
        description="median: utility and repulsion are brought to median 1 before w weighs them; paper: as they are",
    )
    per_cost: bool = Field(False, description="utility for each point, second or whatever the budget counts")
    scene_share: float = Field(1.0, gt=0, le=1, description="at most this share of the budget goes to one scene")
    kmeans_iterations: int = Field(100, ge=1, description="of Lloyd's algorithm, from randomly drawn centres")
