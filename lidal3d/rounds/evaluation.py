# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""The mIoU of a model: on the validation scenes, by which nothing is chosen, or on other labels that are given."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lidal3d.errors import DataError
from lidal3d.learn.evaluate import class_iou, confusion_matrix, mean_iou
from lidal3d.rounds.world import World
from lidal3d.scene.scene import Frame

Labels = npt.NDArray[np.uint8]


def evaluate(folder: Path, world: World, device: str = "cpu") -> dict[str, Any]:
    """mIoU on the validation scenes, each sweep as it is, with the confusion matrix behind it."""
    confusion = confusion_on(world.validation_frames(), _own_labels, folder, world, device)
    iou = class_iou(confusion)
    named = {n: None if np.isnan(v) else float(v) for n, v in zip(world.classes.classes, iou.tolist(), strict=True)}
    return {"miou": mean_iou(confusion), "iou": named, "confusion": confusion.tolist()}


def confusion_on(
    frames: Iterable[Frame], labels: Callable[[Frame], Labels | None], folder: Path, world: World, device: str = "cpu"
) -> npt.NDArray[np.int64]:
    """(C, C) confusion of the model in a folder on the labelled points of some frames, seen in one view.

    Raises:
        DataError: a frame without one label a point.
    """
    from lidal3d.learn.model import load_model
    from lidal3d.learn.predict import frame_rng, predict_points

    model = load_model(folder, world.classes.classes)
    model.network.to(device)
    classes = len(world.classes.classes)
    confusion = np.zeros((classes, classes), np.int64)
    for frame in frames:
        rng = frame_rng(0, frame.scene.id, frame.name)
        probabilities, _ = predict_points(model, frame.points(), 1, rng)
        truth = labels(frame)
        if truth is None or len(truth) != len(probabilities):
            number = 0 if truth is None else len(truth)
            path = frame.scene.source.labels_path(frame.index)
            raise DataError(f"{path}: {number} labels for {len(probabilities)} points; one a point is needed")
        confusion += confusion_matrix(truth, probabilities.argmax(axis=1), classes)
    return confusion


def _own_labels(frame: Frame) -> Labels | None:
    return frame.labels()
