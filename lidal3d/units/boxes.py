# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""The `box` units: a unit is one box that a detector found in one frame; its id is the box's row.

A point belongs to a box that holds it, faces and edges included; of several such boxes to the one with the highest
score, and of equal scores to the lowest id. A box may so have no point at all: it stays a unit of 0 points, which
`select` passes over, because its `min_points` is at least 1.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from numba import njit

from lidal3d.units.points import finite_xyz

KIND = "box"
NO_BOX = -1


def points_in_boxes(
    points: npt.ArrayLike, boxes: npt.NDArray[np.float32], score: npt.NDArray[np.floating]
) -> npt.NDArray[np.int32]:
    """The box of each point, or −1: |R(−yaw) (p − centre)| ≤ size / 2 on every axis, in float64.

    Args:
        points: (N, 3 or more) metres, in the frame of the boxes.
        boxes: (B, 7) x y z of the centre, length, width, height, yaw.
        score: (B,) of two boxes that hold a point the higher one has it, then the lower id.

    Raises:
        DataError: coordinates that are not finite.
    """
    order = np.lexsort((np.arange(len(boxes)), -np.asarray(score, np.float64)))
    return _first_box(finite_xyz(points), np.ascontiguousarray(boxes, np.float64), order)


@njit(cache=True, nogil=True)
def _first_box(xyz, boxes, order):  # type: ignore[no-untyped-def]
    result = np.full(len(xyz), NO_BOX, np.int32)
    for box in order:
        cosine, sine = np.cos(boxes[box, 6]), np.sin(boxes[box, 6])
        length, width, height = boxes[box, 3] / 2, boxes[box, 4] / 2, boxes[box, 5] / 2
        for i in range(len(xyz)):
            if result[i] != NO_BOX or abs(xyz[i, 2] - boxes[box, 2]) > height:
                continue
            x, y = xyz[i, 0] - boxes[box, 0], xyz[i, 1] - boxes[box, 1]
            if abs(x * cosine + y * sine) <= length and abs(y * cosine - x * sine) <= width:
                result[i] = box
    return result


def corners_of(box: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """The eight corners (8, 3) of a box (7,), the four of its floor first, each ring in the order of its outline."""
    x, y, z, length, width, height, yaw = np.asarray(box, np.float64)
    along = np.array([1, -1, -1, 1]) * length / 2
    across = np.array([1, 1, -1, -1]) * width / 2
    ring = np.stack([x + along * np.cos(yaw) - across * np.sin(yaw), y + along * np.sin(yaw) + across * np.cos(yaw)], 1)
    return np.vstack([np.column_stack([ring, np.full(4, z + side * height / 2)]) for side in (-1, 1)])


@dataclass(frozen=True)
class FrameBoxUnits:
    """The units of one frame: boxes (B, 7) and what decides between them (B,). A Partition, but for the −1 outside."""

    boxes: npt.NDArray[np.float32]
    score: npt.NDArray[np.float64]
    kind: str = field(default=KIND, init=False)

    def __call__(self, points: npt.NDArray[np.float32]) -> npt.NDArray[np.int32]:
        """The box (N,) of points (N, 3+), or −1. Raises DataError for coordinates that are not finite."""
        return points_in_boxes(points, self.boxes, self.score)
