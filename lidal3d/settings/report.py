# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""The HTML report."""

from __future__ import annotations

from pydantic import Field

from lidal3d.settings.base import Settings


class ReportConfig(Settings):
    """The HTML report."""

    picks: int = Field(50, ge=0, description="how many picks are drawn")
    crop_m: float = Field(14.0, gt=0, description="edge of a bird's-eye crop; larger regions get larger crops")
    cameras: bool = Field(True, description="draw the camera crops")
