# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""HPAL's hierarchical margin (ICCV 2023): a point is unsure where its neighbourhoods, small and large, are unsure too."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lidal3d.scores.cells import cells_of
from lidal3d.scores.margin import margin
from lidal3d.units.regions import region_means

EDGES_M = (0.1, 0.5, 1.0)
WEIGHT = 0.1


def hierarchical_margin(
    xyz: npt.NDArray[np.floating], probabilities: npt.NDArray[np.float32], edges_m: tuple[float, ...] = EDGES_M
) -> npt.NDArray[np.float64]:
    """margin(p) + 0.1 Σ_levels margin(mean p of the level's cell); the *smallest* is asked first.

    Args:
        xyz: (N, 3) metres, in the sensor's frame.
        probabilities: (N, C).
        edges_m: edges of the levels' cells.

    Returns:
        (N,) float64. A cell's mean is over its points, whereas the released code goes from level to level.
    """
    result = margin(probabilities)
    for edge_m in edges_m:
        cell, count = cells_of(xyz, edge_m)
        result += WEIGHT * margin(region_means(cell.astype(np.int32), count, probabilities))[cell]
    return result
