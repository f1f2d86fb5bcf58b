# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""The camera's view of a unit: its points projected into the picture, and the crop round them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from lidal3d.report.colors import Rgb
from lidal3d.report.raster import jpeg
from lidal3d.scene.projection import project
from lidal3d.scene.scene import CameraImage

SMALLEST_PIXELS = 200
LARGEST_SHOWN_PIXELS = 420


def best_camera(images: Sequence[CameraImage], lidar_xyz: npt.NDArray[np.floating]) -> CameraImage | None:
    """The camera that sees most of the points; the first of equals; None where none sees any."""
    seen = [int(np.count_nonzero(project(image, lidar_xyz)[2])) for image in images]
    return images[seen.index(max(seen))] if any(seen) else None


def crop_box(pixels: npt.NDArray[np.floating], width: int, height: int) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) of a square round most of the projected points, inside the picture.

    At least 200 pixels an edge and 1.6 times the points' extent, so that what is around them can be recognised.
    """
    low, high = np.quantile(pixels, (0.02, 0.98), axis=0)
    edge = max(SMALLEST_PIXELS, 1.6 * float((high - low).max()))
    size = int(min(edge, width, height))
    # The median, so that a region wider than the square shows where most of its points are.
    middle = np.median(pixels, axis=0) if size < edge else (low + high) / 2
    left, top = (int(value) for value in np.clip(middle - size / 2, 0, np.array([width, height]) - size))
    return left, top, left + size, top + size


def camera_picture(image: CameraImage, lidar_xyz: npt.NDArray[np.floating], colors: Rgb) -> tuple[str, tuple[int, int]]:
    """The crop as a JPEG data URI with each seen point (N, 3) as a dot of its colour (N, 3), and its size in pixels."""
    pixels, _, seen = project(image, lidar_xyz)
    box = crop_box(pixels[seen], image.width, image.height)
    picture, scale = _cut(image, box)
    at = (pixels[seen] - box[:2]) * scale
    far_first = np.argsort(-np.linalg.norm(lidar_xyz[seen], axis=1), kind="stable")
    count = np.count_nonzero(seen)
    size = 5 if count < 1500 else 3 if count < 6000 else 1
    if size > 1:  # a dark rim shows on any ground, but of many points it would hide the picture
        _dots(picture, at[far_first], np.zeros((len(at), 3), dtype=np.uint8), size + 2)
    _dots(picture, at[far_first], colors[seen][far_first], size)
    return jpeg(picture), (picture.shape[1], picture.shape[0])


def _cut(image: CameraImage, box: tuple[int, int, int, int]) -> tuple[npt.NDArray[np.uint8], float]:
    from PIL import Image

    with Image.open(image.path) as whole:
        cut = whole.crop(box).convert("RGB")
    scale = LARGEST_SHOWN_PIXELS / max(cut.size)
    cut = cut.resize((max(1, round(cut.width * scale)), max(1, round(cut.height * scale))), Image.Resampling.LANCZOS)
    return np.array(cut), scale


def _dots(picture: npt.NDArray[np.uint8], at: npt.NDArray[np.floating], colors: Rgb, size: int) -> None:
    height, width = picture.shape[:2]
    corner = np.floor(at - (size - 1) / 2).astype(np.int64)
    for down in range(size):
        for right in range(size):
            column, row = corner[:, 0] + right, corner[:, 1] + down
            inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
            picture[row[inside], column[inside]] = colors[inside]
