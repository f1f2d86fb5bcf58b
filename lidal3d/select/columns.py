# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Which chosen units are near a place: a grid of columns as wide as the distance asked about, one grid a scene.

Two centres nearer than the column's edge lie in the same or in touching columns. Columns are numbered in the order of
(scene, x, y), so the three columns at one x are a contiguous run and nine columns are three runs.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from lidal3d.errors import DataError


class Columns(NamedTuple):
    """R units sorted into U columns.

    Attributes:
        column: (R,) int32, each unit's column.
        first, last: (U, 3) int32, the three runs [first, last) of columns round each column.
    """

    column: npt.NDArray[np.int32]
    first: npt.NDArray[np.int32]
    last: npt.NDArray[np.int32]


class Chosen(NamedTuple):
    """The chosen units as one linked list a column.

    Attributes:
        head: (U,) int32, the column's unit that was put in last, −1 for none.
        following: (R,) int32, the unit after it in its column's list, −1 at the end.
    """

    head: npt.NDArray[np.int32]
    following: npt.NDArray[np.int32]


def columns_of(scene: npt.NDArray[np.integer], center_m: npt.NDArray[np.float64], edge_m: float) -> Columns:
    """Sort units with centres (R, 3) in metres, in scenes (R,), into columns of `edge_m` metres.

    Raises:
        DataError: a centre that is not finite.
    """
    if not np.isfinite(center_m).all():
        row = int(np.flatnonzero(~np.isfinite(center_m).all(axis=1))[0])
        raise DataError(f"score table: the centre of row {row} is {center_m[row].tolist()}, not finite; score again")
    place = np.floor(center_m[:, :2] / edge_m).astype(np.int64)
    place -= place.min(axis=0, initial=np.iinfo(np.int64).max if len(place) else 0) - 1
    width = place.max(axis=0, initial=0) + 2  # an empty column on every side keeps rows and scenes apart
    key = (scene.astype(np.int64) * width[0] + place[:, 0]) * width[1] + place[:, 1]
    keys, column = np.unique(key, return_inverse=True)
    rows = np.stack([keys + step * width[1] for step in (-1, 0, 1)], axis=1)
    first = np.searchsorted(keys, rows - 1, side="left").astype(np.int32)
    last = np.searchsorted(keys, rows + 1, side="right").astype(np.int32)
    return Columns(column.astype(np.int32), first, last)


def none_chosen(columns: Columns) -> Chosen:
    """Empty lists."""
    return Chosen(np.full(len(columns.first), -1, np.int32), np.full(len(columns.column), -1, np.int32))


@numba.njit(cache=True)
def put(chosen: Chosen, columns: Columns, row: int) -> None:
    """Put a unit into its column's list."""
    column = columns.column[row]
    chosen.following[row] = chosen.head[column]
    chosen.head[column] = row


@numba.njit(cache=True)
def take_out(chosen: Chosen, columns: Columns, row: int) -> None:
    """Take a unit out of its column's list."""
    column = columns.column[row]
    if chosen.head[column] == row:
        chosen.head[column] = chosen.following[row]
        return
    other = chosen.head[column]
    while chosen.following[other] != row:
        other = chosen.following[other]
    chosen.following[other] = chosen.following[row]


@numba.njit(cache=True)
def near(
    chosen: Chosen,
    columns: Columns,
    center_m: npt.NDArray[np.float64],
    row: int,
    distance_m: float,
    found: npt.NDArray[np.int32],
) -> int:
    """Write the chosen units whose centre is less than `distance_m` from that of `row` to `found`; how many."""
    column, count = columns.column[row], 0
    for run in range(3):
        for other_column in range(columns.first[column, run], columns.last[column, run]):
            other = chosen.head[other_column]
            while other >= 0:
                dx = center_m[row, 0] - center_m[other, 0]
                dy = center_m[row, 1] - center_m[other, 1]
                dz = center_m[row, 2] - center_m[other, 2]
                if np.sqrt(dx * dx + dy * dy + dz * dz) < distance_m:
                    found[count] = other
                    count += 1
                other = chosen.following[other]
    return count


def near_any(
    scene: npt.NDArray[np.integer],
    center_m: npt.NDArray[np.float64],
    other_scene: npt.NDArray[np.integer],
    other_center_m: npt.NDArray[np.float64],
    distance_m: float,
) -> npt.NDArray[np.bool_]:
    """(R,) whether a centre is less than `distance_m` from any of the other centres (S, 3) of its scene."""
    from scipy.spatial import cKDTree

    result = np.zeros(len(scene), bool)
    for place in np.unique(other_scene):
        rows = np.flatnonzero(scene == place)
        distance, _ = cKDTree(other_center_m[other_scene == place]).query(center_m[rows])
        result[rows] = distance < distance_m
    return result
