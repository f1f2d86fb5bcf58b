# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Class-agnostic tracks: segments of LiDAR sweeps, linked over time."""
