# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Which points of a sweep a training step needs where only a few regions of it have labels.

A sweep of which one region in twenty is labelled costs as much as a whole one and teaches a twentieth. What lies near
the labels is enough context for a network; the rest of the step goes to other sweeps.
"""

from __future__ import annotations

import math

import numba
import numpy as np
import numpy.typing as npt

CELLS_A_CONTEXT = 4


def near_labels(
    xy: npt.NDArray[np.float32], labelled: npt.NDArray[np.bool_], context_m: float
) -> npt.NDArray[np.bool_]:
    """Whether a point lies within `context_m` of a labelled one, seen from above and by cells of a quarter of that.

    Args:
        xy: (N, 2) metres, finite.
        labelled: (N,).
        context_m: above 0.

    Returns:
        (N,) true for every labelled point, for all points nearer than 0.64 `context_m` to one, for none farther than
        1.36 `context_m`.
    """
    if labelled.all() or not labelled.any():
        return labelled.copy()
    cell_m = context_m / CELLS_A_CONTEXT
    cell = np.floor(xy.astype(np.float64) / cell_m).astype(np.int64)
    low = cell[labelled].min(axis=0) - CELLS_A_CONTEXT
    shape = cell[labelled].max(axis=0) + CELLS_A_CONTEXT + 1 - low
    return _within(cell - low, labelled, int(shape[0]), int(shape[1]), CELLS_A_CONTEXT)


@numba.njit(cache=True, nogil=True)
def _within(
    cell: npt.NDArray[np.int64], labelled: npt.NDArray[np.bool_], rows: int, columns: int, reach: int
) -> npt.NDArray[np.bool_]:
    occupied = np.zeros((rows, columns), np.bool_)
    for n in range(len(cell)):
        if labelled[n]:
            occupied[cell[n, 0], cell[n, 1]] = True
    near = np.zeros((rows, columns), np.bool_)
    for row in range(reach, rows - reach):
        for column in range(reach, columns - reach):
            if occupied[row, column]:
                for up in range(-reach, reach + 1):
                    width = int(math.sqrt(reach * reach - up * up))
                    near[row + up, column - width : column + width + 1] = True
    kept = np.zeros(len(cell), np.bool_)
    for n in range(len(cell)):
        row, column = cell[n, 0], cell[n, 1]
        kept[n] = 0 <= row < rows and 0 <= column < columns and near[row, column]
    return kept
