# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""lidal3d: what in a drive log is worth labelling, why, and in the format a labelling tool reads."""

__version__ = "0.1.0"
