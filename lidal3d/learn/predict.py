# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Class probabilities of every point of a sweep: softmax averaged over random views (LiDAL, section 3.2)."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lidal3d.learn.augment import AUGMENTATIONS
from lidal3d.learn.batch import network_input
from lidal3d.learn.model import Model
from lidal3d.learn.sampler import transformed
from lidal3d.learn.threads import own_threads
from lidal3d.predictions.maps import FrameMaps

Array = npt.NDArray[np.floating]


def predict_points(
    model: Model, points: npt.NDArray[np.float32], views: int, rng: np.random.Generator, features: bool = False
) -> tuple[Array, Array | None]:
    """The probabilities and features of `predict_maps`; arguments and errors as there."""
    maps = predict_maps(model, points, views, rng, features)
    return maps.probabilities, maps.features


def predict_maps(
    model: Model,
    points: npt.NDArray[np.float32],
    views: int,
    rng: np.random.Generator,
    features: bool = False,
    members: bool = False,
) -> FrameMaps:
    """Probabilities (N, C) float32 whose rows sum to 1 and, where asked for, features (N, D) and members (views, N, C).

    Args:
        model: in evaluation mode; its device computes.
        points: (N, 4) float32, x y z in metres in the sensor frame, intensity. Every point gets a row, however far.
        views: how many random augmentations are averaged; a single view is the sweep as it is.
        rng: draws the augmentations.
        features: average the network's last features too.
        members: also keep each view's softmax.

    Raises:
        DataError: a coordinate or an intensity is not finite.
    """
    device = next(model.network.parameters()).device
    augmentation = AUGMENTATIONS[model.augmentation if views > 1 else "none"]
    sweep = torch.from_numpy(np.ascontiguousarray(points, dtype=np.float32)).to(device)
    channels = model.network.architecture
    mean = sweep.new_zeros(len(points), channels.classes)
    mean_features = sweep.new_zeros(len(points), channels.channels[-1]) if features else None
    each: list[Array] = []
    with torch.inference_mode(), own_threads():
        for _ in range(views if len(points) else 0):
            probabilities, last, row = _one_view(model, transformed(sweep, augmentation.draw(rng)))
            softmax = probabilities.index_select(0, row)
            mean += softmax
            if mean_features is not None:
                mean_features += last.index_select(0, row)
            if members:
                each.append(softmax.cpu().numpy())
        mean /= mean.sum(dim=1, keepdim=True)
    averaged = None if mean_features is None else (mean_features / views).cpu().numpy()
    if members and not len(points):
        each = [mean.cpu().numpy()] * views
    return FrameMaps(mean.cpu().numpy(), averaged, each if members else None)


def _one_view(model: Model, view: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    data = network_input([view], model.voxel_m)
    logits, last = model.network(data.features, data.voxels.keys)
    return torch.softmax(logits, dim=1), last, data.voxels.point_voxel


def frame_rng(seed: int, scene: str, frame: str) -> np.random.Generator:
    """The generator of one frame's views: the same whichever other frames are predicted, and in whatever order."""
    digest = hashlib.sha256(f"{scene}\0{frame}".encode()).digest()
    return np.random.default_rng([seed, *np.frombuffer(digest[:16], dtype=np.uint32).tolist()])
