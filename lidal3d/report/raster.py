# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Points to pixels: bird's-eye pictures as small palette PNGs, drawn with numpy.

A picture is an array of palette places (S, S) uint8; place 0 is the ground. Up is forward, left is left.
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lidal3d.report.colors import GROUND, Rgb


@dataclass(frozen=True)
class Crop:
    """A square of the ground plane, seen from above, in one sweep's sensor frame.

    Attributes:
        center_m: (x, y) of its middle.
        edge_m: its edge.
        pixels: pixels an edge.
    """

    center_m: tuple[float, float]
    edge_m: float
    pixels: int

    @property
    def pixels_per_m(self) -> float:
        """Scale."""
        return self.pixels / self.edge_m

    def contains(self, xyz: npt.NDArray[np.floating]) -> npt.NDArray[np.bool_]:
        """(N,) whether points (N, 3) lie in the square."""
        return (np.abs(xyz[:, :2] - np.array(self.center_m)) < self.edge_m / 2).all(axis=1)

    def to_pixels(self, xyz: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """(N, 2) column and row of points (N, 2 or 3): forward is up, left is left."""
        offset = np.asarray(xyz, dtype=np.float64)[:, :2] - np.array(self.center_m)
        return self.pixels / 2 - offset[:, ::-1] * self.pixels_per_m


def splat(
    canvas: npt.NDArray[np.uint8], columns_rows: npt.NDArray[np.floating], places: npt.NDArray[np.integer], size: int
) -> None:
    """Draw points in place as squares of `size` pixels; a later point covers an earlier one.

    Args:
        canvas: (H, W) palette places.
        columns_rows: (N, 2) pixel coordinates; points outside are left out.
        places: (N,) palette place of each point.
    """
    height, width = canvas.shape
    corner = np.floor(columns_rows - (size - 1) / 2).astype(np.int64)
    flat = canvas.reshape(-1)
    rows, columns = (
        corner[:, 1, None] + np.repeat(np.arange(size), size),
        corner[:, 0, None] + np.tile(np.arange(size), size),
    )
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    # numpy assigns in order, so with repeated pixels the last point stays.
    flat[(rows * width + columns)[inside]] = np.broadcast_to(places[:, None], inside.shape)[inside]


def point_size(points: int, area_m2: float, pixels_per_m: float) -> int:
    """Edge of a point in pixels (1 … 6) such that a region with few points still shows as a surface."""
    if not points or area_m2 <= 0:
        return 3
    spacing = np.sqrt(area_m2 / points) * pixels_per_m
    return int(np.clip(round(0.7 * spacing), 2, 6))


def hull(columns_rows: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """(K, 2) corners of the convex hull of (N, 2) points (Andrew's monotone chain, 1979); the points if under 3."""
    points = np.unique(np.asarray(columns_rows, dtype=np.float64).round(), axis=0)
    if len(points) < 3:
        return points
    # Only the first and last point of a column can be a corner: a whole sweep becomes a few hundred points.
    starts = np.flatnonzero(np.diff(points[:, 0], prepend=np.nan))
    points = np.unique(points[np.concatenate([starts, np.append(starts[1:], len(points)) - 1])], axis=0)
    if len(points) < 3:
        return points
    lower, upper = _chain(points), _chain(points[::-1])
    return np.array(lower[:-1] + upper[:-1])


def _chain(points: npt.NDArray[np.float64]) -> list[tuple[float, float]]:
    chain: list[tuple[float, float]] = []
    for x, y in points.tolist():
        while len(chain) > 1 and _turn(chain[-2], chain[-1], (x, y)) <= 0:
            chain.pop()
        chain.append((x, y))
    return chain


def _turn(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> float:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def palette_png(canvas: npt.NDArray[np.uint8], palette: Rgb) -> str:
    """The picture as a data URI of a palette PNG; `palette` (K ≤ 255, 3) holds places 1 … K, the ground is place 0."""
    from PIL import Image

    image = Image.fromarray(canvas)
    image.putpalette([*GROUND, *palette.ravel().tolist()])
    stream = io.BytesIO()
    image.save(stream, "PNG", optimize=False, compress_level=9)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode("ascii")


def jpeg(picture: npt.NDArray[np.uint8], quality: int = 82) -> str:
    """An RGB picture (H, W, 3) as a data URI."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "JPEG", quality=quality, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
