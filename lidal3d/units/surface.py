# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Local surfaces from sums of points: covariance, its smallest eigenvalue and the normal, without libm.

Only + - * / and sqrt are used, which IEEE 754 rounds correctly: the numbers are the same on every machine.
"""

from __future__ import annotations

import numpy as np
from numba import njit

NEWTON_STEPS = 30


@njit(cache=True, nogil=True, inline="always")
def covariance(sums):  # type: ignore[no-untyped-def]
    """Covariance (xx, xy, xz, yy, yz, zz) from sums (count, x, y, z, xx, xy, xz, yy, yz, zz, …), squared unit."""
    n = sums[0]
    x, y, z = sums[1] / n, sums[2] / n, sums[3] / n
    return (
        max(sums[4] / n - x * x, 0.0),
        sums[5] / n - x * y,
        sums[6] / n - x * z,
        max(sums[7] / n - y * y, 0.0),
        sums[8] / n - y * z,
        max(sums[9] / n - z * z, 0.0),
    )


@njit(cache=True, nogil=True)
def eigenvalues(xx, xy, xz, yy, yz, zz):  # type: ignore[no-untyped-def]
    """Eigenvalues, ascending, of a positive semi-definite symmetric 3×3 matrix.

    Newton's iteration on the characteristic polynomial from 0 climbs to the smallest root without passing it; the
    other two solve the remaining quadratic.
    """
    trace = xx + yy + zz
    if trace <= 0.0:
        return 0.0, 0.0, 0.0
    minors = xx * yy - xy * xy + xx * zz - xz * xz + yy * zz - yz * yz
    determinant = xx * (yy * zz - yz * yz) - xy * (xy * zz - yz * xz) + xz * (xy * yz - yy * xz)
    smallest = 0.0
    for _ in range(NEWTON_STEPS):
        value = ((smallest - trace) * smallest + minors) * smallest - determinant
        slope = (3.0 * smallest - 2.0 * trace) * smallest + minors
        if slope <= 0.0 or value >= 0.0:
            break
        step = -value / slope
        smallest += step
        if step <= 1e-7 * trace:
            break
    total = trace - smallest
    product = minors - smallest * total
    root = np.sqrt(max(0.25 * total * total - product, 0.0))
    return smallest, max(0.5 * total - root, smallest), 0.5 * total + root


@njit(cache=True, nogil=True)
def normal(xx, xy, xz, yy, yz, zz, smallest):  # type: ignore[no-untyped-def]
    """Unit eigenvector of the smallest eigenvalue (up to sign), or zeros where no direction stands out."""
    a, b, c = xx - smallest, yy - smallest, zz - smallest
    u0, u1, u2 = xy * yz - xz * b, xz * xy - a * yz, a * b - xy * xy
    v0, v1, v2 = xy * c - xz * yz, xz * xz - a * c, a * yz - xy * xz
    w0, w1, w2 = b * c - yz * yz, yz * xz - xy * c, xy * yz - b * xz
    nu, nv, nw = u0 * u0 + u1 * u1 + u2 * u2, v0 * v0 + v1 * v1 + v2 * v2, w0 * w0 + w1 * w1 + w2 * w2
    if nv > nu and nv >= nw:
        u0, u1, u2, nu = v0, v1, v2, nv
    elif nw > nu:
        u0, u1, u2, nu = w0, w1, w2, nw
    if nu <= 0.0:
        return 0.0, 0.0, 0.0
    length = np.sqrt(nu)
    return u0 / length, u1 / length, u2 / length


@njit(cache=True, nogil=True)
def voxel_surfaces(sums, starts, neighbours):  # type: ignore[no-untyped-def]
    """Normals (V, 3) and planarity (V,) in [0, 1] of voxels, from their own and their neighbours' points together.

    Planarity is 1 - sqrt(l1 / l2) of the eigenvalues l1 <= l2 <= l3: 1 on a plane, 0 on a line or in a bush.
    """
    normals = np.zeros((len(sums), 3))
    planarity = np.zeros(len(sums))
    pooled = np.empty(10)
    for i in range(len(sums)):
        ox, oy, oz = sums[i, 1] / sums[i, 0], sums[i, 2] / sums[i, 0], sums[i, 3] / sums[i, 0]
        pooled[:] = 0.0
        _add_moved(pooled, sums[i], ox, oy, oz)
        for e in range(starts[i], starts[i + 1]):
            _add_moved(pooled, sums[neighbours[e]], ox, oy, oz)
        xx, xy, xz, yy, yz, zz = covariance(pooled)
        low, middle, _ = eigenvalues(xx, xy, xz, yy, yz, zz)
        if pooled[0] >= 4 and middle > 0.0:
            normals[i, 0], normals[i, 1], normals[i, 2] = normal(xx, xy, xz, yy, yz, zz, low)
            planarity[i] = 1.0 - np.sqrt(max(low, 0.0) / middle)
    return normals, planarity


@njit(cache=True, nogil=True, inline="always")
def _add_moved(pooled, sums, ox, oy, oz):  # type: ignore[no-untyped-def]
    """Add a voxel's sums to `pooled` with the origin moved to (ox, oy, oz)."""
    n = float(sums[0])
    sx, sy, sz = sums[1] - n * ox, sums[2] - n * oy, sums[3] - n * oz
    pooled[0] += n
    pooled[1] += sx
    pooled[2] += sy
    pooled[3] += sz
    pooled[4] += sums[4] - ox * (sums[1] + sx)
    pooled[5] += sums[5] - ox * sums[2] - oy * sx
    pooled[6] += sums[6] - ox * sums[3] - oz * sx
    pooled[7] += sums[7] - oy * (sums[2] + sy)
    pooled[8] += sums[8] - oy * sums[3] - oz * sy
    pooled[9] += sums[9] - oz * (sums[3] + sz)
