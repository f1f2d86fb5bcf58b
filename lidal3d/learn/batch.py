# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""From sweeps to what the network reads: voxels, their features, and a label and a weight for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from numba import njit
from torch import Tensor

from lidal3d.errors import DataError
from lidal3d.learn.context import near_labels
from lidal3d.learn.voxels import Voxels, unpack, voxelise
from lidal3d.scene.labels import IGNORE

VOXEL_FEATURES = 6


@dataclass(frozen=True)
class Sweep:
    """One sweep for training.

    Attributes:
        points: (N, 4) float32, x y z in metres, intensity.
        labels: (N,) uint8 train ids, 255 where there is none.
        weights: (N,) float32, or None where all labels weigh 1.
        whole: points of the sweep that this was cut from, or None where it is whole itself.
        units: (N,) int32 unit of each point, −1 for none, where a loss of units is learnt; else None.
    """

    points: npt.NDArray[np.float32]
    labels: npt.NDArray[np.uint8]
    weights: npt.NDArray[np.float32] | None = None
    whole: int | None = None
    units: npt.NDArray[np.int32] | None = None

    @property
    def share(self) -> float:
        """How many points this has for each of the whole sweep."""
        return 1.0 if self.whole is None else len(self.points) / max(self.whole, 1)

    @property
    def labelled_share(self) -> float:
        """How many labels this has for each point of the whole sweep."""
        whole = len(self.points) if self.whole is None else self.whole
        return float(np.count_nonzero(self.labels != IGNORE)) / max(whole, 1)

    def within(self, range_m: float) -> Sweep:
        """Only the points nearer than this to the sensor's axis."""
        return self._only(np.hypot(self.points[:, 0], self.points[:, 1]) < range_m)

    def around_labels(self, context_m: float) -> Sweep:
        """Only the points about `context_m` or less, seen from above, from one with a label."""
        cut = self._only(near_labels(self.points[:, :2], self.labels != IGNORE, context_m))
        return replace(cut, whole=len(self.points))

    def _only(self, kept: npt.NDArray[np.bool_]) -> Sweep:
        weights = None if self.weights is None else self.weights[kept]
        units = None if self.units is None else self.units[kept]
        return Sweep(self.points[kept], self.labels[kept], weights, units=units)


@dataclass(frozen=True)
class NetworkInput:
    """Voxels (V) of one or several views, and their features (V, VOXEL_FEATURES)."""

    features: Tensor
    voxels: Voxels


def network_input(views: Sequence[Tensor], voxel_m: float) -> NetworkInput:
    """Voxelise views, each (N_i, 4) float32 points; a voxel's features are means over its points.

    The features are the offset from the voxel's centre (3, in voxels), height and distance from the sensor (metres),
    and intensity: no bearing, since a sweep means the same when the car turns.

    Raises:
        DataError: a coordinate or an intensity is not finite.
    """
    points = torch.cat(list(views)) if len(views) > 1 else views[0]
    owner: Tensor | int = 0
    if len(views) > 1:
        sizes = torch.tensor([len(v) for v in views], device=points.device)
        owner = torch.repeat_interleave(torch.arange(len(views), device=points.device), sizes)
    voxels = voxelise(points[:, :3], voxel_m, owner)
    means = voxels.mean(torch.cat([points, torch.linalg.vector_norm(points[:, :2], dim=1, keepdim=True)], dim=1))
    if not bool(torch.isfinite(means).all()):
        bad = int((~torch.isfinite(points[:, 3])).sum())
        raise DataError(f"{bad} of {len(points)} intensities are not finite; run `lidal3d check` on the drive")
    offset = means[:, :3] / voxel_m - unpack(voxels.keys)[0] - 0.5
    return NetworkInput(torch.cat([offset, means[:, 2:3], means[:, 4:], means[:, 3:4]], dim=1), voxels)


def voxel_labels(
    voxels: Voxels, labels: npt.NDArray[np.uint8], weights: npt.NDArray[np.float32] | None, classes: int
) -> tuple[Tensor, Tensor]:
    """The heaviest label of each voxel (V,) int64, 255 where no point has one, and its mean weight (V,) float32.

    Args:
        voxels: of N points.
        labels: (N,) train ids below `classes`, or 255.
        weights: (N,) or None for 1 everywhere; a label of weight 0 counts as none.
        classes: C.
    """
    weights = np.ones(len(labels), dtype=np.float32) if weights is None else weights
    order, starts = voxels.by_voxel.cpu().numpy(), voxels.starts.cpu().numpy()
    target, weight = heaviest_labels(order, starts, labels, weights, classes)
    device = voxels.keys.device
    return torch.from_numpy(target).to(device), torch.from_numpy(weight).to(device)


@njit(cache=True, nogil=True)
def heaviest_labels(
    order: npt.NDArray[np.int64],
    starts: npt.NDArray[np.int64],
    labels: npt.NDArray[np.uint8],
    weights: npt.NDArray[np.float32],
    classes: int,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """The label with the largest sum of weights in each run of `order`, the lowest among equals, and its mean weight.

    Args:
        order: (N,) points, those of a voxel in a run.
        starts: (V,) where the runs begin.
        labels: (N,) train ids below `classes`, or 255.
        weights: (N,); a label of weight 0 counts as none.
        classes: C.
    """
    target = np.full(len(starts), IGNORE, dtype=np.int64)
    weight = np.zeros(len(starts), dtype=np.float32)
    votes = np.zeros(classes)
    voters = np.zeros(classes)
    for voxel in range(len(starts)):
        end = starts[voxel + 1] if voxel + 1 < len(starts) else len(order)
        for place in range(starts[voxel], end):
            point = order[place]
            label = labels[point]
            if label != IGNORE and weights[point] > 0:
                votes[label] += weights[point]
                voters[label] += 1
        best = votes.argmax()
        if voters[best] > 0:
            target[voxel] = best
            weight[voxel] = votes[best] / voters[best]
            votes[:] = 0
            voters[:] = 0
    return target, weight
