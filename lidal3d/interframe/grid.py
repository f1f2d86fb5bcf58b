# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""A sweep sorted for nearest-neighbour search: slabs in height, rows in y, cells in x, all on one world-fixed grid.

Every sweep of a scene is sorted in the same order, so a search walks two sorted lists side by side instead of looking
anything up: what memory latency costs a hash table, the prefetcher gives away for nothing here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt

from lidal3d.interframe.simd import LANES

SLAB_M = 2.0
# A cell is a hair larger than the radius, so that a point at exactly the radius is never two cells away.
CELL_SLACK = 1.0 + 1e-9
# Where padding lies: far from every point, finite so that squared distances stay ordered.
FAR_M = 1e9

# Bits of a cell's key, high to low: slab | row | column. Offsets make all three positive.
COLUMN_BITS, ROW_BITS = 21, 21
ROW_STEP = 1 << COLUMN_BITS
SLAB_STEP = 1 << (COLUMN_BITS + ROW_BITS)
HALF = 1 << 20
RADIX_BITS = 11


@dataclass(frozen=True)
class SweepGrid:
    """The N points of a sweep in grid order.

    Attributes:
        x, y, z: (G + LANES,) float64 scene coordinates of the G points in the grid, padded far away.
        order: (N,) int32 original index of each place in grid order, points left out of the grid last.
        key: (U + 4,) int64 keys of the occupied cells, ascending, padded with the largest number.
        start: (U + 1,) int32 first place of each cell.
        row: (V + 1,) int64 key // ROW_STEP of each occupied row, ascending, padded with the largest number.
        row_start: (V + 1,) int32 first cell of each row; the last entry is U.
        reach: (U,) uint8 which slabs a search from the cell touches: 1 its own, 2 the one below, 4 the one above.
    """

    x: npt.NDArray[np.float64]
    y: npt.NDArray[np.float64]
    z: npt.NDArray[np.float64]
    order: npt.NDArray[np.int32]
    key: npt.NDArray[np.int64]
    start: npt.NDArray[np.int32]
    row: npt.NDArray[np.int64]
    row_start: npt.NDArray[np.int32]
    reach: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.order)


def build_grid(xyz_scene: npt.NDArray[np.float64], radius_m: float) -> SweepGrid:
    """Sort a sweep's points (N, 3) in scene coordinates for searches within `radius_m`.

    Points that are not finite, or over 2^20 cells from the origin, are left out: they match nothing.
    """
    cell_m = radius_m * CELL_SLACK
    keys, order, left_out = _cell_keys(np.ascontiguousarray(xyz_scene, dtype=np.float64), cell_m)
    order = _radix_argsort(keys, order)
    x, y, z = _gather_padded(xyz_scene, order)
    key, start = _cells(keys, order)
    row, row_start = _rows(key, len(start) - 1)
    reach = _reach(z, key, start, radius_m)
    return SweepGrid(x, y, z, np.concatenate([order, left_out]), key, start, row, row_start, reach)


