# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""The README's Python examples run, one after the other, in an empty folder."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def test_python_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), flags=re.M | re.S)
    assert len(blocks) >= 2
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "readme"}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)


def test_the_two_commands_stand_there_as_the_checks_run_them() -> None:
    lines = (ROOT / "README.md").read_text().splitlines()
    commands = [
        line for line in lines if re.match(r"(sudo apt-get install|python -m pip install).*-c constraints\.txt", line)
    ]
    assert len(commands) == 2
    assert commands[0].endswith("&& lidal3d demo")
    assert commands[1].endswith("&& pytest")


def test_links_to_files_of_the_project_lead_somewhere() -> None:
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
