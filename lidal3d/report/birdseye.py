# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Bird's-eye crops round a unit: its divergence, and what the model says there in this and in neighbour frames."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from lidal3d.report.colors import UNMATCHED, Rgb, dimmed, greys, ramp, readable
from lidal3d.report.raster import Crop, palette_png, point_size, splat

GREYS, RAMP = 24, 96
CROP_PIXELS = 400
VOXEL_M = 0.5

Xyz = npt.NDArray[np.floating]


def crop_around(region_xyz: Xyz, edge_m: float, largest_m: float = 100.0) -> Crop:
    """The square that shows a region: `edge_m`, or more where the region is larger (98 % of its points)."""
    if not len(region_xyz):
        return Crop((0.0, 0.0), edge_m, CROP_PIXELS)
    low, high = np.quantile(region_xyz[:, :2], (0.01, 0.99), axis=0)
    edge = float(np.clip(1.8 * (high - low).max(), edge_m, max(largest_m, edge_m)))
    middle = (low + high) / 2
    return Crop((float(middle[0]), float(middle[1])), edge, CROP_PIXELS)


def divergence_picture(crop: Crop, xyz: Xyz, is_region: npt.NDArray[np.bool_], value: npt.NDArray[np.floating] | None,
                       largest: float) -> str:  # fmt: skip
    """The sweep in grey by height, the region coloured by `value` from 0 to `largest` (NaN: no neighbour saw it).

    Args:
        xyz: (N, 3) points in the frame of the crop.
        is_region: (N,) whether a point is in the asked region.
        value: (N,) divergence, or None to colour the whole region alike.
    """
    place = 1 + _grey_by_height(xyz[:, 2], xyz[is_region, 2])
    if value is None:
        place[is_region] = GREYS + RAMP
    else:
        share = np.clip(np.nan_to_num(value[is_region] / max(largest, 1e-12)), 0, 1)
        place[is_region] = np.where(np.isnan(value[is_region]), GREYS + RAMP + 1, 1 + GREYS + share * (RAMP - 1))
    palette = np.concatenate([greys(GREYS), ramp(RAMP), [UNMATCHED]]).astype(np.uint8)
    return palette_png(_draw(crop, xyz, is_region, place), palette)


def class_picture(crop: Crop, xyz: Xyz, is_region: npt.NDArray[np.bool_], classes: npt.NDArray[np.integer],
                  colors: Sequence[Sequence[int]]) -> str:  # fmt: skip
    """The sweep in faded class colours, the region in full ones.

    Args:
        classes: (N,) class of each point, below C; anything else is drawn grey.
        colors: C class colours.
    """
    bright = np.concatenate([readable(colors), [[120, 120, 120]]]).astype(np.uint8)
    count = len(colors)
    known = np.minimum(classes.astype(np.int64), count)
    place = 1 + known + np.where(is_region, 0, count + 1)
    return palette_png(_draw(crop, xyz, is_region, place), _both(bright))


def region_in(xyz: Xyz, region_xyz: Xyz) -> npt.NDArray[np.bool_]:
    """(N,) whether points of another sweep, registered into the region's frame, lie where the region does.

    That is: in one of the region's voxels of 0.5 m, or in a neighbour of one.
    """
    if not len(region_xyz):
        return np.zeros(len(xyz), dtype=bool)
    shifts = np.stack(np.meshgrid(*[np.arange(-1, 2)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    own = np.unique(np.floor(region_xyz / VOXEL_M).astype(np.int64), axis=0)
    wanted = np.unique(_keys((own[:, None] + shifts).reshape(-1, 3)))
    return np.isin(_keys(np.floor(xyz / VOXEL_M).astype(np.int64)), wanted)


def _keys(voxels: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    # 21 bits an axis: ±500 km at 0.5 m, so no two voxels share a key.
    shifted = voxels + (1 << 20)
    return (shifted[:, 0] << 42) | (shifted[:, 1] << 21) | shifted[:, 2]


def _both(bright: Rgb) -> Rgb:
    return np.concatenate([bright, dimmed(bright)])


def _grey_by_height(z: npt.NDArray[np.floating], region_z: npt.NDArray[np.floating]) -> npt.NDArray[np.int64]:
    middle = float(np.median(region_z)) if len(region_z) else 0.0
    return np.clip((z - middle + 3) / 6 * GREYS, 0, GREYS - 1).astype(np.int64)


def _draw(
    crop: Crop, xyz: Xyz, is_region: npt.NDArray[np.bool_], place: npt.NDArray[np.integer]
) -> npt.NDArray[np.uint8]:
    canvas = np.zeros((crop.pixels, crop.pixels), dtype=np.uint8)
    for chosen, size in ((~is_region, 3), (is_region, _region_point_size(crop, xyz[is_region]))):
        order = np.flatnonzero(chosen)
        # Low points first: what is on top covers what is below, as seen from above.
        order = order[np.argsort(xyz[order, 2], kind="stable")]
        splat(canvas, crop.to_pixels(xyz[order]), place[order], size)
    return canvas


def _region_point_size(crop: Crop, region_xyz: Xyz) -> int:
    if len(region_xyz) < 3:
        return 4
    cells = np.unique(np.floor(region_xyz[:, :2] / VOXEL_M).astype(np.int64), axis=0)
    return point_size(len(region_xyz), len(cells) * VOXEL_M**2, crop.pixels_per_m)
