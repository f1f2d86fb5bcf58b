# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""The order in which CPython walks a set of small integers, in numba, so that LiDAL's released loop can be repeated.

That loop swaps a candidate for "the first" chosen region too close to it, in the order of a Python set of region ids.
The order is that of an open-addressing table: an id starts at its low bits, ten neighbouring slots are tried, then the
place is perturbed; the table grows fourfold when it is three fifths full; an id that is taken out leaves a mark which
is filled again by a later id that passes it. This is so in CPython 3.11, and the tests check it against real sets; an
interpreter that walks its sets otherwise would give the released code itself other results.
"""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

EMPTY = -1
REMOVED = -2
_SMALLEST = 8
_NEIGHBOURS = 9
_PERTURB_SHIFT = 5

Table = npt.NDArray[np.int64]


@numba.njit(cache=True)
def new_table() -> Table:
    """The table of an empty set."""
    return np.full(_SMALLEST, EMPTY, np.int64)


@numba.njit(cache=True)
def place(table: Table, key: int) -> int:
    """Where `key` (0 or more) stands in the table: walking a set is walking these places upwards."""
    return _probe(table, key)[0]


@numba.njit(cache=True)
def _probe(table: Table, key: int) -> tuple[int, int]:
    mask = len(table) - 1
    start, perturb, removed = key & mask, key, -1
    while True:
        end = start + _NEIGHBOURS if start + _NEIGHBOURS <= mask else start
        for slot in range(start, end + 1):
            if table[slot] == key or table[slot] == EMPTY:
                return slot, removed
            if table[slot] == REMOVED:
                removed = slot
        perturb >>= _PERTURB_SHIFT
        start = (start * 5 + 1 + perturb) & mask


@numba.njit(cache=True)
def add(table: Table, filled: int, used: int, key: int) -> tuple[Table, int, int]:
    """The table, its filled slots and its members after adding a `key` that is not in it."""
    slot, removed = _probe(table, key)
    if removed >= 0:
        table[removed] = key
        return table, filled, used + 1
    table[slot] = key
    filled, used = filled + 1, used + 1
    if filled * 5 < (len(table) - 1) * 3:
        return table, filled, used
    return _grown(table, used), used, used


@numba.njit(cache=True)
def _grown(table: Table, used: int) -> Table:
    wanted = used * 2 if used > 50000 else used * 4
    size = _SMALLEST
    while size <= wanted:
        size *= 2
    larger = np.full(size, EMPTY, np.int64)
    for key in table:
        if key >= 0:
            larger[_probe(larger, key)[0]] = key
    return larger


@numba.njit(cache=True)
def remove(table: Table, key: int) -> None:
    """Take a member out; its slot stays marked."""
    table[_probe(table, key)[0]] = REMOVED
