# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Merging of surface patches into supervoxels: always the two neighbours that are most alike, until none are.

Two regions A and B of n_A and n_B points cost to merge

    sqrt(min(n_A, n_B, FULL) / FULL) · (OFFSET h s + BRIGHT |i_A - i_B| + NEAR d s)

with h² = (1/n_A + 1/n_B) (n_AB t²_AB - n_A t²_A - n_B t²_B), t² a region's mean squared distance to the plane through
it (for two parallel plates h is the distance between the plates), brightness i, centroid distance d with heights
counted HEIGHT-fold, and cells per metre s. Small regions merge first, and no region grows wider than `widest` cells.
"""

from __future__ import annotations

import heapq
from typing import NamedTuple

import numpy as np
from numba import njit

from lidal3d.units.disjoint import root_of
from lidal3d.units.surface import covariance, eigenvalues
from lidal3d.units.voxels import cells_per_metre

FULL = 1000.0
OFFSET = 1.0
BRIGHT = 2.0
NEAR = 0.15
HEIGHT = 2.0


class Regions(NamedTuple):
    """Regions while they merge; row r is valid while parent[r] == r.

    Attributes:
        sums: (P, 11) sums as in Voxels, float64.
        residual: (P,) n t², mm².
        bounds: (P, 6) least and largest cell along each axis.
        parent: (P,) the region that a region went into.
        version: (P,) how often it grew.
    """

    sums: np.ndarray
    residual: np.ndarray
    bounds: np.ndarray
    parent: np.ndarray
    version: np.ndarray


class Links(NamedTuple):
    """Linked lists of neighbours: head (P,) first link of a region, following (L,) next link, target (L,) region."""

    head: np.ndarray
    following: np.ndarray
    target: np.ndarray


class Limits(NamedTuple):
    """widest: cells; dearest: largest cost of a merge; voxel_m and doubling_m as v and r0 in lidal3d.units.voxels."""

    widest: float
    dearest: float
    voxel_m: float
    doubling_m: float


@njit(cache=True, nogil=True, inline="always")
def _residual(sums):  # type: ignore[no-untyped-def]
    """n t²: summed squared distance (mm²) of a region's points to the plane through them."""
    xx, xy, xz, yy, yz, zz = covariance(sums)
    return sums[0] * eigenvalues(xx, xy, xz, yy, yz, zz)[0]


@njit(cache=True, nogil=True)
def _too_wide(bounds, a, b, widest):  # type: ignore[no-untyped-def]
    for axis in range(3):
        if max(bounds[a, axis + 3], bounds[b, axis + 3]) - min(bounds[a, axis], bounds[b, axis]) >= widest:
            return True
    return False


@njit(cache=True, nogil=True)
def merge_cost(regions, a, b, limits, enough):  # type: ignore[no-untyped-def]
    """Cost of merging regions a and b; infinite if they would be wider than allowed, or if it is above `enough`."""
    if _too_wide(regions.bounds, a, b, limits.widest):
        return np.inf
    one, other = regions.sums[a], regions.sums[b]
    both = _added(one, other)
    x, y, z = both[1] / both[0], both[2] / both[0], both[3] / both[0]
    range_m = 1e-3 * np.sqrt(x * x + y * y + z * z)
    cells_per_mm = 1e-3 * cells_per_metre(range_m, limits.voxel_m, limits.doubling_m)
    dx, dy = one[1] / one[0] - other[1] / other[0], one[2] / one[0] - other[2] / other[0]
    dz = HEIGHT * (one[3] / one[0] - other[3] / other[0])
    apart = np.sqrt(dx * dx + dy * dy + dz * dz)
    bright = abs(one[10] / one[0] - other[10] / other[0]) / 1024.0
    size = np.sqrt(min(one[0], other[0], FULL) / FULL)
    without_offset = NEAR * apart * cells_per_mm + BRIGHT * bright
    if size * without_offset > enough:
        return np.inf
    gained = max(_residual(both) - regions.residual[a] - regions.residual[b], 0.0)
    offset = np.sqrt((1.0 / one[0] + 1.0 / other[0]) * gained)
    cost = size * (OFFSET * offset * cells_per_mm + without_offset)
    return cost if cost <= enough else np.inf


