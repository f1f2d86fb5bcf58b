# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Known things are cut out of parts that have swallowed them: a car that touches a hedge today was a car before.

A part has swallowed a track where most of the box in which the track should be now lies in the part's box. A part that
swallowed two or more, or a tile that swallowed any, gives up the points in those boxes; each becomes a part of its own.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
from numba import njit

from lidal3d.tracks.segments import NO_TILE, Standing, boxes

Float64 = npt.NDArray[np.float64]

MOSTLY = 0.7
MARGIN_M = 0.25  # more of the thing may have come into view
THINNEST_M = 0.3  # a box is at least as thick, so that flat ones have a volume


def carve(standing: Standing, low_m: Float64, high_m: Float64) -> Standing:
    """Cut swallowed things out.

    Args:
        low_m, high_m: (T, 3) corners of the boxes in which known tracks should be, in the scene's frame.
    """
    if not len(low_m) or not len(standing.tile):
        return standing
    _, part_low, part_high, _ = boxes(standing.part, standing.xyz_scene, len(standing.tile))
    swallowed = share_inside(part_low, part_high, low_m, high_m) >= MOSTLY
    swallowed[(swallowed.sum(axis=1) < 2) & (standing.tile == NO_TILE)] = False
    if not swallowed.any():
        return standing
    smallest_first = np.argsort(_volume(high_m - low_m), kind="stable")
    part, box = np.nonzero(swallowed[:, smallest_first])
    starts = np.searchsorted(part, np.arange(len(standing.tile) + 1))
    box = smallest_first[box]
    cut = _cut_out(standing.part, standing.xyz_scene, starts, low_m[box] - MARGIN_M, high_m[box] + MARGIN_M)
    return replace(standing, part=cut, tile=np.append(standing.tile, np.full(len(box), NO_TILE)))


def _volume(size_m: Float64) -> Float64:
    return np.maximum(size_m, THINNEST_M).prod(axis=-1)


def share_inside(outer_low_m: Float64, outer_high_m: Float64, low_m: Float64, high_m: Float64) -> Float64:
    """(P, T) share of each of T boxes that lies in each of P others; corners (P, 3) and (T, 3)."""
    grown = 0.5 * np.maximum(THINNEST_M - (high_m - low_m), 0)
    low_m, high_m = low_m - grown, high_m + grown
    common = np.minimum(outer_high_m[:, None], high_m) - np.maximum(outer_low_m[:, None], low_m)
    return np.maximum(common, 0).prod(axis=2) / (high_m - low_m).prod(axis=1)


@njit(cache=True, nogil=True)
def _cut_out(part, xyz, starts, low, high):  # type: ignore[no-untyped-def]
    """Part of each point, where box e of starts[p] … starts[p + 1] − 1 of part p is the part after all others, plus e."""
    result = part.copy()
    parts = len(starts) - 1
    for i in range(len(part)):
        for e in range(starts[part[i]], starts[part[i] + 1]):
            inside = True
            for axis in range(3):
                inside = inside and low[e, axis] <= xyz[i, axis] <= high[e, axis]
            if inside:
                result[i] = parts + e
                break
    return result
