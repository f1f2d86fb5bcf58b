# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""A pinhole camera: per-pixel classes by ray casting, and a sunlit, textured, hazy picture of the same hits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lidal3d.scene.pose import Float64, from_rotation_translation
from lidal3d.sim.materials import Material
from lidal3d.sim.raycast import Float32, Hits, MeshCaster, Neighbourhood
from lidal3d.sim.sensor import texture

SUN = np.array([0.45, 0.35, 0.82], dtype=np.float32) / np.float32(np.linalg.norm([0.45, 0.35, 0.82]))


@dataclass(frozen=True)
class Camera:
    """A pinhole camera; axes x right, y down, z forward.

    Attributes:
        name: what its folder or channel is called.
        intrinsics: (3, 3), pixels.
        camera_SE3_lidar: (4, 4) lidar to camera coordinates.
        width, height: pixels.
    """

    name: str
    intrinsics: Float64
    camera_SE3_lidar: Float64
    width: int
    height: int

    def directions(self) -> Float32:
        """(height·width, 3) unit rays through the pixel centres in the lidar's axes, row by row."""
        v, u = np.mgrid[: self.height, : self.width]
        pixel = np.stack([u.ravel() + 0.5, v.ravel() + 0.5, np.ones(u.size)])
        rays = (self.camera_SE3_lidar[:3, :3].T @ np.linalg.solve(self.intrinsics, pixel)).T
        return (rays / np.linalg.norm(rays, axis=1, keepdims=True)).astype(np.float32)


def front_camera(width: int, height: int) -> Camera:
    """A front camera with KITTI's field of view (81° wide), a little ahead of and below the LiDAR, a little askew."""
    focal = 0.58 * width
    intrinsics = np.array([[focal, 0, width / 2 - 1.3], [0, focal, 0.47 * height], [0, 0, 1.0]])
    axes = np.array([[0, -1.0, 0], [0, 0, -1.0], [1.0, 0, 0]])  # camera x, y, z in lidar axes
    tilt = np.radians([0.4, -0.25, 0.15])
    turn = np.eye(3)
    for axis, angle in enumerate(tilt):
        c, s = np.cos(angle), np.sin(angle)
        i, j = (axis + 1) % 3, (axis + 2) % 3
        step = np.eye(3)
        step[i, i] = step[j, j] = c
        step[i, j], step[j, i] = -s, s
        turn = turn @ step
    rotation = turn @ axes
    place = np.array([0.27, 0.0, -0.08])  # of the camera, in the lidar frame
    return Camera("front", intrinsics, from_rotation_translation(rotation, -rotation @ place), width, height)


@dataclass(frozen=True)
class Picture:
    """One camera frame: (H, W, 3) uint8 RGB and (H, W) uint16 raw class ids, 0 for the sky."""

    rgb: npt.NDArray[np.uint8]
    semantic: npt.NDArray[np.uint16]


def take_picture(
    camera: Camera, hits: Hits, directions: Float32, near: Neighbourhood, movers: MeshCaster, sky: tuple[int, int, int]
) -> Picture:
    """Shade what the camera's rays hit: albedo · (ambient + sun, with cast shadows), faded by haze into the sky."""
    shape = (camera.height, camera.width)
    seen = np.isfinite(hits.range_m)
    facing = np.einsum("ij,j->i", hits.normal, SUN)
    bright = seen & (facing > 0)
    lit = np.zeros(len(facing), dtype=bool)
    lit[bright] = near.lit(hits.position[bright], hits.normal[bright], SUN, movers)
    light = 0.42 + 0.12 * hits.normal[:, 2] + 0.75 * np.where(lit, facing, 0)
    grain = 0.5 * texture(hits.position) + 0.5 * texture(hits.position, 0.08)
    rgb = hits.color * (light * np.where(hits.material == Material.RETRO, 1.0, grain))[:, None]
    haze = np.exp(-np.where(seen, hits.range_m, 0) / 220.0)[:, None]
    above = _sky(directions, sky)
    rgb = np.where(seen[:, None], haze * rgb + (1 - haze) * above, above)
    return Picture(
        np.clip(rgb, 0, 255).astype(np.uint8).reshape(*shape, 3), np.where(seen, hits.semantic, 0).reshape(shape)
    )


def _sky(directions: Float32, color: tuple[int, int, int]) -> Float32:
    """Paler towards the horizon."""
    up = np.clip(directions[:, 2:] * 2.5, 0, 1)
    return up * np.array(color, dtype=np.float32) + (1 - up) * np.array((226, 230, 232), dtype=np.float32)
