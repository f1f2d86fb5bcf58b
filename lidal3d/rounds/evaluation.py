# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""The mIoU of a model on the validation scenes; nothing is chosen or tuned by it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from lidal3d.errors import DataError
from lidal3d.learn.evaluate import class_iou, confusion_matrix, mean_iou
from lidal3d.rounds.world import World


def evaluate(folder: Path, world: World, device: str = "cpu") -> dict[str, Any]:
    """mIoU on the validation scenes, each sweep as it is, with the confusion matrix behind it."""
    from lidal3d.learn.model import load_model
    from lidal3d.learn.predict import frame_rng, predict_points

    model = load_model(folder, world.classes.classes)
    model.network.to(device)
    classes = len(world.classes.classes)
    confusion = np.zeros((classes, classes), np.int64)
    for frame in world.validation_frames():
        rng = frame_rng(0, frame.scene.id, frame.name)
        probabilities, _ = predict_points(model, frame.points(), 1, rng)
        labels = frame.labels()
        if labels is None or len(labels) != len(probabilities):
            number = 0 if labels is None else len(labels)
            path = frame.scene.source.labels_path(frame.index)
            raise DataError(f"{path}: {number} labels for {len(probabilities)} points; one a point is needed")
        confusion += confusion_matrix(labels, probabilities.argmax(axis=1), classes)
    iou = class_iou(confusion)
    named = {n: None if np.isnan(v) else float(v) for n, v in zip(world.classes.classes, iou.tolist(), strict=True)}
    return {"miou": mean_iou(confusion), "iou": named, "confusion": confusion.tolist()}
