# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""UnitPool: all that a strategy may look at: the score table and, where there are any, features and probabilities."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lidal3d.errors import DataError
from lidal3d.scores.table import ScoreTable
from lidal3d.select.active import in_order

# Arrays row for row beside a table -> their dimensions.
ARRAYS = {"features": 2, "probabilities": 2, "embeddings": 2, "patterns": 3}


@dataclass(frozen=True)
class UnitPool:
    """R scored units, labelled ones included: core-set needs to know where they lie.

    Attributes:
        table: the score table.
        features: (R, D) float32, the mean feature of each unit's points, row for row as `table`.
        probabilities: (R, C) float32, the mean class probabilities of each unit's points.
        embeddings: (R, E) float32, the mean of an encoder's tokens of each unit.
        patterns: (R, K, E) float32, what an encoder attends to in each unit, rows of NaN where it has fewer than K.

    Raises:
        DataError: an array of another number of units.
    """

    table: ScoreTable
    features: npt.NDArray[np.float32] | None = None
    probabilities: npt.NDArray[np.float32] | None = None
    embeddings: npt.NDArray[np.float32] | None = None
    patterns: npt.NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        for name, dimensions in ARRAYS.items():
            array = getattr(self, name)
            if array is not None and (array.ndim != dimensions or len(array) != len(self.table)):
                raise DataError(f"{name} of shape {array.shape} for {len(self.table)} scored units; score again")

    def __len__(self) -> int:
        return len(self.table)

    @property
    def feature_rows(self) -> npt.NDArray[np.float32]:
        """(R, D). Raises DataError where the pool has no features."""
        return _there(self.features, "features")

    @property
    def probability_rows(self) -> npt.NDArray[np.float32]:
        """(R, C). Raises DataError where the pool has no probabilities."""
        return _there(self.probabilities, "probabilities")

    @property
    def embedding_rows(self) -> npt.NDArray[np.float32]:
        """(R, E). Raises DataError where the pool has no embeddings."""
        return _there(self.embeddings, "embeddings")

    @property
    def pattern_rows(self) -> npt.NDArray[np.float32]:
        """(R, K, E). Raises DataError where the pool has no patterns."""
        return _there(self.patterns, "patterns")

    def in_order(self) -> UnitPool:
        """The pool in the order of (scene, frame, unit), with the column `lidal` where its parts are there."""
        rows = row_order(self.table)
        table = in_order(self.table)
        return UnitPool(table, **{name: _rows(getattr(self, name), rows) for name in ARRAYS})


def row_order(table: ScoreTable) -> npt.NDArray[np.int64]:
    """The rows (R,) of a table in the order of (scene id, frame, unit)."""
    place = np.argsort(np.argsort(np.array(table.scenes, dtype=np.str_), kind="stable"))
    return np.lexsort((table.unit, table.frame, place[table.scene] if len(table) else table.scene))


def _rows(array: npt.NDArray[np.float32] | None, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32] | None:
    return None if array is None else np.ascontiguousarray(array[rows], np.float32)


def _there(array: npt.NDArray[np.float32] | None, name: str) -> npt.NDArray[np.float32]:
    if array is None:
        raise DataError(f"the pool has no {name} of its units; score again with {name}")
    return array
