# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""What a model says of one sweep, and where that comes from: files, or the model itself."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numba
import numpy as np
import numpy.typing as npt

from lidal3d.errors import DataError
from lidal3d.scene.scene import Frame

# How far a row of probabilities may be from 1 in sum: float16 rows of many classes round that much.
SUM_TOLERANCE = 0.02

Array = npt.NDArray[np.floating]


@dataclass(frozen=True)
class FrameMaps:
    """What a model says of the N points of one sweep.

    Attributes:
        probabilities: (N, C) float16 or float32.
        features: (N, D), or None where nobody asked for them.
        members: M maps (N, C), one a view or stochastic pass, or None where nobody asked for them.
    """

    probabilities: Array
    features: Array | None = None
    members: Sequence[Array] | None = None


class MapSource(Protocol):
    """A model's predictions, asked for one sweep at a time. Survives pickling, so that workers can ask too."""

    @property
    def classes(self) -> tuple[str, ...]:
        """C class names, in the order of the columns."""

    @property
    def model(self) -> str:
        """A name for people."""

    @property
    def run(self) -> str | None:
        """A digest of all that the probabilities depend on beside the sweep, where it is known."""

    @property
    def origin(self) -> Mapping[str, Path]:
        """Where they come from: "predictions" or "model" -> its folder."""

    def lacks(self, extra: str) -> str:
        """Why there can be no "features" or "members", in half a sentence; empty where there can."""

    def reading(self, extras: Collection[str]) -> MapSource:
        """The same, whose maps also have these of "features" and "members"."""

    def maps(self, frame: Frame, points: npt.NDArray[np.float32]) -> FrameMaps:
        """What is said of a frame with the given points (N, 4). Raises DataError that names the file at fault."""

    def place(self, frame: Frame) -> Path:
        """The file to name where a frame's probabilities are wrong."""


@dataclass(frozen=True)
class Unpredicted:
    """In place of a model where there is none yet: on the first day, who chooses by an encoder alone.

    Attributes:
        classes: of the drive, which nothing is predicted of.
    """

    classes: tuple[str, ...]
    model: str = "no model"
    run: str | None = None

    @property
    def origin(self) -> dict[str, Path]:
        """As `MapSource`."""
        return {}

    def lacks(self, extra: str) -> str:
        """As `MapSource`."""
        return "there is no model"

    def reading(self, extras: Collection[str]) -> Unpredicted:
        """As `MapSource`."""
        return self

    def maps(self, frame: Frame, points: npt.NDArray[np.float32]) -> FrameMaps:
        """Raises DataError: whoever is given this asks for nothing of the kind."""
        raise DataError(f"{self.place(frame)}: no model to predict it with; give --model or --predictions")

    def place(self, frame: Frame) -> Path:
        """As `MapSource`."""
        return frame.scene.source.points_path(frame.index)


def refuse_bad_rows(maps: FrameMaps, place: Path) -> None:
    """Raise DataError where a row is no distribution: NaN or logits would pass silently into every score."""
    for array in (maps.probabilities, *(maps.members or ())):
        bad, row, total = _bad_rows(array.astype(np.float32, copy=False), SUM_TOLERANCE)
        if bad:
            raise DataError(
                f"{place}: {bad} of {len(array)} rows do not sum to 1 (row {row}: {float(total):.4g}); "
                "write softmax outputs, not logits"
            )


@numba.njit(cache=True, nogil=True)
def _bad_rows(probabilities: npt.NDArray[np.float32], tolerance: float) -> tuple[int, int, np.float32]:
    """How many rows are negative somewhere or do not sum to 1, the first of them and its sum."""
    bad, first, first_sum = 0, 0, np.float32(0)
    for row in range(len(probabilities)):
        total, least = np.float32(0), np.float32(0)
        for column in range(probabilities.shape[1]):
            total += probabilities[row, column]
            least = min(least, probabilities[row, column])
        if not (abs(total - 1) <= tolerance and least >= 0):
            if bad == 0:
                first, first_sum = row, total
            bad += 1
    return bad, first, first_sum
