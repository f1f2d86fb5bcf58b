# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""D2ADA: what one domain has and another lacks."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lidal3d.settings.base import Settings


class D2adaConfig(Settings):
    """Strategies d2ada, d2ada_density and d2ada_frames: what the target has and the source lacks, then uncertainty."""

    rule: Literal["default", "paper"] = Field(
        "default",
        description="default: held-out densities of few dimensions; paper: the estimator of the released code",
    )
    alpha: float = Field(1.0, ge=0, description="share of the first round's budget that goes by density; at most 1")
    beta: float = Field(1.0, ge=0, description="the share is divided by 2^beta every further round")
    dimensions: int = Field(32, ge=1, le=64, description="default: principal components of the features")
    components: int = Field(8, ge=1, le=64, description="default: Gaussians a class at most; BIC chooses how many")
    folds: int = Field(5, ge=2, description="default: scenes are dealt into so many folds, each held out in turn")
    place_m: float = Field(
        1.0, ge=0, description="default: of the units of a class in a cell of this edge one counts; 0: all do"
    )
    range_strata: bool = Field(
        False, description="default: standardise features apart for up to 10, 20, 40 m and beyond"
    )
