# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Voxels that grow with range, their exact sums and their neighbours: the ground supervoxels stand on.

A point p at distance r from the sensor falls into cell floor(p · s(r)) with

    s(r) = 2 / (v · (1 + sqrt(1 + r / r0)))          (cells per metre)

so that a cell's radial edge is v · sqrt(1 + r / r0): v at the sensor, three times that at r = 8 r0. The map p -> p·s(r)
is one to one and continuous, so neighbouring cells stay neighbours. Sums are taken over coordinates rounded to
millimetres, in integers: they do not depend on the order of the points.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit

AXIS_BITS = 21
HALF = 1 << 20
LIMIT_MM = 1 << 22
GOLDEN = np.uint64(0x9E3779B97F4A7C15)
SUMS = 11  # count, x, y, z, xx, xy, xz, yy, yz, zz, brightness

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Voxels:
    """Occupied cells of a sweep, in ascending order of their key (x, then y, then z).

    Attributes:
        keys: (V,) packed cell numbers.
        point_voxel: (N,) voxel of each point.
        sums: (V, 11) integer sums over a voxel's points: count, x y z (mm), xx xy xz yy yz zz (mm²), brightness.
        starts: (V + 1,) where each voxel's neighbours begin: those of voxel i are neighbours[starts[i]:starts[i + 1]].
        neighbours: (E,) the occupied among the 26 cells around each voxel.
    """

    keys: Ints
    point_voxel: npt.NDArray[np.int32]
    sums: Ints
    starts: Ints
    neighbours: npt.NDArray[np.int32]


def voxelise(xyz: Floats, brightness: Ints, voxel_m: float, range_m: float) -> Voxels:
    """Voxels of points (N, 3) in metres with integer brightness (N,); `voxel_m` is v and `range_m` is r0 above."""
    point_keys = _cell_keys(xyz, voxel_m, range_m)
    keys, point_voxel = _number_cells(point_keys)
    sums = _sum_voxels(xyz, brightness, point_voxel, len(keys))
    starts, neighbours = adjacency(keys)
    return Voxels(keys, point_voxel, sums, starts, neighbours)


def adjacency(keys: Ints) -> tuple[Ints, npt.NDArray[np.int32]]:
    """Starts (V + 1,) and neighbours (E,) of each of the sorted cells `keys` among the 26 cells around it."""
    return _compressed_rows(_pairs(keys), len(keys))


def coarser(keys: Ints, shift: int) -> Ints:
    """The key of the cell 2**shift times as wide that holds each cell."""
    mask = (1 << AXIS_BITS) - 1
    axes = [(keys >> (AXIS_BITS * place) & mask) >> shift for place in (2, 1, 0)]
    return (axes[0] << 2 * AXIS_BITS) | (axes[1] << AXIS_BITS) | axes[2]


@njit(cache=True, nogil=True, inline="always")
def cells_per_metre(range_m, voxel_m, doubling_m):  # type: ignore[no-untyped-def]
    """s(r) of the module's docstring."""
    return 2.0 / (voxel_m * (1.0 + np.sqrt(1.0 + range_m / doubling_m)))


@njit(cache=True, nogil=True)
def _cell_keys(xyz, voxel_m, doubling_m):  # type: ignore[no-untyped-def]
    keys = np.empty(len(xyz), np.int64)
    bound = HALF - 2.0
    for i in range(len(xyz)):
        x, y, z = xyz[i, 0], xyz[i, 1], xyz[i, 2]
        scale = cells_per_metre(np.sqrt(x * x + y * y + z * z), voxel_m, doubling_m)
        ix = np.int64(np.floor(min(max(x * scale, -bound), bound))) + HALF
        iy = np.int64(np.floor(min(max(y * scale, -bound), bound))) + HALF
        iz = np.int64(np.floor(min(max(z * scale, -bound), bound))) + HALF
        keys[i] = (ix << 2 * AXIS_BITS) | (iy << AXIS_BITS) | iz
    return keys


