# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Was the queue worth it? Where labels exist: how wrong the model is where it asks, how right its pseudo-labels are."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lidal3d.export.queue import by_frame
from lidal3d.jobs.export import read_queue
from lidal3d.learn.evaluate import confusion_matrix, mean_iou
from lidal3d.predictions import PredictionStore
from lidal3d.scene.labels import IGNORE
from lidal3d.scene.scene import Scene


@dataclass(frozen=True)
class Quality:
    """Figures over the labelled frames of a drive; NaN where nothing could be compared.

    Attributes:
        points: points of those frames, ignored ones too.
        miou: mean intersection over union of the predictions.
        error: share of evaluated points predicted wrong.
        picked_error: the same among the points of the regions to label.
        pseudo_points: pseudo-labelled points that have a true label.
        pseudo_precision: share of them that are right.
        shares: class -> its true share of the points of the regions to label, and of all.
    """

    points: int
    miou: float
    error: float
    picked_error: float
    pseudo_points: int
    pseudo_precision: float
    shares: Mapping[str, tuple[float, float]]


def queue_quality(
    selection_folder: Path,
    scenes: Mapping[str, Scene],
    predictions: Path,
    exclude: Collection[tuple[str, str]] = (),
) -> Quality:
    """Compare a selection with the labels of the drive.

    Args:
        selection_folder: a manifest.
        scenes: scene id -> scene.
        predictions: the predictions' folder.
        exclude: (scene, frame name) of frames that the model learnt from.
    """
    queue = read_queue(selection_folder)
    store = PredictionStore.open(predictions)
    picked, pseudo = by_frame(queue.asked), by_frame(queue.assumed)
    confusion, picked_confusion = np.zeros((2, len(store.classes), len(store.classes)), np.int64)
    points, pseudo_counts = 0, np.zeros(2, np.int64)
    for scene in scenes.values():
        for frame in scene:
            if not frame.has_labels or (scene.id, frame.name) in exclude:
                continue
            labels = frame.labels()
            if labels is None:
                continue
            predicted = store.probabilities(scene.id, frame.name, len(labels)).argmax(axis=1)
            confusion += confusion_matrix(labels, predicted, len(store.classes))
            points += len(labels)
            for unit in picked.get((scene.id, frame.index), ()):
                some = unit.indices
                picked_confusion += confusion_matrix(labels[some], predicted[some], len(store.classes))
            for unit in pseudo.get((scene.id, frame.index), ()):
                if unit.labels is not None:
                    pseudo_counts += _wrong(labels[unit.indices], unit.labels)
    return Quality(
        points=points,
        miou=mean_iou(confusion) if confusion.any() else float("nan"),
        error=_error(confusion),
        picked_error=_error(picked_confusion),
        pseudo_points=int(pseudo_counts[1]),
        pseudo_precision=1 - _share(*pseudo_counts),
        shares={
            name: (
                _share(picked_confusion[row].sum(), picked_confusion.sum()),
                _share(confusion[row].sum(), confusion.sum()),
            )
            for row, name in enumerate(store.classes)
        },
    )


def _error(confusion: np.ndarray) -> float:
    """The share of points off the diagonal."""
    return _share(confusion.sum() - np.trace(confusion), confusion.sum())


def _wrong(labels: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """How many evaluated points are wrong, and how many there are."""
    evaluated = (labels != IGNORE) & (predicted != IGNORE)
    return np.array([(labels[evaluated] != predicted[evaluated]).sum(), evaluated.sum()], np.int64)


def _share(part: int, whole: int) -> float:
    return float(part / whole) if whole else float("nan")
