# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Compiled loops over sorted voxel keys: the 3×3×3 neighbours of every voxel, and their pairs grouped by weight."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]


@njit(cache=True, nogil=True)
def find_neighbours(keys: Int64, column_steps: Int64) -> tuple[Int32, Int64]:
    """Rows (V, 27) of every voxel's neighbours, −1 for none, and how many there are under each weight (27,).

    Args:
        keys: (V,) sorted and unique.
        column_steps: (4,) from a key to the lowest cell of each column before it; the next two keys are above it.
    """
    rows = np.full((len(keys), 27), -1, dtype=np.int32)
    counts = np.zeros(27, dtype=np.int64)
    # Wanted keys grow as keys do, so each column's place only moves forward: linear time, no search.
    place = np.zeros(len(column_steps), dtype=np.int64)
    for row, key in enumerate(keys):
        rows[row, 13] = row
        for column, offset in enumerate(column_steps):
            wanted = key + offset
            here = place[column]
            while keys[here] < wanted:
                here += 1
            place[column] = here
            while keys[here] <= wanted + 2:
                _note_pair(rows, counts, row, here, 3 * column + keys[here] - wanted)
                here += 1
        if row > 0 and keys[row - 1] == key - 1:
            _note_pair(rows, counts, row, row - 1, 12)
    counts[13] = len(keys)
    return rows, counts


@njit(cache=True, nogil=True)
def _note_pair(rows: Int32, counts: Int64, row: int, other: int, weight: int) -> None:
    rows[row, weight] = other
    rows[other, 26 - weight] = row
    counts[weight] += 1
    counts[26 - weight] += 1


@njit(cache=True, nogil=True)
def list_pairs(rows: Int32, counts: Int64) -> tuple[Int64, Int64]:
    """Inputs and outputs (P,) grouped by weight, outputs ascending within a weight.

    Args:
        rows: (V, 27) from `find_neighbours`.
        counts: (27,) from there.
    """
    total = counts.sum()
    inputs = np.empty(total, dtype=np.int64)
    outputs = np.empty(total, dtype=np.int64)
    place = np.cumsum(counts) - counts
    for row in range(len(rows)):
        for weight in range(27):
            other = rows[row, weight]
            if other >= 0:
                pair = place[weight]
                inputs[pair] = other
                outputs[pair] = row
                place[weight] += 1
    return inputs, outputs
