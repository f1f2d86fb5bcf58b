# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Settings of one method."""

from __future__ import annotations

from lidal3d.settings.base import Settings


class TodConfig(Settings):
    """Strategy tod: how far predictions moved since an earlier checkpoint."""
