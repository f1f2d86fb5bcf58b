# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Settings of one method."""

from __future__ import annotations

from lidal3d.settings.base import Settings


class LearningLossConfig(Settings):
    """Strategy learning_loss: a head that predicts how wrong the model is."""
