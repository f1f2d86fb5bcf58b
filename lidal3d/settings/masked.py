# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Settings of the masked pretext task, `lidal3d pretrain --method masked`."""

from __future__ import annotations

from pydantic import Field

from lidal3d.settings.base import Settings


class MaskedConfig(Settings):
    """Masked reconstruction: a part of a frame is hidden, and to be told from the rest."""

    cell_px: int = Field(16, ge=8, multiple_of=8, description="pictures: edge of a hidden cell, pixels")
    sector_deg: float = Field(6.0, gt=0, le=90, description="sweeps: width of a hidden block, seen from the sensor")
    ring_share: float = Field(0.1, gt=0, description="sweeps: depth of a hidden block as a share of its distance")
    hidden: int = Field(64, ge=1, description="width of the hidden layers that tell what is occupied")
    questions: int = Field(8192, ge=1, description="sweeps: points asked about in a step at most")
