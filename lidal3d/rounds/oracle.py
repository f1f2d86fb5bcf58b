# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Oracles: whoever answers when a unit is asked. Nothing else of an experiment reads a training scene's labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from lidal3d.errors import DataError
from lidal3d.rounds.label_store import LabelStore
from lidal3d.rounds.seeds import derived_rng
from lidal3d.scene.labels import IGNORE
from lidal3d.scene.scene import Frame

Labels = npt.NDArray[np.uint8]


class Oracle(Protocol):
    """Answers for points of a frame; the same question gets the same answer."""

    def answer(self, frame: Frame, asked: npt.NDArray[np.bool_]) -> Labels:
        """Train ids (N,) uint8 of the points in the mask `asked` (N,), 255 for all others."""


@dataclass(frozen=True)
class GroundTruth:
    """The data set's own labels, wrong at random where a noise rate is given.

    Attributes:
        noise: share of points that get another class, drawn evenly from the others.
        seed: of the noise; a point's answer doesn't depend on what else is asked.
    """

    noise: float = 0.0
    seed: int = 0

    def answer(self, frame: Frame, asked: npt.NDArray[np.bool_]) -> Labels:
        """As `Oracle.answer`. Raises DataError where the frame has no labels or a mask of another length."""
        labels = frame.labels()
        if labels is None:
            raise DataError(f"{frame.scene.id}/{frame.name}: the oracle has no labels for it; leave the scene out")
        refuse_mask(frame, asked, len(labels))
        return np.where(asked, self._noisy(labels, frame), np.uint8(IGNORE)).astype(np.uint8)

    def _noisy(self, labels: Labels, frame: Frame) -> Labels:
        if self.noise == 0 or frame.scene.label_map is None:
            return labels
        classes = len(frame.scene.label_map.classes)
        rng = derived_rng("oracle", self.seed, frame.scene.id, frame.index)
        wrong = (rng.random(len(labels)) < self.noise) & (labels != IGNORE)
        shifted = (labels.astype(np.int64) + rng.integers(1, max(2, classes), len(labels))) % classes
        return np.where(wrong, shifted, labels).astype(np.uint8)


@dataclass(frozen=True)
class StoredAnswers:
    """What people answered, from a folder of labels that `lidal3d ingest` filled."""

    store: LabelStore

    def answer(self, frame: Frame, asked: npt.NDArray[np.bool_]) -> Labels:
        """As `Oracle.answer`; 255 where nobody has answered. Raises DataError for labels of another length."""
        labels = self.store.labels(frame.scene.id, frame.name, len(asked))
        return np.where(asked, labels, np.uint8(IGNORE)).astype(np.uint8)


def refuse_mask(frame: Frame, mask: npt.NDArray, points: int) -> None:
    """Raise DataError where a mask hasn't one entry a point."""
    if len(mask) != points:
        path = frame.scene.source.points_path(frame.index)
        raise DataError(f"{path}: a label mask of {len(mask)} entries for {points} points; one a point is needed")
