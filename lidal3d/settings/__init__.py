# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Groups of settings, one file each; `lidal3d.config` puts them together."""
