# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""What every partition asks of the points it is given."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lidal3d.errors import DataError


def finite_xyz(points: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Coordinates (N, 3), metres, float64 of points (N, 3 or more).

    Raises:
        DataError: not a table with three columns or more, or coordinates that are NaN or infinite (both counts named).
    """
    table = np.asarray(points)
    if table.ndim != 2 or table.shape[1] < 3:
        raise DataError(f"points of shape {table.shape}: expected (N, 4) with x, y, z in the first three columns")
    xyz = table[:, :3].astype(np.float64)
    if not np.isfinite(xyz).all():
        bad = int((~np.isfinite(xyz).all(axis=1)).sum())
        raise DataError(
            f"{bad} of {len(xyz)} points have x, y or z that is NaN or infinite; remove them from the sweep"
        )
    return xyz
