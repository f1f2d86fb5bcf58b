# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Drives in memory, for tests that need points and poses but no file format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lidal3d.predictions import PredictionStore
from lidal3d.scene.pose import inverse, transform
from lidal3d.scene.scene import Scene


@dataclass(frozen=True)
class PlainSource:
    """Sweeps as arrays."""

    sweeps: tuple[np.ndarray, ...]

    def points_path(self, index: int) -> Path:
        return Path(f"memory/{index:06d}.bin")

    def labels_path(self, index: int) -> Path | None:
        return None

    def read_points(self, index: int) -> np.ndarray:
        return self.sweeps[index]

    def read_labels(self, index: int) -> None:
        return None

    def read_instances(self, index: int) -> None:
        return None

    def images(self, index: int) -> tuple:
        return ()


def drive_of(
    rng: np.random.Generator,
    frames: int,
    points: int | Sequence[int],
    moving: bool = True,
    same_points: bool = False,
    scene_id: str = "00",
) -> Scene:
    """A drive along x through points that lie in a strip; consecutive sweeps share about half of them."""
    poses = np.tile(np.eye(4), (frames, 1, 1))
    if moving:
        poses[:, 0, 3] = np.arange(frames) * 0.5 + 100.0
        poses[:, 1, 3] = 50.0
    counts = [points] * frames if isinstance(points, int) else list(points)
    anchors = rng.uniform([-1, -2, -1.5], [1, 2, 1.5], (max([1, *counts]), 3))
    sweeps = []
    for pose, count in zip(poses, counts, strict=True):
        noise = 0 if same_points else rng.normal(0, 0.04, (count, 3))
        world = anchors[:count] + noise + poses[0, :3, 3]
        xyz = transform(inverse(pose), world)
        sweeps.append(np.column_stack([xyz, rng.uniform(0, 1, count)]).astype(np.float32))
    return Scene(
        id=scene_id,
        dataset="memory",
        root=Path("memory"),
        frame_names=tuple(f"{index:06d}" for index in range(frames)),
        timestamps_ns=np.arange(frames, dtype=np.int64) * 100_000_000,
        world_SE3_lidar=poses,
        is_key_frame=np.ones(frames, bool),
        label_map=None,
        source=PlainSource(tuple(sweeps)),
    )


def write_predictions(
    folder: Path,
    scene: Scene,
    classes: int,
    rng: np.random.Generator,
    dtype: type = np.float32,
    maps: Sequence[np.ndarray] | None = None,
) -> PredictionStore:
    """Random (or given) probabilities for every frame of a scene."""
    store = PredictionStore(folder, tuple(f"class-{c}" for c in range(classes)), "random", 1)
    for index, frame in enumerate(scene):
        count = len(frame.points())
        array = maps[index] if maps is not None else rng.dirichlet(np.full(classes, 0.5), count).reshape(count, classes)
        store.write(scene.id, frame.name, array.astype(dtype))
    store.write_header()
    return store
