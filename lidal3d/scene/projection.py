# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""LiDAR points in a camera's picture: where they fall, how far they are, and which of them something nearer hides."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from lidal3d.scene.pose import transform
from lidal3d.scene.scene import CameraImage

NEAREST_M = 0.5
# A LiDAR point stands for the patch of surface up to the next beam: a disc of this radius hides what is behind it …
SPLAT_M = 0.15
# … by more than this and this share of the distance: ground seen at a flat angle must not hide itself.
BEHIND_M, BEHIND_SHARE = 0.3, 0.1
MOST_PIXELS = 8


def project(
    image: CameraImage, lidar_xyz: npt.NDArray[np.floating]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Pixels (N, 2) column and row of lidar points (N, 3), depth (N,) in metres, and (N,) whether each is in view.

    Pinhole: (u, v, 1) z = K (camera_SE3_lidar p). Points nearer than 0.5 m or behind the camera are not in view, nor is
    anything outside the picture; whether something stands in between is for `visible_pixels`.
    """
    camera_xyz = transform(image.camera_SE3_lidar, lidar_xyz)
    depth = camera_xyz[:, 2]
    ahead = depth > NEAREST_M
    homogeneous = camera_xyz @ image.intrinsics.T
    pixels = homogeneous[:, :2] / np.where(ahead, depth, 1.0)[:, None]
    inside = ((pixels >= 0) & (pixels < (image.width, image.height))).all(axis=1)
    return pixels, depth, ahead & inside


def visible_pixels(
    image: CameraImage, lidar_xyz: npt.NDArray[np.floating]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """`project`, with the points taken out that stand behind nearer ones: the camera isn't where the LiDAR is.

    Every point covers a disc of 15 cm in the picture (8 pixels at most); a point is hidden where it lies more than
    0.3 m + 10 % of its distance behind the nearest disc over its pixel.
    """
    pixels, depth, seen = project(image, lidar_xyz)
    order = np.flatnonzero(seen)
    radius = np.clip(image.intrinsics[0, 0] * SPLAT_M / depth[order], 0, MOST_PIXELS).astype(np.int64)
    nearest = _nearest_depth(pixels[order], depth[order], radius, image.width, image.height)
    column, row = pixels[order].astype(np.int64).T
    hidden = depth[order] > (1 + BEHIND_SHARE) * nearest[row, column] + BEHIND_M
    seen[order[hidden]] = False
    return pixels, depth, seen


@njit(cache=True, nogil=True)
def _nearest_depth(pixels, depth, radius, width, height):  # type: ignore[no-untyped-def]
    """(height, width) the least depth of the discs over each pixel, infinite where there is none."""
    nearest = np.full((height, width), np.inf)
    for i in range(len(depth)):
        column, row, r = int(pixels[i, 0]), int(pixels[i, 1]), radius[i]
        for v in range(max(row - r, 0), min(row + r + 1, height)):
            for u in range(max(column - r, 0), min(column + r + 1, width)):
                if (u - column) ** 2 + (v - row) ** 2 <= r * r and depth[i] < nearest[v, u]:
                    nearest[v, u] = depth[i]
    return nearest
