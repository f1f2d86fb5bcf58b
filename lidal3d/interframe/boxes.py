# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""LiDAL's idea for boxes: does the detector say the same of a place in the frames around?

This is this package's, not the paper's: LiDAL (Hu et al., ECCV 2022) compares points. A box's centre is carried to each
neighbour frame by the poses, as if the object stood still, and compared with the nearest box there, of any class, up to
`match_m`. With P_0 the box's distribution, P_j those of the matched boxes in the frames j ∈ M, and V the neighbour
frames in which the place is in view (M among them):

    divergence   1/|M| · Σ_{j ∈ M} KL(P_0 + ε ‖ P_j + ε)      NaN where M is empty
    entropy      H( (P_0 + Σ_{j ∈ M} P_j) / (1 + |M|) )       nats
    coverage     |M| / |V|                                    0 where V is empty: unknown, not certain
    missed       1 − |M| / |V|                                NaN where V is empty; a detector that flickers

What moves faster than `match_m` in the time between two frames looks missed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lidal3d.interframe.measure import divergence, entropy
from lidal3d.scene.pose import Float64, transform

UNMATCHED = -1
COLUMNS = ("divergence", "divergence_paper", "entropy", "entropy_unmatched", "coverage", "missed", "matches")


@dataclass(frozen=True)
class View:
    """Where a detector looks, in lidar coordinates: a circle of `radius_m`, or the rectangle where there is one."""

    radius_m: float
    rectangle_m: tuple[float, float, float, float] | None = None

    def holds(self, xyz: npt.NDArray[np.floating]) -> npt.NDArray[np.bool_]:
        """(B,) whether places (B, 3) are in view, the border included."""
        if self.rectangle_m is None:
            return np.linalg.norm(xyz[:, :2], axis=1) <= self.radius_m
        x_min, y_min, x_max, y_max = self.rectangle_m
        inside_x = (xyz[:, 0] >= x_min) & (xyz[:, 0] <= x_max)
        return inside_x & (xyz[:, 1] >= y_min) & (xyz[:, 1] <= y_max)


@dataclass(frozen=True)
class PlacedBoxes:
    """The boxes of one frame: distributions (B, K), centres (B, 3) in the scene's frame, and the frame's pose (4, 4)."""

    distribution: npt.NDArray[np.floating]
    center_m: Float64
    scene_SE3_lidar: Float64


def nearest_boxes(center_m: Float64, other_center_m: Float64, match_m: float) -> npt.NDArray[np.int64]:
    """For each centre (B, 3) the nearest of others (K, 3), the first of equally near ones, or −1 beyond `match_m`."""
    if not len(other_center_m):
        return np.full(len(center_m), UNMATCHED, np.int64)
    squared = ((center_m[:, None] - other_center_m) ** 2).sum(axis=2)
    nearest = squared.argmin(axis=1)
    near = squared[np.arange(len(center_m)), nearest] <= match_m**2
    return np.where(near, nearest, UNMATCHED)


def compare_boxes(
    own: PlacedBoxes, neighbours: Sequence[PlacedBoxes], view: View, match_m: float, epsilon: float
) -> dict[str, Float64]:
    """Score columns (B,) of the boxes of one frame by COLUMNS; `divergence_paper` counts a frame without match as 0.

    Args:
        neighbours: the frames around, those without a box too.
        view: where the detector looks.
        match_m: metres between the centres of two boxes that are taken for the same object.
        epsilon: added to every probability in the divergence.
    """
    boxes = len(own.center_m)
    total_divergence, matches, seen = np.zeros(boxes), np.zeros(boxes), np.zeros(boxes)
    total = own.distribution.astype(np.float64)
    for other in neighbours:
        place = nearest_boxes(own.center_m, other.center_m, match_m)
        lidar_xyz = (own.center_m - other.scene_SE3_lidar[:3, 3]) @ other.scene_SE3_lidar[:3, :3]
        matched = np.flatnonzero(place != UNMATCHED)
        theirs = other.distribution[place[matched]].astype(np.float64)
        total_divergence[matched] += divergence(own.distribution[matched].astype(np.float64), theirs, epsilon)
        total[matched] += theirs
        matches[matched] += 1
        seen += (place != UNMATCHED) | view.holds(lidar_xyz)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = matches / seen
        return {
            "divergence": total_divergence / matches,
            "divergence_paper": np.where(seen > 0, total_divergence / seen, 0.0),
            "entropy": entropy(total / (1 + matches)[:, None]),
            "entropy_unmatched": np.where(share == 1, np.nan, entropy(own.distribution.astype(np.float64))),
            "coverage": np.where(seen > 0, share, 0.0),
            "missed": 1 - share,
            "matches": matches,
        }


def placed(distribution: npt.NDArray[np.floating], boxes: npt.NDArray[np.floating], pose: Float64) -> PlacedBoxes:
    """Boxes (B, 7) of a frame with the given scene_SE3_lidar."""
    return PlacedBoxes(distribution, transform(pose, boxes[:, :3]), pose)
