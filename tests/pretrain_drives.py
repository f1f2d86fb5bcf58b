# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Sweeps and pictures in memory for the tests of self-supervised encoders: a few things, each unlike the others."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lidal3d.config import Config
from lidal3d.scene.pose import inverse, transform
from lidal3d.scene.scene import Scene

TINY = Config().updated(
    {
        "units": {"kind": "grid", "cell_m": 4.0, "superpixels": 6},
        "pretrain": {"steps": 3, "width": 0.1, "voxel_m": 0.5, "channels": 8, "min_points": 8, "match_m": 0.2},
        "twist": {"clusters": 6, "hidden": 8},
        "barlow": {"dimensions": 6, "hidden": 8},
    }
)


@dataclass(frozen=True)
class ElementSource:
    """Frames as arrays; whoever asks for a label fails."""

    frames: tuple[np.ndarray, ...]

    def points_path(self, index: int) -> Path:
        return Path(f"memory/{index:06d}.bin")

    def labels_path(self, index: int) -> Path | None:
        return Path(f"memory/{index:06d}.label")

    def read_points(self, index: int) -> np.ndarray:
        return self.frames[index]

    def read_labels(self, index: int) -> np.ndarray:
        raise AssertionError("a label was read")

    def read_instances(self, index: int) -> np.ndarray:
        raise AssertionError("an instance was read")

    def images(self, index: int) -> tuple:
        return ()


def scene_of(frames: tuple[np.ndarray, ...], poses: np.ndarray, sensor: str = "lidar", name: str = "00") -> Scene:
    """A scene of given points or pixels."""
    count = len(frames)
    return Scene(name, "memory", Path("memory"), tuple(f"{k:06d}" for k in range(count)),
                 np.arange(count, dtype=np.int64) * 100_000_000, poses, np.ones(count, bool), None,
                 ElementSource(frames), sensor)  # fmt: skip


def street(frames: int = 4, seed: int = 0, step_m: float = 1.5) -> Scene:
    """Ground, walls and poles along a road, seen from a car that drives along x."""
    rng = np.random.default_rng(seed)
    ground = rng.uniform([-12, -8, -1.75, 0.1], [18, 8, -1.7, 0.2], (900, 4))
    wall = rng.uniform([-12, 7, -1.5, 0.6], [18, 7.1, 2, 0.8], (500, 4))
    poles = rng.uniform([0, -6, -1.5, 0.3], [0.2, -5.8, 3, 0.4], (240, 4)) + np.repeat(
        [[-8, 0, 0, 0], [0, 0, 0, 0], [8, 0, 0, 0]], 80, axis=0
    )
    world = np.concatenate([ground, wall, poles])
    poses = np.tile(np.eye(4), (frames, 1, 1))
    poses[:, 0, 3] = step_m * np.arange(frames)
    sweeps = []
    for pose in poses:
        seen = world[rng.random(len(world)) < 0.9]
        xyz = transform(inverse(pose), seen[:, :3] + rng.normal(0, 0.01, (len(seen), 3)))
        sweeps.append(np.column_stack([xyz, seen[:, 3]]).astype(np.float32))
    return scene_of(tuple(sweeps), poses)


def pictures(frames: int = 4, seed: int = 0, height: int = 64, width: int = 96) -> Scene:
    """Pictures whose cells of 32 pixels have a colour and a pattern of stripes each."""
    rng = np.random.default_rng(seed)
    row, column = np.divmod(np.arange(height * width), width)
    made = []
    for _ in range(frames):
        cell = row // 32 * (width // 32) + column // 32
        colours = rng.uniform(0.2, 0.8, (int(cell.max()) + 1, 3))
        stripes = 0.15 * np.sin(column * (1 + cell))
        rgb = np.clip(colours[cell] + stripes[:, None], 0, 1)
        made.append(np.column_stack([column, row, rgb]).astype(np.float32))
    return scene_of(tuple(made), np.tile(np.eye(4), (frames, 1, 1)), "camera")


def with_points(scene: Scene, frame: int, points: np.ndarray) -> Scene:
    """The scene with other points in one frame."""
    frames = list(scene.source.frames)
    frames[frame] = points
    return replace(scene, source=ElementSource(tuple(frames)))
