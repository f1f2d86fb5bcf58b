# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Exact nearest neighbour within a radius, between two sweeps that are sorted on the same grid."""

from __future__ import annotations

import math

import numba
import numpy as np
import numpy.typing as npt

from lidal3d.interframe.grid import ROW_STEP, SLAB_STEP, SweepGrid
from lidal3d.interframe.simd import LANES, nearest_in_blocks

UNMATCHED = -1
# Rows that a query may have to look at: three in y, in its own slab, the one below and the one above.
_MOST_ROWS = 9


def match(
    query: SweepGrid, reference: SweepGrid, radius_m: float, places: npt.NDArray[np.int32] | None = None
) -> npt.NDArray[np.int32]:
    """For each query point its nearest reference point, if that is no further than `radius_m`.

    Exact in float64; of two reference points whose squared distances agree to 2^-30 the one earlier in grid order
    (equal coordinates: the lower index) is taken.

    Args:
        query, reference: sweeps on the same grid, with cells at least `radius_m` wide.
        places: (N,) where to write the answer; made when not given.

    Returns:
        (N,) int32: for each place in the query's grid order a place in the reference's, or −1.
    """
    if places is None:
        places = np.empty(len(query), np.int32)
    places.fill(UNMATCHED)
    _match(
        query.x, query.y, query.z, query.key, query.start, query.row, query.row_start, query.reach,
        reference.x, reference.y, reference.z, reference.key, reference.start, reference.row, reference.row_start,
        radius_m, places,
    )  # fmt: skip
    return places


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _match(  # type: ignore[no-untyped-def]
    qx, qy, qz, query_key, query_start, query_row, query_row_start, reach,
    x, y, z, key, start, row, row_start,
    radius_m, places,
):  # fmt: skip
    bits = 1
    while (1 << bits) < len(x):
        bits += 1
    index_mask = np.int64((1 << bits) - 1)
    no_cell = len(start) - 1
    # Rows 0-2 lie in the query's own slab, 3-5 in the one below, 6-8 in the one above.
    row_shift = np.empty(_MOST_ROWS, np.int64)
    for t in range(_MOST_ROWS):
        row_shift[t] = (0, -1, 1)[t // 3] * (SLAB_STEP // ROW_STEP) + t % 3 - 1
    row_pointer = np.zeros(_MOST_ROWS, np.int64)
    cell_pointer = np.zeros(_MOST_ROWS, np.int64)
    blocks = np.zeros(len(x) // LANES + 4 * _MOST_ROWS, np.int32)
    for r in range(len(query_row) - 1):
        for t in range(_MOST_ROWS):
            wanted_row = query_row[r] + row_shift[t]
            p = row_pointer[t]
            while row[p] < wanted_row:
                p += 1
            row_pointer[t] = p
            cell_pointer[t] = row_start[p] if row[p] == wanted_row else no_cell
        for cell in range(query_row_start[r], query_row_start[r + 1]):
            count = 0
            for slab in range(1 if reach[cell] == 1 else 3):
                if not (reach[cell] >> slab) & 1:
                    continue
                for t in range(3 * slab, 3 * slab + 3):
                    wanted = query_key[cell] + row_shift[t] * ROW_STEP - 1
                    # The processor cannot guess how far to step or how long a run is, so the usual cases go without
                    # a branch: two steps, and two blocks, of which unused ones are overwritten by the next run.
                    p = cell_pointer[t]
                    p += key[p] < wanted
                    p += key[p] < wanted
                    while key[p] < wanted:
                        p += 1
                    cell_pointer[t] = p
                    last = p + (key[p] <= wanted + 2) + (key[p + 1] <= wanted + 2) + (key[p + 2] <= wanted + 2)
                    place, run_stop = start[p], start[last]
                    blocks[count] = place
                    blocks[count + 1] = place + LANES
                    length = (run_stop - place + LANES - 1) // LANES
                    for b in range(2, length):
                        blocks[count + b] = place + b * LANES
                    count += length
            if count == 0:
                continue
            for q in range(query_start[cell], query_start[cell + 1]):
                best = nearest_in_blocks(x, y, z, blocks, count, qx[q], qy[q], qz[q], index_mask) & index_mask
                squared = (x[best] - qx[q]) ** 2 + (y[best] - qy[q]) ** 2 + (z[best] - qz[q]) ** 2
                places[q] = best if math.sqrt(squared) <= radius_m else UNMATCHED
