# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Cubic cells of a sweep."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_BITS = 21
_MOST = (1 << (_BITS - 1)) - 1


def cells_of(xyz: npt.NDArray[np.floating], edge_m: float) -> tuple[npt.NDArray[np.int64], int]:
    """The cell floor(xyz / edge) of each point (N, 3) in metres -> numbers (N,) from 0 in the order of x, y, z; how many.

    Rounding is down, also below 0: truncation would make the cells at the sensor twice as wide.
    """
    place = np.floor(xyz.astype(np.float64) / edge_m).clip(-_MOST, _MOST).astype(np.int64) + _MOST
    key = (place[:, 0] << 2 * _BITS) | (place[:, 1] << _BITS) | place[:, 2]
    keys, cell = np.unique(key, return_inverse=True)
    return cell.astype(np.int64), len(keys)
