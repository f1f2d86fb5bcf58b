# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Ways of cutting a sweep into units."""

from lidal3d.units.base import Partition
from lidal3d.units.make import make_partition

__all__ = ["Partition", "make_partition"]
