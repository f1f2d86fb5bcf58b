# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Ground removal on a polar grid: in every sector the ground is walked outwards, and may only rise or fall so much.

A cell is a sector of 3 degrees and a ring whose width grows with range, 0.5 m at the sensor and 2.5 m at 40 m. Its lowest
point is ground where it lies near what the cells further in let expect; elsewhere (a car hides the road, a stray echo lies
below it) the ground of the cells further in goes on.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from lidal3d.settings.tracks import TracksConfig

SECTORS = 120
RING_M, RINGS_A_FOLD = 10.0, 20.0  # ring = 20 ln(1 + r / 10 m)
RINGS = 64  # the last one begins at 223 m and has no end
NEAR_M = 20.0  # the sensor's height is read off the cells up to here
BIN_M, LOWEST_M, BINS = 0.1, -8.0, 160
MOST_STEP_M = 0.8  # however long nothing was seen

Bools = npt.NDArray[np.bool_]


def is_ground(xyz: npt.NDArray[np.floating], config: TracksConfig) -> Bools:
    """(N,) whether points (N, 3 or more) in the sensor's frame, metres, lie on the ground or below it."""
    cell, lowest = _lowest_points(xyz)
    walked = _walk(lowest, _height_below_sensor(lowest), config.ground_slope, config.ground_step_m)
    return _at_most_above(xyz, cell, walked, config.ground_height_m)


@njit(cache=True, nogil=True)
def _lowest_points(xyz):  # type: ignore[no-untyped-def]
    """Cell of each point (N,), and the lowest z of each cell (SECTORS, RINGS), inf where it has none."""
    cell = np.empty(len(xyz), np.int32)
    lowest = np.full(SECTORS * RINGS, np.inf)
    for i in range(len(xyz)):
        x, y = xyz[i, 0], xyz[i, 1]
        ring = min(int(RINGS_A_FOLD * np.log(1.0 + np.sqrt(x * x + y * y) / RING_M)), RINGS - 1)
        sector = min(int((np.arctan2(y, x) / (2 * np.pi) + 0.5) * SECTORS), SECTORS - 1)
        cell[i] = sector * RINGS + ring
        lowest[cell[i]] = min(lowest[cell[i]], xyz[i, 2])
    return cell, lowest.reshape(SECTORS, RINGS)


@njit(cache=True, nogil=True)
def _height_below_sensor(lowest):  # type: ignore[no-untyped-def]
    """The commonest height of the lowest points of near cells: the road that the vehicle stands on."""
    votes = np.zeros(BINS, np.int64)
    rings = int(RINGS_A_FOLD * np.log(1.0 + NEAR_M / RING_M))
    for sector in range(SECTORS):
        for ring in range(rings):
            if np.isfinite(lowest[sector, ring]):
                place = int((lowest[sector, ring] - LOWEST_M) / BIN_M)
                if 0 <= place < BINS:
                    votes[place] += 1
    # Two bins together, so that a height on their border counts whole.
    best, most = 0, -1
    for place in range(BINS - 1):
        if votes[place] + votes[place + 1] > most:
            best, most = place, votes[place] + votes[place + 1]
    return LOWEST_M + BIN_M * (best + 1)


@njit(cache=True, nogil=True)
def _walk(lowest, start_m, slope, step_m):  # type: ignore[no-untyped-def]
    """Height of the ground (SECTORS, RINGS)."""
    ground = np.empty((SECTORS, RINGS))
    for sector in range(SECTORS):
        height, seen_at_m = start_m, 0.0
        for ring in range(RINGS):
            middle_m = RING_M * (np.exp((ring + 0.5) / RINGS_A_FOLD) - 1.0)
            allowed = min(step_m + slope * (middle_m - seen_at_m), MOST_STEP_M)
            if abs(lowest[sector, ring] - height) <= allowed:
                height, seen_at_m = lowest[sector, ring], middle_m
            ground[sector, ring] = height
    return ground


@njit(cache=True, nogil=True)
def _at_most_above(xyz, cell, ground, height_m):  # type: ignore[no-untyped-def]
    result = np.empty(len(xyz), np.bool_)
    flat = ground.ravel()
    for i in range(len(xyz)):
        result[i] = xyz[i, 2] - flat[cell[i]] <= height_m
    return result
