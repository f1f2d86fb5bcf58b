# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""`lidal3d check`: small rules that tell what is wrong with a drive and its predictions before anything is scored."""

from lidal3d.check.drive import check_drive
from lidal3d.check.report import Finding, Report
from lidal3d.check.rules import RULES, Rule

__all__ = ["RULES", "Finding", "Report", "Rule", "check_drive"]
