# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Settings of PT4AL: how the pool is cut into strata of difficulty, and what is asked in each."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lidal3d.settings.base import Settings


class Pt4alConfig(Settings):
    """Strategies pt4al and pt4al_start: strata of difficulty by a pretext task, then confidence."""

    rule: Literal["default", "paper"] = Field(
        "default",
        description="default: least top-1 probability; paper: that of logits of length one, as the released code has it",
    )
    strata: int | None = Field(
        None,
        ge=1,
        description="parts that the pool is cut into; null: the rounds of the experiment, or 10 as the paper",
    )
    order: Literal["desc", "asc", "repo_lexicographic"] = Field(
        "desc",
        description="desc: largest pretext loss first (paper); asc: least first; repo_lexicographic: as the released code",
    )
    masks: int = Field(4, ge=4, multiple_of=4, description="pretext loss: the mean over so many fixed masks")
    range_strata: bool = Field(False, description="cut units at up to 10, 20, 40 m and beyond apart: far isn't hard")
    min_gap_s: float = Field(
        1.0,
        ge=0,
        description="of whole frames and images of a scene nearer in time than this one is asked before others",
    )
