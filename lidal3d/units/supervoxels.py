# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Supervoxels: regions of a sweep that follow surfaces, lidal3d's default units.

Points -> voxels that widen with range -> small patches along surfaces (geodesic Voronoi cells, as supervoxels of
Papon et al., Voxel Cloud Connectivity Segmentation, CVPR 2013, but seeded where the surface is not yet covered)
-> merges of the two most alike neighbours (in the spirit of Felzenszwalb and Huttenlocher, Efficient graph-based image
segmentation, IJCV 2004) -> regions too small to be worth a label join the nearest other.
Integer sums make the result independent of the order of the points.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from lidal3d.units.disjoint import close_ranks
from lidal3d.units.growing import edge_lengths, grow
from lidal3d.units.merging import Limits, merge
from lidal3d.units.patches import patch_pairs, patch_sums
from lidal3d.units.points import finite_xyz
from lidal3d.units.surface import voxel_surfaces
from lidal3d.units.voxels import Voxels, cells_per_metre, voxelise

DOUBLING_M = 5.0
PATCH_CELLS = 5.0
BRIGHTNESS_LEVELS = 1024

Ints = npt.NDArray[np.int64]
Ids = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Supervoxels:
    """The `supervoxels` partition; the ids do not depend on the order of the points.

    Attributes:
        voxel_m: edge of a voxel at the sensor, metres; it grows as sqrt(1 + range / 5 m).
        widest_m: largest edge of a supervoxel's bounding box at the sensor, metres; it grows likewise.
        merge_cost: merge neighbours up to this cost (lidal3d.units.merging); more gives fewer, larger units.
        min_points: a supervoxel with fewer points joins the nearest that has as many, unless that is `widest_m` away.
    """

    voxel_m: float = 0.2
    widest_m: float = 12.0
    merge_cost: float = 1.0
    min_points: int = 20
    kind: str = field(default="supervoxels", init=False)

    def __call__(self, points: npt.NDArray[np.float32]) -> Ids:
        """Unit ids (N,) of points (N, 3+); column 3, if any, is intensity in whatever unit.

        Raises:
            DataError: coordinates that are not finite.
        """
        xyz = finite_xyz(points)
        if len(xyz) == 0:
            return np.zeros(0, np.int32)
        voxels = voxelise(xyz, brightness(np.asarray(points)), self.voxel_m, DOUBLING_M)
        patch, count = self._patches(voxels)
        region = self._regions(voxels, patch, count)
        return region[voxels.point_voxel]

    def _patches(self, voxels: Voxels) -> tuple[Ids, int]:
        starts, neighbours = voxels.starts, voxels.neighbours
        normals, planarity = voxel_surfaces(voxels.sums, starts, neighbours)
        lengths = edge_lengths(voxels.sums, normals, planarity, starts, neighbours, self.voxel_m, DOUBLING_M)
        patch, count = grow(np.arange(len(voxels.keys)), starts, neighbours, lengths, np.float32(PATCH_CELLS))
        return patch, count

    def _regions(self, voxels: Voxels, patch: Ids, count: int) -> Ids:
        sums, bounds = patch_sums(voxels.sums, voxels.keys, patch, count)
        limits = Limits(self.widest_m / self.voxel_m, self.merge_cost, self.voxel_m, DOUBLING_M)
        region = merge(sums, bounds, patch_pairs(voxels, patch, count), limits)
        region = join_small(sums, region, self.min_points, self.voxel_m, limits.widest)
        ids, _ = close_ranks(region[patch])
        return ids


def brightness(points: npt.NDArray[np.floating]) -> Ints:
    """Intensity (N,) as integers 0 … 1024 between its 2nd and 98th percentile; 0 where there is none or it is NaN."""
    if points.shape[1] < 4 or len(points) == 0:
        return np.zeros(len(points), np.int64)
    intensity = np.nan_to_num(points[:, 3].astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    low_place, high_place = int(0.02 * (len(points) - 1)), int(0.98 * (len(points) - 1))
    ordered = np.partition(intensity, (low_place, high_place))
    low, high = float(ordered[low_place]), float(ordered[high_place])
    if high <= low:
        return np.zeros(len(points), np.int64)
    scaled = (intensity.astype(np.float64) - low) * (BRIGHTNESS_LEVELS / (high - low))
    return np.clip(scaled, 0, BRIGHTNESS_LEVELS).astype(np.int64)


def join_small(sums: Ints, region: Ints, min_points: int, voxel_m: float, reach_cells: float) -> Ints:
    """Regions (P,) of patches after those below `min_points` joined, patch by patch, the nearest larger region.

    Nearness is between the patches' centres in cells; one with no larger region within `reach_cells` stays as it is.
    """
    sizes = np.bincount(region, weights=sums[:, 0], minlength=len(region))
    small = sizes[region] < min_points
    if small.all() or not small.any():
        return region
    centers_m = 1e-3 * sums[:, 1:4] / sums[:, :1]
    cells = centers_m * cells_per_metre(np.sqrt((centers_m**2).sum(axis=1)), voxel_m, DOUBLING_M)[:, None]
    distance, nearest = cKDTree(cells[~small]).query(cells[small], distance_upper_bound=reach_cells)
    near = np.isfinite(distance)
    joined = region.copy()
    joined[np.flatnonzero(small)[near]] = region[~small][nearest[near]]
    return joined
