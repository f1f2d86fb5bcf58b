# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Annotator's voxel confusion degree (Xie et al., NeurIPS 2023): many classes predicted in one small voxel."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lidal3d.scores.cells import cells_of
from lidal3d.scores.segment_entropy import histogram_entropy

CELL_M = 0.25


def voxel_confusion(
    xyz: npt.NDArray[np.floating], predicted: npt.NDArray[np.integer], classes: int, cell_m: float = CELL_M
) -> npt.NDArray[np.float64]:
    """VCD of the voxel each point lies in: −Σ_c n_c/n log2(n_c/n), bits; the largest is asked first.

    Args:
        xyz: (N, 3) metres, in the sensor's frame.
        predicted: (N,) predicted class of each point.
        classes: C.
        cell_m: edge of a voxel.

    Returns:
        (N,) float64. The paper's code buys voxels; a unit's score here is the mean over its points. Unlike its code,
        cells are rounded down instead of towards 0, all points of a voxel count, and so does class 0.
    """
    cell, count = cells_of(xyz, cell_m)
    return histogram_entropy(predicted, cell, count, classes)[cell] / np.log(2)
