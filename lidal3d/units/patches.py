# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""From voxels to patches: their sums, their extent in cells, and which of them are near enough to merge."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from lidal3d.units.voxels import AXIS_BITS, HALF, SUMS, Voxels, coarser

NEAR_SHIFT = 3

Ints = npt.NDArray[np.int64]


@njit(cache=True, nogil=True)
def patch_sums(sums, keys, patch, count):  # type: ignore[no-untyped-def]
    """Sums (P, 11) and bounds (P, 6: least and largest cell along x, y, z) of patches from those of their voxels."""
    total = np.zeros((count, SUMS), np.int64)
    bounds = np.empty((count, 6), np.int64)
    bounds[:, :3] = 2 * HALF
    bounds[:, 3:] = -1
    mask = (1 << AXIS_BITS) - 1
    for i in range(len(patch)):
        p = patch[i]
        total[p] += sums[i]
        for axis in range(3):
            cell = keys[i] >> (AXIS_BITS * (2 - axis)) & mask
            bounds[p, axis] = min(bounds[p, axis], cell)
            bounds[p, axis + 3] = max(bounds[p, axis + 3], cell)
    return total, bounds


def patch_pairs(voxels: Voxels, patch: npt.NDArray[np.int32], count: int) -> Ints:
    """Pairs (E, 2), sorted, of patches that touch or share a cell 2**NEAR_SHIFT times as wide as a voxel.

    The wide cells bridge the gaps between far scan lines, where the voxels of one surface do not touch.
    """
    touching = _touching(patch, voxels.starts, voxels.neighbours, count)
    _, cell = np.unique(coarser(voxels.keys, NEAR_SHIFT), return_inverse=True)
    members = np.unique(cell.astype(np.int64) * count + patch)
    codes = np.unique(np.concatenate([touching, _sharing(members // count, members % count, count)]))
    return np.stack([codes // count, codes % count], axis=1)


@njit(cache=True, nogil=True)
def _touching(patch, starts, neighbours, count):  # type: ignore[no-untyped-def]
    codes = np.empty(len(neighbours), np.int64)
    used = 0
    for i in range(len(patch)):
        for e in range(starts[i], starts[i + 1]):
            a, b = np.int64(patch[i]), np.int64(patch[neighbours[e]])
            if a < b:
                codes[used] = a * count + b
                used += 1
    return codes[:used]


@njit(cache=True, nogil=True)
def _sharing(cells, patches, count):  # type: ignore[no-untyped-def]
    """Codes a·count + b, a < b, of all pairs within each run of equal `cells` (both sorted)."""
    total = 0
    start = 0
    for i in range(1, len(cells) + 1):
        if i == len(cells) or cells[i] != cells[start]:
            total += (i - start) * (i - start - 1) // 2
            start = i
    codes = np.empty(total, np.int64)
    used = 0
    start = 0
    for i in range(len(cells)):
        if cells[i] != cells[start]:
            start = i
        for j in range(start, i):
            codes[used] = patches[j] * count + patches[i]
            used += 1
    return codes
