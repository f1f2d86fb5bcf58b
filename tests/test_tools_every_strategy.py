# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""tools/every_strategy.py says of each strategy what it picks, or what it lacks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from command_line import FAST, CommandLine, street, write_drive, write_predictions

from lidal3d.select.manifest import read_manifest
from lidal3d.strategies import STRATEGIES

ROOT = Path(__file__).resolve().parents[1]


def test_every_strategy_has_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lidal3d, scene = CommandLine(capsys), street(4)
    drive, predictions = write_drive(tmp_path / "drive", scene), write_predictions(tmp_path / "predictions", scene)
    scores, out = tmp_path / "scores", tmp_path / "every"
    asked = [part for name in ("lidal", "entropy") for part in ("--strategy", name)]
    lidal3d.fine("score", drive, "--predictions", predictions, *asked, *FAST, "--out", scores)
    said = subprocess.run(
        [sys.executable, ROOT / "tools" / "every_strategy.py", scores, "--budget", "10%", "--out", out],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    lines = said.stdout.splitlines()[2:]
    assert [line.split("`")[1] for line in lines] == list(STRATEGIES)
    of = {line.split("`")[1]: [cell.strip() for cell in line.split("|")[2:-1]] for line in lines}
    for name in ("lidal", "entropy", "random", "entropy_apart"):
        picks = read_manifest(out / name).selection.picks
        units, frames, spent, reason = of[name]
        assert (int(units), int(frames)) == (len(picks), len({pick.key.frame for pick in picks}))
        assert 0 < int(spent.rstrip("%")) <= 100
        assert reason == picks[0].reason
    assert of["coreset"][3].startswith("refuses: strategy 'coreset' needs features")
    assert not (out / "coreset").exists()
