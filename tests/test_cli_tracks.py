# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Tracks on the command line: track, score, select, export, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from command_line import CLASSES, CommandLine
from miniature import MiniFrame, MiniScene, write_semantickitti
from test_tracks import Thing, street

from lidal3d.predictions.store import PredictionStore
from lidal3d.select.manifest import read_manifest

FAST = ("--set", "units.kind=grid", "--set", "units.cell_m=4", "--set", "interframe.half_window=2")


@pytest.fixture
def lidal3d(capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(capsys)


@pytest.fixture(scope="module")
def drive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two things in six sweeps, one of them moving and predicted as something else in half of them."""
    root = tmp_path_factory.mktemp("tracks")
    scene, truth = street([Thing(10, 4), Thing(-15, -3, speed=(12, 0))], sweeps=6)
    frames = [
        MiniFrame(frame.points(), None, None, 10**18 + 10**8 * frame.index, frame.world_SE3_lidar) for frame in scene
    ]
    write_semantickitti(root, [MiniScene("00", tuple(frames))])
    store = PredictionStore(root / "predictions", CLASSES, "made up", 1)
    for index, owner in enumerate(truth):
        seen = np.select([owner == 0, owner == 1], [0, index % 2], 8)
        rows = np.full((len(owner), len(CLASSES)), 0.01, np.float32)
        rows[np.arange(len(owner)), seen] = 0.82
        store.write("00", f"{index:06d}", rows)
    store.write_header()
    return root


def test_a_round_on_tracks(lidal3d: CommandLine, drive: Path, tmp_path: Path) -> None:
    scores, queue = tmp_path / "scores", tmp_path / "queue"
    said = lidal3d.fine("score", drive, "-p", drive / "predictions", "--set", "units.kind=track", "--out", scores)
    assert "2 tracks" in said
    assert "1 are given different classes" in said
    budget = ("--budget", "1:regions", "--out", queue)
    lidal3d.fine("select", scores, "--strategy", "track_disagreement", *budget)
    (pick,) = read_manifest(queue).selection.picks
    assert pick.scores["track_disagreement"] == 0.5
    assert pick.scores["speed_mps"] == pytest.approx(12, abs=1)
    lidal3d.fine("export", queue, "--format", "point_labeler", "--out", tmp_path / "to_label")
    again = ("--earlier", queue, "--budget", "1:regions", "--out", tmp_path / "next")
    lidal3d.fine("select", scores, "--strategy", "track_disagreement", *again)
    (second,) = read_manifest(tmp_path / "next").selection.picks
    assert second.key.unit != pick.key.unit
    assert "needs the score column 'divergence'" in lidal3d.fault("select", scores, "--out", tmp_path / "a", code=2)


def test_regions_of_one_track(lidal3d: CommandLine, drive: Path, tmp_path: Path) -> None:
    scores = tmp_path / "scores"
    lidal3d.fine("score", drive, "-p", drive / "predictions", *FAST, "--out", scores)
    choose = ("select", scores, "--strategy", "lidal_by_track", "--budget", "9:regions", "--out", tmp_path / "queue")
    assert "lidal3d track --scores" in lidal3d.fault(*choose, code=2)
    assert "2 tracks in 6 sweeps" in lidal3d.fine("track", drive, "--scores", scores, "--out", tmp_path / "tracks")
    lidal3d.fine(*choose)
    tracks = [pick.scores["track"] for pick in read_manifest(tmp_path / "queue").selection.picks]
    assert sorted(track for track in tracks if track >= 0) == [0, 1]
    other = ("track", drive, "--set", "tracks.gate_m=2", "--out", tmp_path / "tracks")
    assert "tracks.gate_m = 0.6, 2.0 was asked for" in lidal3d.fault(*other)
