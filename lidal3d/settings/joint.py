# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Settings of joint training: Barlow Twins beside the labels, and what is asked of the model that it gives."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lidal3d.settings.base import Settings


class JointConfig(Settings):
    """Barlow Twins on all frames beside the labels in training (pretrain.views, barlow), and strategy dalbt."""

    weight: float = Field(
        0.0,
        ge=0,
        description="mu of the self-supervised loss, which is divided by its dimensions; 0 trains on labels alone",
    )
    frames: int = Field(1, ge=1, description="frames a step that it looks at, in two views each, whatever is labelled")
    acquisition: Literal["entropy", "margin", "least_confidence"] = Field(
        "entropy", description="what strategy dalbt asks of the model"
    )
