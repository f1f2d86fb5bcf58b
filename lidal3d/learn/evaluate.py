# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Confusion matrix and mean intersection over union. Pure arrays; needs no torch."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lidal3d.scene.labels import IGNORE

Confusion = npt.NDArray[np.int64]


def confusion_matrix(labels: npt.NDArray[np.integer], predicted: npt.NDArray[np.integer], classes: int) -> Confusion:
    """(C, C) counts, rows true and columns predicted; points labelled 255 are left out.

    Args:
        labels: (N,) train ids or 255.
        predicted: (N,) train ids.
        classes: C.

    >>> confusion_matrix(np.array([0, 0, 1, 255]), np.array([0, 1, 1, 0]), 2)
    array([[1, 1],
           [0, 1]])
    """
    used = labels != IGNORE
    cell = labels[used].astype(np.int64) * classes + predicted[used].astype(np.int64)
    return np.bincount(cell, minlength=classes * classes).reshape(classes, classes)


def class_iou(confusion: Confusion) -> npt.NDArray[np.float64]:
    """IoU (C,) = true positives / (labelled ∪ predicted); NaN for a class that is in neither."""
    hits = np.diag(confusion).astype(np.float64)
    union = confusion.sum(axis=0) + confusion.sum(axis=1) - hits
    return np.divide(hits, union, out=np.full(len(hits), np.nan), where=union > 0)


def mean_iou(confusion: Confusion) -> float:
    """Mean over the classes that occur in labels or predictions; NaN where none does.

    >>> round(mean_iou(np.array([[1, 1, 0], [0, 1, 0], [0, 0, 0]])), 3)
    0.5
    """
    iou = class_iou(confusion)
    return float(iou[~np.isnan(iou)].mean()) if not np.isnan(iou).all() else float("nan")


def accuracy(confusion: Confusion) -> float:
    """Share of labelled points that are predicted right; NaN where no point is labelled."""
    return float(np.diag(confusion).sum() / confusion.sum()) if confusion.sum() else float("nan")
