# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Pseudo-labels."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lidal3d.settings.base import Settings


class PseudoConfig(Settings):
    """Pseudo-labels: regions that every view agrees on."""

    budget: str = Field("1%", coerce_numbers_to_str=True, description="as select.budget; 0 turns pseudo-labels off")
    rule: Literal["default", "paper"] = Field("default", description="as select.rule, for pseudo-labelled regions")
    score: str = Field("divergence", description="score column to rank by, smallest first")
    min_coverage: float = Field(0.5, ge=0, le=1, description="least share of a region's points seen in a neighbour")
    max_divergence: float = Field(0.1, ge=0, description="largest divergence of a pseudo-labelled region")
    max_entropy: float = Field(1.0, ge=0, description="largest inter-frame entropy, nats")
    min_confidence: float = Field(0.5, ge=0, le=1, description="points below it get no pseudo-label")
    max_class_share: float = Field(0.3, gt=0, le=1, description="largest share of the budget for one class")
    weight: float = Field(0.5, gt=0, le=1, description="weight of a pseudo-label in training; a human label has 1")
