# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""How right the pseudo-labels are, counted where the drive has labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lidal3d.export.queue import LabelQueue, by_frame, check_indices, frame_of
from lidal3d.scene.labels import IGNORE, LabelMap
from lidal3d.scene.scene import Frame, Scene


@dataclass(frozen=True)
class PseudoPrecision:
    """Counts of pseudo-labelled points.

    Attributes:
        assumed: (C,) points a class was assumed for, in all frames.
        judged: (C,) of those, points whose true class is known and evaluated.
        correct: (C,) of those, points where it is the assumed one.
        labelled_frames, frames: frames with pseudo-labels that have labels too, and all with pseudo-labels.
    """

    assumed: npt.NDArray[np.int64]
    judged: npt.NDArray[np.int64]
    correct: npt.NDArray[np.int64]
    labelled_frames: int
    frames: int

    @property
    def overall(self) -> float | None:
        """Correct / judged over all classes, or None where nothing could be judged."""
        return float(self.correct.sum() / self.judged.sum()) if self.judged.sum() else None

    def of_class(self, train_id: int) -> float | None:
        """Correct / judged of one class, or None where nothing could be judged."""
        return float(self.correct[train_id] / self.judged[train_id]) if self.judged[train_id] else None


def pseudo_precision(queue: LabelQueue, scenes: Mapping[str, Scene], classes: LabelMap) -> PseudoPrecision:
    """Compare pseudo-labels with the drive's labels; classes are matched by name.

    Raises:
        DataError: the selection does not fit the drive, or a label file is damaged.
    """
    count = len(classes.classes)
    assumed, judged, correct = (np.zeros(count, dtype=np.int64) for _ in range(3))
    frames = by_frame(queue.assumed)
    labelled = 0
    for (scene, index), units in sorted(frames.items()):
        frame = frame_of(scenes, scene, index)
        truth = _truth(frame, classes)
        labelled += truth is not None
        for unit in units:
            if unit.labels is None:
                continue
            known = unit.labels < count
            assumed += np.bincount(unit.labels[known], minlength=count)
            if truth is not None:
                check_indices(unit, len(truth), frame)
                true = truth[unit.indices]
                scored = known & (true != IGNORE)
                judged += np.bincount(unit.labels[scored], minlength=count)
                correct += np.bincount(unit.labels[scored & (unit.labels == true)], minlength=count)
    return PseudoPrecision(assumed, judged, correct, labelled, len(frames))


def _truth(frame: Frame, classes: LabelMap) -> npt.NDArray[np.uint8] | None:
    labels, own = frame.labels() if frame.has_labels else None, frame.scene.label_map
    if labels is None or own is None or own.classes == classes.classes:
        return labels
    table = np.full(IGNORE + 1, IGNORE, dtype=np.uint8)
    for train_id, name in enumerate(own.classes):
        if name in classes.classes:
            table[train_id] = classes.classes.index(name)
    return table[labels]
