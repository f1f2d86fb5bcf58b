# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""`lidal3d pretrain` as people call it."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import CommandLine, leftovers

pytest.importorskip("torch")

SMALL = ("--set", "pretrain.width=0.1", "--set", "pretrain.voxel_m=0.8", "--set", "units.kind=grid",
         "--set", "twist.clusters=8", "--set", "pretrain.channels=8", "--set", "units.superpixels=20",
         "--set", "pretrain.min_points=5")  # fmt: skip


@pytest.fixture
def lidal3d(capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(capsys)


@pytest.fixture(scope="module")
def drive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from lidal3d.sim import SimConfig, write_drive

    config = SimConfig(frames=2, columns=200, beams=24, camera_width=160, camera_height=64, labelled=0)
    return write_drive(config, tmp_path_factory.mktemp("drive"), "semantickitti", "00")


def test_sweeps_and_pictures_get_an_encoder_each(lidal3d: CommandLine, drive: Path, tmp_path: Path) -> None:
    for address, kind in ((drive, "sparse"), (f"{drive}@image_2", "image")):
        said = lidal3d.fine("pretrain", address, "--method", "twist", "--steps", 2, "--out", tmp_path / kind, *SMALL)
        assert f"encoder.safetensors: {kind} encoder by twist" in said
        assert "2 frames, no labels, 2 steps, loss" in said
        assert (tmp_path / kind / "config.yaml").is_file()
        assert not leftovers(tmp_path)


def test_the_same_command_writes_the_same_bytes(lidal3d: CommandLine, drive: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        lidal3d.fine(
            "pretrain", drive, "-m", "barlow", "--views", "neighbour", "--steps", 2, "-o", tmp_path / name, *SMALL
        )
    first, second = ((tmp_path / name / "encoder.safetensors").read_bytes() for name in ("one", "two"))
    assert first == second


def test_what_is_wrong_is_one_line(lidal3d: CommandLine, drive: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    said = lidal3d.fault("pretrain", drive, "--method", "twits", "--out", out, code=2)
    assert "no self-supervised method 'twits' (did you mean 'twist'?" in said
    said = lidal3d.fault("pretrain", drive, "--method", "twist", "--views", "both", "--out", out, code=2)
    assert "pretrain.views" in said
    said = lidal3d.fault("pretrain", drive, "--method", "twist", "--scene", "07", "--out", out, code=2)
    assert "no scene '07'" in said
    said = lidal3d.fault("pretrain", drive, "--method", "twist", "--set", "pretrain.min_points=100000", "--out", out)
    assert "no two views of 2 frames share two regions of 100000 points" in said
    assert not out.exists()
