# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""The camera's view of a unit: its points projected into the picture, and the crop round them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lidal3d.errors import DataError
from lidal3d.report.colors import Rgb
from lidal3d.report.raster import jpeg
from lidal3d.scene.projection import project, visible_pixels
from lidal3d.scene.scene import CameraImage

SMALLEST_PIXELS = 200
LARGEST_SHOWN_PIXELS = 420


@dataclass(frozen=True)
class View:
    """A unit's points in a camera's picture: (K, 2) pixels, (K,) depth in metres, (K,) whether the camera sees it."""

    image: CameraImage
    pixels: npt.NDArray[np.float64]
    depth_m: npt.NDArray[np.float64]
    seen: npt.NDArray[np.bool_]


def best_view(
    images: Sequence[CameraImage], sweep_xyz: npt.NDArray[np.floating], indices: npt.NDArray[np.integer]
) -> View | None:
    """The camera that sees most of a unit's points, the first of equals; None where none sees any.

    Args:
        sweep_xyz: (N, 3) all points of the sweep: what stands before the unit hides it.
        indices: (K,) the unit's.
    """
    best: View | None = None
    for image in images:
        if not project(image, sweep_xyz[indices])[2].any():
            continue
        pixels, depth, seen = visible_pixels(image, sweep_xyz)
        view = View(image, pixels[indices], depth[indices], seen[indices])
        if view.seen.any() and (best is None or view.seen.sum() > best.seen.sum()):
            best = view
    return best


def crop_box(
    pixels: npt.NDArray[np.floating], width: int, height: int, smallest: int = SMALLEST_PIXELS
) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) of a square round most of the projected points, inside the picture.

    At least `smallest` pixels an edge and 1.6 times the points' extent, so that what is around them can be recognised.
    """
    low, high = np.quantile(pixels, (0.02, 0.98), axis=0)
    edge = max(smallest, 1.6 * float((high - low).max()))
    size = int(min(edge, width, height))
    # The median, so that a region wider than the square shows where most of its points are.
    middle = np.median(pixels, axis=0) if size < edge else (low + high) / 2
    left, top = (int(value) for value in np.clip(middle - size / 2, 0, np.array([width, height]) - size))
    return left, top, left + size, top + size


def camera_picture(view: View, colors: Rgb) -> tuple[str, tuple[int, int]]:
    """The crop as a JPEG data URI with each seen point as a dot of its colour, of (K, 3), and its size in pixels."""
    pixels = view.pixels[view.seen]
    box = crop_box(pixels, view.image.width, view.image.height)
    picture, scale = cut(view.image, box, LARGEST_SHOWN_PIXELS)
    size = 5 if len(pixels) < 1500 else 3 if len(pixels) < 6000 else 1
    draw_points(picture, (pixels - box[:2]) * scale, view.depth_m[view.seen], colors[view.seen], size, rim=size > 1)
    return jpeg(picture), (picture.shape[1], picture.shape[0])


def draw_points(picture: npt.NDArray[np.uint8], at: npt.NDArray[np.floating], depth_m: npt.NDArray[np.floating],
                colors: Rgb, size: int, rim: bool = True) -> None:  # fmt: skip
    """Draw points into a picture as squares of `size` pixels, the far ones first; a dark rim shows on any ground."""
    far_first = np.argsort(-depth_m, kind="stable")
    if rim:
        _dots(picture, at[far_first], np.zeros((len(at), 3), dtype=np.uint8), size + 2)
    _dots(picture, at[far_first], colors[far_first], size)


def cut(image: CameraImage, box: tuple[int, int, int, int], largest: int) -> tuple[npt.NDArray[np.uint8], float]:
    """A part of a picture (left, top, right, bottom), scaled so that its longer edge has `largest` pixels; the scale.

    Raises:
        DataError: no whole picture there.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(image.path) as whole:
            part = whole.crop(box).convert("RGB")
    except (OSError, UnidentifiedImageError) as error:
        raise DataError(
            f"{image.path}: not a whole image ({error}); --set report.cameras=false leaves it out"
        ) from None
    scale = largest / max(part.size)
    part = part.resize(
        (max(1, round(part.width * scale)), max(1, round(part.height * scale))), Image.Resampling.LANCZOS
    )
    return np.array(part), scale


def _dots(picture: npt.NDArray[np.uint8], at: npt.NDArray[np.floating], colors: Rgb, size: int) -> None:
    height, width = picture.shape[:2]
    corner = np.floor(at - (size - 1) / 2).astype(np.int64)
    for down in range(size):
        for right in range(size):
            column, row = corner[:, 0] + right, corner[:, 1] + down
            inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
            picture[row[inside], column[inside]] = colors[inside]
