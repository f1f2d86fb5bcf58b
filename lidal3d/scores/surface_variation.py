# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""ReDAL's structural cue (ICCV 2021): how little a point's surroundings are a plane."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from lidal3d.units.surface import eigenvalues

NEIGHBOURS = 50
CLIP = 0.1
_CHUNK = 16_384  # points whose neighbours are held at a time


def surface_variation(
    xyz: npt.NDArray[np.floating], neighbours: int = NEIGHBOURS, clip: float = CLIP
) -> npt.NDArray[np.float64]:
    """V = λ_min / (λ1 + λ2 + λ3) of the covariance of a point's nearest neighbours, itself included, at most `clip`.

    Args:
        xyz: (N, 3) metres; a sweep with fewer points takes all as neighbours.
        neighbours: how many; ReDAL takes 50.
        clip: the largest value; ReDAL clips at 0.1 on SemanticKITTI.

    Returns:
        (N,) float64 in [0, clip]; 0 where all neighbours are one place.
    """
    from scipy.spatial import cKDTree

    places = np.ascontiguousarray(xyz, np.float64)
    result = np.empty(len(places))
    if not len(places):
        return result
    tree = cKDTree(places)
    wanted = min(neighbours, len(places))
    # In the order of the tree's leaves neighbours are asked about one after another: half as long again otherwise.
    order = tree.indices
    for first in range(0, len(places), _CHUNK):
        part = order[first : first + _CHUNK]
        _, found = tree.query(places[part], k=wanted)
        result[part] = _variation(places, found.reshape(-1, wanted))
    return np.minimum(result, clip)


@njit(cache=True, nogil=True)
def _variation(places, found):  # type: ignore[no-untyped-def]
    result = np.zeros(len(found))
    count = found.shape[1]
    for i in range(len(found)):
        # Two passes: squares of coordinates far from the sensor would drown a thin surface.
        x = y = z = 0.0
        for j in found[i]:
            x, y, z = x + places[j, 0], y + places[j, 1], z + places[j, 2]
        x, y, z = x / count, y / count, z / count
        xx = xy = xz = yy = yz = zz = 0.0
        for j in found[i]:
            dx, dy, dz = places[j, 0] - x, places[j, 1] - y, places[j, 2] - z
            xx, xy, xz = xx + dx * dx, xy + dx * dy, xz + dx * dz
            yy, yz, zz = yy + dy * dy, yz + dy * dz, zz + dz * dz
        trace = xx + yy + zz
        if trace > 0:
            result[i] = max(eigenvalues(xx, xy, xz, yy, yz, zz)[0], 0.0) / trace
    return result