@numba.njit(cache=True, nogil=True)
def _cell_keys(
    xyz: npt.NDArray[np.float64], cell_m: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Key of each point's cell, the indices of the points that have one, and of those that have none."""
    limit_m = cell_m * (HALF - 2)
    keys = np.empty(len(xyz), np.int64)
    kept = np.empty(len(xyz), np.int32)
    left_out = np.empty(len(xyz), np.int32)
    count = 0
    for n in range(len(xyz)):
        x, y, z = xyz[n, 0], xyz[n, 1], xyz[n, 2]
        if abs(x) < limit_m and abs(y) < limit_m and abs(z) < limit_m:
            slab = np.int64(math.floor(z / SLAB_M)) + HALF
            row = np.int64(math.floor(y / cell_m)) + HALF
            column = np.int64(math.floor(x / cell_m)) + HALF
            keys[n] = slab * SLAB_STEP + row * ROW_STEP + column
            kept[count] = n
            count += 1
        else:
            left_out[n - count] = n
    return keys, kept[:count], left_out[: len(xyz) - count]


@numba.njit(cache=True, nogil=True)
def _radix_argsort(keys: npt.NDArray[np.int64], kept: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """`kept` sorted by key, equal keys by index. Digits that all keys share are skipped."""
    order = kept.copy()
    if len(order) == 0:
        return order
    all_or, all_and = np.int64(0), np.int64(-1)
    for n in order:
        all_or |= keys[n]
        all_and &= keys[n]
    differing = all_or & ~all_and
    other = np.empty_like(order)
    buckets = 1 << RADIX_BITS
    shift = 0
    while shift < 63:
        # Start each digit at the next bit in which any two keys differ.
        while shift < 63 and not (differing >> shift) & 1:
            shift += 1
        if shift >= 63:
            break
        counts = np.zeros(buckets + 1, np.int32)
        for n in order:
            counts[((keys[n] >> shift) & (buckets - 1)) + 1] += 1
        for b in range(buckets):
            counts[b + 1] += counts[b]
        for n in order:
            digit = (keys[n] >> shift) & (buckets - 1)
            other[counts[digit]] = n
            counts[digit] += 1
        order, other = other, order
        shift += RADIX_BITS
    return order


@numba.njit(cache=True, nogil=True)
def _gather_padded(
    xyz: npt.NDArray[np.float64], order: npt.NDArray[np.int32]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    n = len(order)
    x, y, z = np.empty(n + LANES), np.empty(n + LANES), np.empty(n + LANES)
    for place in range(n):
        source = order[place]
        x[place], y[place], z[place] = xyz[source, 0], xyz[source, 1], xyz[source, 2]
    x[n:], y[n:], z[n:] = FAR_M, FAR_M, FAR_M
    return x, y, z


@numba.njit(cache=True, nogil=True)
def _cells(
    keys: npt.NDArray[np.int64], order: npt.NDArray[np.int32]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
    """Keys of the occupied cells with four entries of padding, and where each cell's points start."""
    n = len(order)
    key = np.empty(n + 4, np.int64)
    start = np.empty(n + 1, np.int32)
    count = 0
    previous = np.int64(-1)
    for place in range(n):
        current = keys[order[place]]
        if current != previous:
            key[count], start[count] = current, place
            count += 1
            previous = current
    key[count : count + 4] = np.int64(2**63 - 1)
    start[count] = n
    return key[: count + 4].copy(), start[: count + 1].copy()


@numba.njit(cache=True, nogil=True)
def _rows(key: npt.NDArray[np.int64], cells: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
    """Numbers of the occupied rows, and where each row's cells start."""
    row = np.empty(cells + 1, np.int64)
    row_start = np.empty(cells + 1, np.int32)
    count = 0
    previous = np.int64(-1)
    for cell in range(cells):
        current = key[cell] // ROW_STEP
        if current != previous:
            row[count], row_start[count] = current, cell
            count += 1
            previous = current
    row[count], row_start[count] = np.int64(2**63 - 1), cells
    return row[: count + 1].copy(), row_start[: count + 1].copy()


@numba.njit(cache=True, nogil=True)
def _reach(
    z: npt.NDArray[np.float64], key: npt.NDArray[np.int64], start: npt.NDArray[np.int32], radius_m: float
) -> npt.NDArray[np.uint8]:
    """Which slabs lie within the radius of any of a cell's points."""
    reach = np.ones(len(start) - 1, np.uint8)
    for cell in range(len(reach)):
        floor_m = ((key[cell] >> (COLUMN_BITS + ROW_BITS)) - HALF) * SLAB_M
        for place in range(start[cell], start[cell + 1]):
            # A hair more than the radius: rounding must not hide a point at exactly the radius.
            below = z[place] - floor_m <= radius_m * CELL_SLACK
            above = floor_m + SLAB_M - z[place] <= radius_m * CELL_SLACK
            reach[cell] |= 2 * below + 4 * above
    return reach
