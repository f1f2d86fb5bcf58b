# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Sums over the points of each region, always added in the order of the points: the same bytes on every run."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

Ids = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float64]


def region_sizes(ids: Ids, regions: int) -> npt.NDArray[np.int64]:
    """Points (R,) of each of `regions` regions; ids (N,)."""
    return np.bincount(ids, minlength=regions).astype(np.int64)


def region_means(ids: Ids, regions: int, values: npt.NDArray[np.generic]) -> Floats:
    """Mean over each region's points, float64: (R,) of values (N,), (R, K) of values (N, K); NaN for an empty region.

    LiDAL's region score (ECCV 2022): the plain mean of the points' scores.
    """
    if len(values) != len(ids):
        raise ValueError(f"{len(values)} values for {len(ids)} points")
    columns = int(np.prod(values.shape[1:]))
    kept = values.dtype if values.dtype in (np.float32, np.float64) else np.float64
    table = np.ascontiguousarray(values, kept).reshape(len(ids), columns)
    sums = _region_sums(ids, regions, table)
    with np.errstate(invalid="ignore"):
        means = sums / region_sizes(ids, regions)[:, None]
    return means.reshape((regions, *values.shape[1:]))


def region_centers(ids: Ids, regions: int, xyz: npt.NDArray[np.float64]) -> Floats:
    """Mean position (R, 3) of each region's points xyz (N, 3), in the frame and unit of `xyz`; NaN if empty."""
    return region_means(ids, regions, xyz)


@njit(cache=True, nogil=True)
def _region_sums(ids, regions, table):  # type: ignore[no-untyped-def]
    sums = np.zeros((regions, table.shape[1]))
    for i in range(len(ids)):
        for k in range(table.shape[1]):
            sums[ids[i], k] += table[i, k]
    return sums
