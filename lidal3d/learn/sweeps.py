# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Sweeps as a network's input: augmented, voxelised, with their kernel maps built ahead."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lidal3d.learn.augment import AUGMENTATIONS
from lidal3d.learn.batch import Sweep, network_input, voxel_labels
from lidal3d.learn.feed import Back, Fed
from lidal3d.learn.loss_prediction.pooling import FrameUnits, batch_units
from lidal3d.learn.sparse import Level

Matrix = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Sweeps:
    """The Feed of sparse networks; a view is a (3, 3) matrix.

    Attributes:
        voxel_m: edge of a voxel, metres.
        augmentation: one of AUGMENTATIONS.
        max_range_m: points further away are not learnt from.
        context_m: nor are those further than this from a label; 0 for all.
    """

    voxel_m: float
    augmentation: str = "default"
    max_range_m: float = float("inf")
    context_m: float = 0.0
    columns: str = "x y z intensity"

    @property
    def fills(self) -> bool:
        """As `Feed`."""
        return self.context_m > 0

    def item(
        self,
        points: npt.NDArray[np.float32],
        labels: npt.NDArray[np.uint8],
        weights: npt.NDArray[np.float32] | None,
        units: npt.NDArray[np.int32] | None = None,
    ) -> Sweep:
        """As `Feed`."""
        sweep = Sweep(points, labels, weights, units=units).within(self.max_range_m)
        return sweep.around_labels(self.context_m) if self.context_m else sweep

    def draw(self, rng: np.random.Generator) -> Matrix:
        """As `Feed`."""
        return AUGMENTATIONS[self.augmentation].draw(rng)

    def batch(self, items: Sequence[Sweep], views: Sequence[Matrix], classes: int, device: torch.device) -> Fed:
        """As `Feed`."""
        seen = [transformed(torch.from_numpy(s.points).to(device), m) for s, m in zip(items, views, strict=True)]
        data = network_input(seen, self.voxel_m)
        labels = np.concatenate([s.labels for s in items])
        weights = np.concatenate(
            [np.ones(len(s.labels), dtype=np.float32) if s.weights is None else s.weights for s in items]
        )
        targets, voxel_weights = voxel_labels(data.voxels, labels, weights, classes)
        inputs = data.features, Level(data.voxels.keys).prepare()
        found = [FrameUnits(s.units, s.labels, s.weights) for s in items if s.units is not None]
        units = batch_units(found, data.voxels.point_voxel) if found else None
        return Fed(inputs, targets, voxel_weights, units=units)

    def view(self, points: Tensor, view: Matrix) -> tuple[tuple[Tensor, Level], Back]:
        """As `Feed`."""
        data = network_input([transformed(points, view)], self.voxel_m)
        return (data.features, Level(data.voxels.keys)), lambda values: values.index_select(0, data.voxels.point_voxel)

    def nothing_labelled(self, frames: int) -> str:
        """As `Feed`."""
        return (
            f"no labelled point within {self.max_range_m:g} m in {frames} frames; label some first, "
            "or raise train.max_range_m"
        )


def transformed(points: Tensor, matrix: Matrix) -> Tensor:
    """Points (N, 4) with x y z mapped by a (3, 3) matrix; intensity stays."""
    xyz = points[:, :3] @ torch.from_numpy(matrix).to(points.device).t()
    return torch.cat([xyz, points[:, 3:4]], dim=1)
