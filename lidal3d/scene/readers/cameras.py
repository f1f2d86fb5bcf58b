# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Camera tracks: one camera's images along a drive, and the image near a sweep with ego motion taken out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lidal3d.scene.pose import Float64, inverse
from lidal3d.scene.readers.base import DriveProblem, nearest_index
from lidal3d.scene.scene import CameraImage


def image_size(path: Path) -> tuple[int, int]:
    """(width, height) from the image's header; the pixels are not decoded."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            return image.size
    except FileNotFoundError:
        raise DriveProblem("IMAGE-MISSING", path, "missing; copy it from the data set") from None
    except (OSError, UnidentifiedImageError) as error:
        raise DriveProblem("IMAGE-UNREADABLE", path, f"not a whole image ({error})") from None


def intrinsics_matrix(fx: float, fy: float, cx: float, cy: float) -> Float64:
    """3×3 pinhole matrix, pixels."""
    return np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])


@dataclass(frozen=True)
class CameraTrack:
    """One camera's K images in time order.

    Attributes:
        camera: its name.
        root, files: the images are root / files[k].
        timestamps_ns: (K,) int64, ascending.
        world_SE3_camera: (K, 4, 4) float64 at the images' times; camera axes x right, y down, z forward.
        intrinsics: 3×3, pixels.
        size: (width, height), or None where only the image's header says it.
    """

    camera: str
    root: Path
    files: tuple[str, ...]
    timestamps_ns: npt.NDArray[np.int64]
    world_SE3_camera: Float64
    intrinsics: Float64
    size: tuple[int, int] | None = None

    def nearest(self, timestamp_ns: int, world_SE3_lidar: Float64) -> CameraImage:
        """The image nearest in time to a sweep with that pose."""
        return self.image(nearest_index(self.timestamps_ns, timestamp_ns), world_SE3_lidar)

    def image(self, k: int, world_SE3_lidar: Float64) -> CameraImage:
        """Image k, seen from a sweep with that pose: lidar → world at the sweep's time → camera at the image's."""
        path = self.root / self.files[k]
        width, height = self.size or image_size(path)
        return CameraImage(
            camera=self.camera,
            path=path,
            timestamp_ns=int(self.timestamps_ns[k]),
            intrinsics=self.intrinsics,
            camera_SE3_lidar=inverse(self.world_SE3_camera[k]) @ world_SE3_lidar,
            width=width,
            height=height,
        )
