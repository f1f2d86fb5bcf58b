# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""A detector's boxes, compared between frames."""

from __future__ import annotations

from pydantic import Field

from lidal3d.settings.base import Settings


class BoxesConfig(Settings):
    """How the boxes of neighbouring frames are compared (with score --boxes)."""

    match_m: float = Field(
        2.0, gt=0, description="a neighbour frame's nearest box counts up to this distance of centres"
    )
    view_m: float = Field(50.0, gt=0, description="a place further from the sensor counts as out of its view")
