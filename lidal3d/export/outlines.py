# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Outlines of a picture's parts along the edges of their pixels: filling one gives exactly the same pixels back."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Corner = tuple[int, int]  # column, row of a pixel's corner: (0, 0) is the picture's
Mask = npt.NDArray[np.bool_]


def outlines(mask: Mask) -> list[npt.NDArray[np.int64]]:
    """(K, 2) corners, column and row, of the polygon round each connected part of a mask (H, W), without repeating one.

    A hole is joined to the outside by a seam of no width, because labelling tools take polygons without holes.
    """
    from scipy.ndimage import find_objects, label

    parts, _ = label(mask)
    found = []
    for part, (rows, columns) in enumerate(find_objects(parts), start=1):
        outer, *holes = _loops(parts[rows, columns] == part)
        for hole in sorted(map(_from_leftmost, holes)):
            outer = _joined(outer, hole)
        found.append(_without_straight(outer) + np.array([columns.start, rows.start]))
    return found


def borders(mask: Mask) -> list[npt.NDArray[np.int64]]:
    """(K, 2) corners, column and row, of every closed border of a mask (H, W): round its parts, and round their holes."""
    return [_without_straight(loop) for loop in _loops(mask)]


def filled(polygon: npt.NDArray[np.floating], height: int, width: int) -> Mask:
    """(H, W) whether a pixel's centre lies in a polygon (K, 2) of columns and rows, by the even-odd rule.

    The inverse of `outlines`. Corners may lie outside the picture.
    """
    end = np.roll(polygon, -1, axis=0)
    down = polygon[:, 1] <= end[:, 1]
    (x0, y0), (x1, y1) = np.where(down[:, None], polygon, end).T, np.where(down[:, None], end, polygon).T
    # An edge crosses the rows with y0 <= row + 1/2 < y1: a corner on a centre line counts for one of its two edges.
    first, last = (np.clip(np.ceil(y - 0.5), 0, height).astype(np.int64) for y in (y0, y1))
    edge = np.repeat(np.arange(len(polygon)), last - first)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(last - first) - last, last - first)
    crossing = x0[edge] + (row + 0.5 - y0[edge]) * ((x1 - x0)[edge] / (y1 - y0)[edge])
    column = np.clip(np.ceil(crossing - 0.5), 0, width).astype(np.int64)
    changes = np.bincount(row * (width + 1) + column, minlength=height * (width + 1)).reshape(height, width + 1)
    return np.cumsum(changes[:, :width], axis=1) % 2 == 1


def mask_of(indices: npt.NDArray[np.integer], height: int, width: int) -> Mask:
    """(H, W) whether a pixel is one of a unit's, given by their places row by row."""
    mask = np.zeros(height * width, bool)
    mask[indices] = True
    return mask.reshape(height, width)


def at_centres(picture: npt.NDArray, width: int, height: int) -> npt.NDArray:
    """(height, width) values of a picture (H, W) at the centres of another size's pixels, larger or smaller."""
    row = ((np.arange(height) + 0.5) * picture.shape[0] / height).astype(np.int64)
    column = ((np.arange(width) + 0.5) * picture.shape[1] / width).astype(np.int64)
    return picture[row[:, None], column[None, :]]


def _loops(mask: Mask) -> list[list[Corner]]:
    """The closed ways along the edges with the part on the right: clockwise round it (first), the other way in holes.

    Where two of its pixels touch at a corner only, the way turns right and stays with the first.
    """
    ways = _edges(mask)
    loops = []
    while ways:
        start = corner = next(iter(ways))
        step = next(iter(ways[start]))
        loop = []
        while True:
            loop.append(corner)
            ways[corner].discard(step)
            if not ways[corner]:
                del ways[corner]
            corner = corner[0] + step[0], corner[1] + step[1]
            if corner == start:
                break
            right = -step[1], step[0]
            step = right if right in ways[corner] else next(iter(ways[corner]))
        loops.append(loop)
    return loops


def _edges(mask: Mask) -> dict[Corner, set[Corner]]:
    """From each corner on a border the steps along it; the first corner is the upper left one of the first pixel."""
    padded = np.pad(mask, 1)
    ways: dict[Corner, set[Corner]] = {}
    # The neighbour that must be outside, the corner that the edge starts at, and where it goes.
    sides = (((-1, 0), (0, 0), (1, 0)), ((0, 1), (1, 0), (0, 1)), ((1, 0), (1, 1), (-1, 0)), ((0, -1), (0, 1), (0, -1)))
    for (down, right), (x, y), step in sides:
        outside = ~padded[1 + down : padded.shape[0] - 1 + down, 1 + right : padded.shape[1] - 1 + right]
        for row, column in np.argwhere(mask & outside).tolist():
            ways.setdefault((column + x, row + y), set()).add(step)
    return ways


def _from_leftmost(loop: list[Corner]) -> list[Corner]:
    first = loop.index(min(loop))
    return loop[first:] + loop[:first]


def _joined(outer: list[Corner], hole: list[Corner]) -> list[Corner]:
    """The outer way with a detour to the hole, along the line to the left of the hole's leftmost corner.

    Holes must come from left to right: then what the line meets first is part of the way already.
    """
    places = {corner: place for place, corner in enumerate(outer)}
    column, row = hole[0]
    while (column, row) not in places:
        column -= 1
    place = places[column, row]
    return [*outer[: place + 1], *hole, hole[0], *outer[place:]]


def _without_straight(loop: list[Corner]) -> npt.NDArray[np.int64]:
    corners = np.array(loop, np.int64)
    before = np.sign(corners - np.roll(corners, 1, axis=0))
    after = np.sign(np.roll(corners, -1, axis=0) - corners)
    return corners[(before != after).any(axis=1)]
