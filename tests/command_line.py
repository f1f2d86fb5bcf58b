# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""What the tests of the command line share: running it in this process, and a small drive with predictions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from miniature import PERIOD_NS, START_NS, MiniFrame, MiniImage, MiniScene, world_SE3_lidar_at, write_semantickitti

from lidal3d.cli.main import main

CLASSES = ("car", "bicycle", "motorcycle", "truck", "other-vehicle", "person", "bicyclist", "motorcyclist", "road",
           "parking", "sidewalk", "other-ground", "building", "fence", "vegetation", "trunk", "terrain", "pole",
           "traffic-sign")  # fmt: skip
RAW_IDS = (10, 40, 50, 70)  # car, road, building, vegetation
# Cheap regions, and a window shorter than the drive.
FAST = ("--set", "units.kind=grid", "--set", "units.cell_m=6", "--set", "interframe.half_window=3")


@dataclass(frozen=True)
class Ran:
    """How a command ended."""

    code: int
    out: str
    err: str


class CommandLine:
    """`lidal3d …` in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: object) -> Ran:
        """Run it and return how it ended."""
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main([str(argument) for argument in arguments])
        said = self._capsys.readouterr()
        return Ran(0 if left.value.code is None else int(left.value.code), said.out, said.err)

    def fine(self, *arguments: object) -> str:
        """Run it, demand that it worked without a word on stderr, and return what it printed."""
        ran = self(*arguments)
        assert (ran.code, ran.err) == (0, ""), ran
        return ran.out

    def fault(self, *arguments: object, code: int = 1) -> str:
        """Run it, demand that it failed with one line, and return that line."""
        ran = self(*arguments)
        assert ran.code == code, ran
        assert ran.err.startswith("lidal3d: error: ")
        assert ran.err.count("\n") == 1
        assert ran.err.endswith("\n")
        assert "Traceback" not in ran.err + ran.out
        return ran.err


def street(frames: int, points: int = 250, scene: str = "00", seed: int = 0) -> MiniScene:
    """A scene whose sweeps see the same world, a little noisy; every sweep leaves out a tenth of it."""
    rng = np.random.default_rng(seed)
    start = world_SE3_lidar_at(START_NS)
    anchors = rng.uniform([-10, -10, -2], [15, 10, 2], (points, 3)) @ start[:3, :3].T + start[:3, 3]
    raw = rng.choice(RAW_IDS, points)
    drawn = []
    for k in range(frames):
        time_ns = START_NS + k * PERIOD_NS
        pose = world_SE3_lidar_at(time_ns)
        seen = np.flatnonzero(rng.random(points) < 0.9)
        world = anchors[seen] + rng.normal(0, 0.02, (len(seen), 3))
        xyz = (world - pose[:3, 3]) @ pose[:3, :3]
        cloud = np.column_stack([xyz, rng.random(len(seen))]).astype(np.float32)
        image = MiniImage("image_2", time_ns, pose)
        labels, ones = raw[seen].astype(np.uint32), np.ones(len(seen), np.uint32)
        drawn.append(MiniFrame(cloud, labels, ones, time_ns, pose, images=(image,)))
    return MiniScene(scene, tuple(drawn))


def write_drive(root: Path, *scenes: MiniScene) -> Path:
    """A drive in SemanticKITTI layout."""
    return write_semantickitti(root, scenes)


def write_predictions(root: Path, *scenes: MiniScene, seed: int = 0) -> Path:
    """Predictions as anyone's program would write them: without lidal3d."""
    rng = np.random.default_rng(seed)
    for scene in scenes:
        folder = root / "probabilities" / scene.id
        folder.mkdir(parents=True)
        for k, frame in enumerate(scene.frames):
            logits = 2 * rng.normal(size=(len(frame.points), len(CLASSES)))
            exponentials = np.exp(logits)
            softmax = exponentials / exponentials.sum(axis=1, keepdims=True)
            np.save(folder / f"{k:06d}.npy", softmax.astype(np.float32))
    root.mkdir(exist_ok=True)
    header = "classes: [" + ", ".join(CLASSES) + "]\nmodel: toy\nviews: 1\n"
    (root / "predictions.yaml").write_text(header)
    return root


def leftovers(folder: Path) -> list[str]:
    """Names of temporary files and folders anywhere under a folder."""
    return sorted(path.name for path in folder.rglob(".writing-*"))
