# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Boxes of a detector for a miniature drive: still objects, seen with noise, sometimes missed, sometimes invented."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import yaml
from miniature import MiniScene

CLASSES = ("Car", "Pedestrian", "Cyclist")


def write_boxes(
    root: Path, *scenes: MiniScene, seed: int = 0, features: int = 0, objects: int = 6, missed: float = 0.25
) -> Path:
    """As anyone's program would write them: without lidal3d."""
    rng = np.random.default_rng(seed)
    root.mkdir(parents=True, exist_ok=True)
    for scene in scenes:
        (root / "boxes" / scene.id).mkdir(parents=True)
        start = scene.frames[0].world_SE3_lidar
        place = rng.uniform([-8, -8, -1], [14, 8, 1], (objects, 3)) @ start[:3, :3].T + start[:3, 3]
        size = rng.uniform([2, 2, 1.5], [6, 4, 4], (objects, 3))
        liking = rng.dirichlet(np.full(len(CLASSES) + 1, 0.6), objects)
        for k, frame in enumerate(scene.frames):
            seen = np.flatnonzero(rng.random(objects) >= missed)
            pose = frame.world_SE3_lidar
            xyz = (place[seen] + rng.normal(0, 0.2, (len(seen), 3)) - pose[:3, 3]) @ pose[:3, :3]
            boxes = np.column_stack([xyz, size[seen], rng.uniform(-3, 3, len(seen))])
            mixed = 0.7 * liking[seen] + 0.3 * rng.dirichlet(np.ones(len(CLASSES) + 1), len(seen))
            invented = [*rng.uniform([-20, -20, -1], [30, 20, 1]), 4, 2, 1.5, 0]
            boxes, mixed = np.vstack([boxes, invented]), np.vstack([mixed, rng.dirichlet(np.ones(len(CLASSES) + 1))])
            arrays = {"boxes": boxes.astype(np.float32), "scores": mixed[:, :-1].astype(np.float32)}
            if features:
                arrays["features"] = rng.normal(size=(len(boxes), features)).astype(np.float32)
            np.savez(root / "boxes" / scene.id / f"{k:06d}.npz", **arrays)
    header = {"format": 1, "classes": list(CLASSES), "model": "toy detector", "threshold": 0.1}
    (root / "boxes.yaml").write_text(yaml.safe_dump(header))
    return root
