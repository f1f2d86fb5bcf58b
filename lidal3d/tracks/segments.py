# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Segments of one sweep: what stands on the ground, put together by touch, with no idea of classes.

Points that are not ground fall into voxels that widen with range (`lidal3d.units.voxels`); touching voxels are one
segment. What is wider than any vehicle is a wall, a hedge or a row of things: it is cut along tiles of the scene's own
frame, which stand still while the sensor moves.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit

from lidal3d.scene.pose import transform
from lidal3d.settings.tracks import TracksConfig
from lidal3d.tracks.ground import is_ground
from lidal3d.units.disjoint import close_ranks, root_of
from lidal3d.units.points import finite_xyz
from lidal3d.units.voxels import voxelise

DOUBLING_M = 5.0  # range at which voxels have grown by the square root of two, as those of supervoxels
NO_TILE = -1
_TILE_BITS, _TILE_HALF = 24, 1 << 23

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Segments:
    """S segments of a sweep of N points, in the order of their first point.

    Attributes:
        of_point: (N,) int32 segment of each point, −1 for ground and for what is too small.
        points: (S,) int64.
        low_m, high_m: (S, 3) corners of the box around a segment, along the axes of the scene's frame.
        center_m: (S, 3) mean of its points in the scene's frame.
        tile: (S,) int64 number of the tile that a piece of something wide lies in, −1 for whole segments.
    """

    of_point: npt.NDArray[np.int32]
    points: npt.NDArray[np.int64]
    low_m: Float64
    high_m: Float64
    center_m: Float64
    tile: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.points)


@dataclass(frozen=True)
class Standing:
    """The K points of a sweep that are not ground, in parts that may still be too small.

    Attributes:
        of_sweep: N, how many points the sweep has.
        rows: (K,) which of them these are, ascending.
        xyz_scene: (K, 3) in the scene's frame.
        part: (K,) int32 part of each.
        tile: (P,) int64 of each part, as in `Segments`.
    """

    of_sweep: int
    rows: npt.NDArray[np.int64]
    xyz_scene: Float64
    part: npt.NDArray[np.int32]
    tile: npt.NDArray[np.int64]


def standing_parts(points: npt.NDArray[np.float32], scene_SE3_lidar: Float64, config: TracksConfig) -> Standing:
    """What of a sweep of points (N, 3 or more) in the sensor's frame, metres, stands on the ground, part by part.

    Raises:
        DataError: coordinates that are not finite.
    """
    xyz = finite_xyz(points)
    rows = np.flatnonzero(~is_ground(xyz, config))
    xyz_scene = transform(scene_SE3_lidar, xyz[rows])
    part, tile = _cut_wide(_touching(xyz[rows], config.voxel_m), xyz_scene, config)
    return Standing(len(xyz), rows, xyz_scene, part, tile)


def segments_of(standing: Standing, min_points: int) -> Segments:
    """The parts with enough points."""
    large = np.bincount(standing.part, minlength=len(standing.tile)) >= min_points
    number = np.where(large, np.cumsum(large) - 1, -1).astype(np.int32)
    of_point = np.full(standing.of_sweep, -1, np.int32)
    of_point[standing.rows] = segment = number[standing.part]
    kept = segment >= 0
    count, low, high, total = boxes(segment[kept], standing.xyz_scene[kept], int(large.sum()))
    return Segments(of_point, count, low, high, total / count[:, None], standing.tile[large])


def _touching(xyz: Float64, voxel_m: float) -> npt.NDArray[np.int32]:
    """(K,) component of each point among touching voxels, numbered in the order of the first point of each."""
    voxels = voxelise(xyz, np.zeros(len(xyz), np.int64), voxel_m, DOUBLING_M)
    return close_ranks(_components(voxels.starts, voxels.neighbours)[voxels.point_voxel])[0]


@njit(cache=True, nogil=True)
def _components(starts, neighbours):  # type: ignore[no-untyped-def]
    """The least voxel of the component of every voxel, by union-find with path halving."""
    parent = np.arange(len(starts) - 1, dtype=np.int32)
    for a in range(len(parent)):
        for e in range(starts[a], starts[a + 1]):
            root, other = root_of(parent, a), root_of(parent, neighbours[e])
            if root < other:
                parent[other] = root
            elif other < root:
                parent[root] = other
    for a in range(len(parent)):
        parent[a] = root_of(parent, a)
    return parent


def _cut_wide(
    segment: npt.NDArray[np.int32], xyz_scene: Float64, config: TracksConfig
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """Segment of each point (K,) with wide ones cut, in the order of first points, and the tile of each segment (S,)."""
    _, low, high, _ = boxes(segment, xyz_scene, int(segment.max(initial=-1)) + 1)
    wide = (high - low)[:, :2].max(axis=1, initial=0) > config.widest_m
    place = np.floor(xyz_scene[:, :2] / config.tile_m).astype(np.int64) + _TILE_HALF
    tile = np.where(wide[segment], place[:, 0] << _TILE_BITS | place[:, 1], NO_TILE)
    # All wide things of a tile are one: two walls of a corner part and meet again as the sensor moves.
    keys = np.where(tile == NO_TILE, -1 - segment.astype(np.int64), tile)
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int32)
    rank[np.argsort(first)] = np.arange(len(first), dtype=np.int32)
    return rank[inverse], tile[np.sort(first)]


@njit(cache=True, nogil=True)
def boxes(segment, xyz, segments):  # type: ignore[no-untyped-def]
    """Points (S,), lower and upper corners (S, 3), sums (S, 3) of each segment."""
    count = np.zeros(segments, np.int64)
    low = np.full((segments, 3), np.inf)
    high = np.full((segments, 3), -np.inf)
    total = np.zeros((segments, 3))
    for i in range(len(segment)):
        s = segment[i]
        count[s] += 1
        for axis in range(3):
            value = xyz[i, axis]
            low[s, axis] = min(low[s, axis], value)
            high[s, axis] = max(high[s, axis], value)
            total[s, axis] += value
    return count, low, high, total
