# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Class probabilities of every point of a sweep or pixel of a picture: softmax averaged over random views (LiDAL, section 3.2)."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt
import torch

from lidal3d.learn.feeds import model_feed, refuse_other_columns
from lidal3d.learn.model import Model
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
        points: (N, 4) or (N, 5) float32 as `Frame.points()` gives them. Every point gets a row, however far.
        views: how many random augmentations are averaged; a single view is the frame as it is.
        rng: draws the augmentations.
        features: average the network's last features too.
        members: also keep each view's softmax.

    Raises:
        DataError: other columns than the model reads, or a number that is not finite.
    """
    device = next(model.network.parameters()).device
    feed = model_feed(model, views)
    refuse_other_columns(points, feed)
    frame = torch.from_numpy(np.ascontiguousarray(points, dtype=np.float32)).to(device)
    channels = model.network.architecture
    mean = frame.new_zeros(len(points), channels.classes)
    mean_features = frame.new_zeros(len(points), channels.channels[-1]) if features else None
    each: list[Array] = []
    with torch.inference_mode(), own_threads():
        for _ in range(views if len(points) else 0):
            inputs, back = feed.view(frame, feed.draw(rng))
            logits, last = model.network(*inputs)
            softmax = back(torch.softmax(logits, dim=1))
            mean += softmax
            if mean_features is not None:
                mean_features += back(last)
            if members:
                each.append(softmax.cpu().numpy())
        mean /= mean.sum(dim=1, keepdim=True)
    averaged = None if mean_features is None else (mean_features / views).cpu().numpy()
    if members and not len(points):
        each = [mean.cpu().numpy()] * views
    return FrameMaps(mean.cpu().numpy(), averaged, each if members else None)


def frame_rng(seed: int, scene: str, frame: str) -> np.random.Generator:
    """The generator of one frame's views: the same whichever other frames are predicted, and in whatever order."""
    digest = hashlib.sha256(f"{scene}\0{frame}".encode()).digest()
    return np.random.default_rng([seed, *np.frombuffer(digest[:16], dtype=np.uint32).tolist()])
