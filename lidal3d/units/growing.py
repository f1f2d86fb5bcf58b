# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Small surface patches: geodesic Voronoi cells on the voxel graph, their seeds set where no seed is near enough.

An edge between neighbouring voxels a and b is as long as

    |d| s + f · (ANGLE (1 - |n_a·n_b|) + STEP (|d·n_a| + |d·n_b|) s / 2) + BRIGHT |i_a - i_b|,   d = c_b - c_a,

with centroids c, normals n, brightness i, cells per metre s and f = the lesser planarity of the two: distance along a
surface counts plainly, leaving the surface counts dear, and in bushes only distance counts.
"""

from __future__ import annotations

import heapq

import numpy as np
from numba import njit

from lidal3d.units.voxels import cells_per_metre

ANGLE = 12.0
STEP = 3.0
BRIGHT = 6.0


@njit(cache=True, nogil=True)
def edge_lengths(sums, normals, planarity, starts, neighbours, voxel_m, doubling_m):  # type: ignore[no-untyped-def]
    """Length (E,) of every edge of the voxel graph, in voxels; see the module's docstring."""
    lengths = np.empty(len(neighbours), np.float32)
    for a in range(len(sums)):
        n_a = float(sums[a, 0])
        ax, ay, az = sums[a, 1] / n_a, sums[a, 2] / n_a, sums[a, 3] / n_a
        scale = 1e-3 * cells_per_metre(1e-3 * np.sqrt(ax * ax + ay * ay + az * az), voxel_m, doubling_m)
        for e in range(starts[a], starts[a + 1]):
            b = neighbours[e]
            n_b = float(sums[b, 0])
            x, y, z = sums[b, 1] / n_b - ax, sums[b, 2] / n_b - ay, sums[b, 3] / n_b - az
            bright = abs(sums[a, 10] / n_a - sums[b, 10] / n_b)
            turn = abs(normals[a, 0] * normals[b, 0] + normals[a, 1] * normals[b, 1] + normals[a, 2] * normals[b, 2])
            off_a = abs(x * normals[a, 0] + y * normals[a, 1] + z * normals[a, 2])
            off_b = abs(x * normals[b, 0] + y * normals[b, 1] + z * normals[b, 2])
            flat = min(planarity[a], planarity[b])
            lengths[e] = (
                scale * np.sqrt(x * x + y * y + z * z)
                + flat * (ANGLE * (1.0 - min(turn, 1.0)) + 0.5 * STEP * scale * (off_a + off_b))
                + BRIGHT * bright / 1024.0
            )
    return lengths


@njit(cache=True, nogil=True)
def grow(order, starts, neighbours, lengths, radius):  # type: ignore[no-untyped-def]
    """Patch of each voxel (V,) and the number of patches.

    Voxels are looked at in `order`; one further than `radius` from every seed so far becomes a seed, and its distances
    are spread to the voxels it is nearer to than any earlier seed.
    """
    count = len(order)
    distance = np.full(count, np.inf, np.float32)
    patch = np.full(count, -1, np.int32)
    seeds = 0
    heap = [(np.float32(0.0), np.int32(0))]
    heap.pop()
    for start in order:
        if distance[start] <= radius:
            continue
        distance[start] = 0.0
        patch[start] = seeds
        heapq.heappush(heap, (np.float32(0.0), np.int32(start)))
        while len(heap):
            near, a = heapq.heappop(heap)
            if near > distance[a]:
                continue
            for e in range(starts[a], starts[a + 1]):
                b = neighbours[e]
                through = near + lengths[e]
                if through < distance[b] and through <= radius:
                    distance[b] = through
                    patch[b] = seeds
                    heapq.heappush(heap, (through, b))
        seeds += 1
    return patch, seeds
