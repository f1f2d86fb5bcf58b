# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""What a check found: findings, and the report that holds them."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from lidal3d.check.rules import ERROR, RULES


@dataclass(frozen=True)
class Finding:
    """One broken rule at one place.

    Attributes:
        rule: the rule's id, a key of RULES.
        severity: "error" or "warning".
        scene, frame: their names, "" where the finding concerns no single one.
        file: the file or folder at fault.
        message: what is wrong, with both numbers, without the file's name.
    """

    rule: str
    severity: str
    scene: str
    frame: str
    file: str
    message: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.file}: {self.message}"


@dataclass(frozen=True)
class Report:
    """All findings of one check.

    Attributes:
        path: the drive that was checked.
        dataset: its layout, "" where none was recognised.
        scenes, frames: how many were looked at.
        findings: in the order of scene and frame.
    """

    path: str
    dataset: str
    scenes: int
    frames: int
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether there is no error; warnings do not count."""
        return not any(finding.severity == ERROR for finding in self.findings)

    @property
    def counts(self) -> dict[str, int]:
        """Rule id -> number of findings, most frequent first."""
        return dict(Counter(finding.rule for finding in self.findings).most_common())

    def to_json(self) -> str:
        """The report as indented JSON, with the description and fix of every rule that was broken."""
        broken = {rule: {"description": RULES[rule].description, "fix": RULES[rule].fix} for rule in self.counts}
        content: dict[str, Any] = asdict(self) | {"ok": self.ok, "counts": self.counts, "rules": broken}
        return json.dumps(content, indent=2, ensure_ascii=False) + "\n"
