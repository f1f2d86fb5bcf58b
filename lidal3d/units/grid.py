# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""The plain partitions: square columns of the ground plane, and the whole frame."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from lidal3d.units.points import finite_xyz


@dataclass(frozen=True)
class GridCells:
    """The `grid` partition: columns of cell_m × cell_m in the sensor's x and y, a corner at the sensor.

    Ids ascend with x, then y; the ids do not depend on the order of the points.
    """

    cell_m: float = 4.0
    kind: str = field(default="grid", init=False)

    def __call__(self, points: npt.NDArray[np.float32]) -> npt.NDArray[np.int32]:
        """Unit ids (N,) of points (N, 3+). Raises DataError for coordinates that are not finite."""
        cells = np.floor(finite_xyz(points)[:, :2] / self.cell_m)
        _, columns = np.unique(cells[:, 0], return_inverse=True)
        _, rows = np.unique(cells[:, 1], return_inverse=True)
        _, ids = np.unique(columns.astype(np.int64) * (len(cells) + 1) + rows, return_inverse=True)
        return ids.astype(np.int32)


@dataclass(frozen=True)
class WholeFrame:
    """The `frame` partition, of pictures called `image`: one unit, all points."""

    kind: str = "frame"

    def __call__(self, points: npt.NDArray[np.float32]) -> npt.NDArray[np.int32]:
        """Zeros (N,) for points (N, 3+). Raises DataError for coordinates that are not finite."""
        return np.zeros(len(finite_xyz(points)), np.int32)