@njit(cache=True, nogil=True, inline="always")
def _added(one, other):  # type: ignore[no-untyped-def]
    """Sums of two regions together, without brightness; a tuple, because an array here would double the time."""
    return (
        one[0] + other[0],
        one[1] + other[1],
        one[2] + other[2],
        one[3] + other[3],
        one[4] + other[4],
        one[5] + other[5],
        one[6] + other[6],
        one[7] + other[7],
        one[8] + other[8],
        one[9] + other[9],
    )


@njit(cache=True, nogil=True)
def _start(sums, bounds):  # type: ignore[no-untyped-def]
    count = len(sums)
    regions = Regions(
        sums.astype(np.float64), np.empty(count), bounds.copy(), np.arange(count), np.zeros(count, np.int64)
    )
    for a in range(count):
        regions.residual[a] = _residual(regions.sums[a])
    return regions


@njit(cache=True, nogil=True)
def _link(pairs, count):  # type: ignore[no-untyped-def]
    links = Links(np.full(count, -1, np.int64), np.empty(2 * len(pairs), np.int64), np.empty(2 * len(pairs), np.int64))
    for e in range(len(pairs)):
        for side in range(2):
            a, place = pairs[e, side], 2 * e + side
            links.target[place] = pairs[e, 1 - side]
            links.following[place] = links.head[a]
            links.head[a] = place
    return links


@njit(cache=True, nogil=True)
def _best(a, regions, links, limits, seen, mark):  # type: ignore[no-untyped-def]
    """Cheapest neighbour of region a within the limits (-1: none), and its cost; drops doubled and inner links."""
    best, cheapest = -1, np.inf
    link, before = links.head[a], -1
    while link >= 0:
        b = root_of(regions.parent, links.target[link])
        if b == a or seen[b] == mark:
            if before < 0:
                links.head[a] = links.following[link]
            else:
                links.following[before] = links.following[link]
        else:
            seen[b] = mark
            links.target[link] = b
            before = link
            cost = merge_cost(regions, a, b, limits, min(cheapest, limits.dearest))
            if cost < cheapest or (cost == cheapest and b < best):
                best, cheapest = b, cost
        link = links.following[link]
    return best, cheapest


@njit(cache=True, nogil=True)
def _join(a, b, regions, links):  # type: ignore[no-untyped-def]
    """Region b goes into region a, with its links."""
    regions.parent[b] = a
    regions.sums[a] += regions.sums[b]
    regions.residual[a] = _residual(regions.sums[a])
    regions.version[a] += 1
    for axis in range(3):
        regions.bounds[a, axis] = min(regions.bounds[a, axis], regions.bounds[b, axis])
        regions.bounds[a, axis + 3] = max(regions.bounds[a, axis + 3], regions.bounds[b, axis + 3])
    link = links.head[b]
    if link >= 0:
        while links.following[link] >= 0:
            link = links.following[link]
        links.following[link] = links.head[a]
        links.head[a] = links.head[b]


@njit(cache=True, nogil=True)
def merge(sums, bounds, pairs, limits):  # type: ignore[no-untyped-def]
    """Region (P,) of each patch after all merges that cost at most `limits.dearest`; named by its least patch.

    Args:
        sums: (P, 11) integer sums of the patches; bounds: (P, 6) their least and largest cells.
        pairs: (E, 2) patches that may merge.
    """
    regions = _start(sums, bounds)
    links = _link(pairs, len(sums))
    seen = np.full(len(sums), -1, np.int64)
    mark = 0
    heap = [(0.0, 0, 0, 0, 0)]
    heap.pop()
    for a in range(len(sums)):
        b, cost = _best(a, regions, links, limits, seen, mark)
        mark += 1
        if b >= 0:
            heapq.heappush(heap, (cost, a, b, 0, 0))
    while len(heap):
        cost, a, b, version_a, version_b = heapq.heappop(heap)
        if regions.parent[a] != a or regions.version[a] != version_a:
            continue
        if regions.parent[b] == b and regions.version[b] == version_b:
            a, b = min(a, b), max(a, b)
            _join(a, b, regions, links)
        b, cost = _best(a, regions, links, limits, seen, mark)
        mark += 1
        if b >= 0:
            heapq.heappush(heap, (cost, a, b, regions.version[a], regions.version[b]))
    for a in range(len(sums)):
        regions.parent[a] = root_of(regions.parent, a)
    return regions.parent