@njit(cache=True, nogil=True)
def _number_cells(point_keys):  # type: ignore[no-untyped-def]
    """Sorted distinct keys (V,) and each point's place among them (N,), by a hash table over the points."""
    bits = 4
    while (1 << bits) < 2 * len(point_keys):
        bits += 1
    size, shift = 1 << bits, np.uint64(64 - bits)
    table = np.full(size, -1, np.int32)
    found = np.empty(len(point_keys), np.int64)
    point_voxel = np.empty(len(point_keys), np.int32)
    count = 0
    for i in range(len(point_keys)):
        key = point_keys[i]
        slot = np.int64((np.uint64(key) * GOLDEN) >> shift)
        while table[slot] >= 0 and found[table[slot]] != key:
            slot = (slot + 1) & (size - 1)
        if table[slot] < 0:
            table[slot] = count
            found[count] = key
            count += 1
        point_voxel[i] = table[slot]
    order = np.argsort(found[:count])
    rank = np.empty(count, np.int32)
    keys = np.empty(count, np.int64)
    for place in range(count):
        keys[place] = found[order[place]]
        rank[order[place]] = place
    for i in range(len(point_keys)):
        point_voxel[i] = rank[point_voxel[i]]
    return keys, point_voxel


@njit(cache=True, nogil=True)
def _sum_voxels(xyz, brightness, point_voxel, count):  # type: ignore[no-untyped-def]
    sums = np.zeros((count, SUMS), np.int64)
    for i in range(len(xyz)):
        row = sums[point_voxel[i]]
        x = _millimetres(xyz[i, 0])
        y = _millimetres(xyz[i, 1])
        z = _millimetres(xyz[i, 2])
        row[0] += 1
        row[1] += x
        row[2] += y
        row[3] += z
        row[4] += x * x
        row[5] += x * y
        row[6] += x * z
        row[7] += y * y
        row[8] += y * z
        row[9] += z * z
        row[10] += brightness[i]
    return sums


@njit(cache=True, nogil=True, inline="always")
def _millimetres(metres):  # type: ignore[no-untyped-def]
    return np.int64(np.floor(min(max(metres * 1000.0, -float(LIMIT_MM)), float(LIMIT_MM)) + 0.5))


@njit(cache=True, nogil=True)
def _pairs(keys):  # type: ignore[no-untyped-def]
    """Pairs (P, 2) of neighbouring cells, each once, by walking the sorted keys against themselves, shifted."""
    count = len(keys)
    pairs = np.empty((13 * count, 2), np.int32)
    used = 0
    for i in range(count - 1):
        if keys[i + 1] == keys[i] + 1:
            pairs[used, 0] = i
            pairs[used, 1] = i + 1
            used += 1
    for column in range(4):
        dx, dy = (0, 1) if column == 0 else (1, column - 2)
        offset = (dx << 2 * AXIS_BITS) + dy * (1 << AXIS_BITS)
        first = 0
        for i in range(count):
            wanted = keys[i] + offset
            while first < count and keys[first] < wanted - 1:
                first += 1
            j = first
            while j < count and keys[j] <= wanted + 1:
                pairs[used, 0] = i
                pairs[used, 1] = j
                used += 1
                j += 1
    return pairs[:used]


@njit(cache=True, nogil=True)
def _compressed_rows(pairs, count):  # type: ignore[no-untyped-def]
    starts = np.zeros(count + 1, np.int64)
    for e in range(len(pairs)):
        starts[pairs[e, 0] + 1] += 1
        starts[pairs[e, 1] + 1] += 1
    for i in range(count):
        starts[i + 1] += starts[i]
    fill = starts[:-1].copy()
    neighbours = np.empty(2 * len(pairs), np.int32)
    for e in range(len(pairs)):
        a, b = pairs[e, 0], pairs[e, 1]
        neighbours[fill[a]] = b
        fill[a] += 1
        neighbours[fill[b]] = a
        fill[b] += 1
    return starts, neighbours
