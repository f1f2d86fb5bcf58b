# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Cards of units of pictures: the asked part, what the model says there, and the LiDAR points that the camera sees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from html import escape

import numpy as np
import numpy.typing as npt

from lidal3d.export.outlines import borders, mask_of
from lidal3d.export.queue import QueuedUnit, check_indices, frame_of
from lidal3d.predictions.store import PredictionStore
from lidal3d.report.camera import crop_box, cut, draw_points
from lidal3d.report.card import Card, Panel, predicted_shares
from lidal3d.report.colors import Rgb, ramp, readable
from lidal3d.report.raster import jpeg
from lidal3d.scene.labels import LabelMap
from lidal3d.scene.pixels import picture_shape
from lidal3d.scene.projection import visible_pixels
from lidal3d.scene.scene import CameraImage, Frame, Scene

Box = tuple[int, int, int, int]  # left, top, right, bottom in the picture as it was taken

CROP_EDGE = 128  # pixels of the picture, at least
CROP_PIXELS, WHOLE_PIXELS = 420, 900
NEAR_M, FAR_M = 4.0, 60.0
DEPTH_STEPS = 64
KEPT_OUTSIDE = 0.6  # of the picture's brightness, where nobody asks
KEPT_UNDER_POINTS = 0.6
CLASS_SHARE, CLASS_SHARE_OUTSIDE = 0.6, 0.25
DOT = 2
PANORAMA = 2.2  # a picture that is more times as wide as high gets more of the card's width


class PictureDrawer:
    """Draws the cards of units of pictures, keeping the last frame that was read."""

    def __init__(self, scenes: Mapping[str, Scene], classes: LabelMap, predictions: PredictionStore | None) -> None:
        self.scenes, self.predictions = scenes, predictions
        self.colors = np.concatenate([readable(classes.colors), [[120, 120, 120]]]).astype(np.uint8)
        self._points = lru_cache(maxsize=1)(lambda scene, index: frame_of(scenes, scene, index).points())
        self._probabilities = lru_cache(maxsize=1)(self._read_probabilities)
        self._seen = lru_cache(maxsize=1)(lambda scene, index: _seen_points(frame_of(scenes, scene, index)))

    def card(self, unit: QueuedUnit) -> Card:
        """The card of one unit. Raises DataError where unit, picture and predictions do not fit each other."""
        scene, index = unit.pick.key.scene, unit.pick.key.frame
        frame = frame_of(self.scenes, scene, index)
        height, width = picture_shape(self._points(scene, index))
        check_indices(unit, height * width, frame)
        mask = mask_of(unit.indices, height, width)
        return Card(
            pick=unit.pick,
            range_m=float(np.hypot(*np.subtract(unit.pick.center_m, frame.scene.scene_SE3_lidar[index, :3, 3])[:2])),
            panels=self._panels(frame, unit, mask),
            predicted=predicted_shares(unit, self._probabilities(scene, index)),
            elements="pixels",
        )

    def _panels(self, frame: Frame, unit: QueuedUnit, mask: npt.NDArray[np.bool_]) -> tuple[Panel, ...]:
        (image,), rank = frame.images(), unit.pick.rank
        scale = np.array([image.width, image.height]) / mask.shape[::-1]
        lines = [] if mask.all() else [border * scale for border in borders(mask)]
        everything = 0, 0, image.width, image.height
        box = crop_box(_middles(mask) * scale, image.width, image.height, CROP_EDGE) if lines else everything
        columns = 1 if lines else 3
        probabilities = self._probabilities(frame.scene.id, frame.index)
        said = None if probabilities is None else probabilities.argmax(axis=1).reshape(mask.shape)
        panels = []
        if lines or said is None:
            shown = part_picture(image, box, mask)
            panels.append(Panel(_svg(shown, box, lines, f"pick {rank}"), "Asked", image.camera, columns))
        if said is not None:
            shown = class_picture(image, box, mask, said, self.colors)
            label = f"predicted classes at pick {rank}"
            panels.append(Panel(_svg(shown, box, lines, label), "Predicted", "by pixel", columns))
        pixels, depth_m = self._seen(frame.scene.id, frame.index)
        shown, _ = cut(image, everything, WHOLE_PIXELS)
        dots = depth_picture(shown, pixels * (shown.shape[1] / image.width), depth_m)
        svg = _svg(dots, everything, lines, f"LiDAR points in the picture of pick {rank}")
        wide = _columns(image, len(panels)) if lines else 3
        caption = f"{len(depth_m):,} points that the camera sees, by depth"
        return (*panels, Panel(svg, "LiDAR", caption, wide))

    def _read_probabilities(self, scene: str, index: int) -> npt.NDArray[np.floating] | None:
        if self.predictions is None:
            return None
        name = frame_of(self.scenes, scene, index).name
        return self.predictions.probabilities(scene, name, len(self._points(scene, index)))


def part_picture(image: CameraImage, box: Box, mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """(h, w, 3) a crop of the picture, dark outside the part (H, W) of the reduced picture that is asked about."""
    shown, _ = cut(image, box, CROP_PIXELS)
    asked = _shown(mask, image, box, shown)
    return np.where(asked[..., None], shown, KEPT_OUTSIDE * shown).astype(np.uint8)


def class_picture(image: CameraImage, box: Box, mask: npt.NDArray[np.bool_], said: npt.NDArray[np.integer],
                  colors: Rgb) -> npt.NDArray[np.uint8]:  # fmt: skip
    """(h, w, 3) the crop under the classes (H, W) of its pixels, fainter outside the part that is asked about.

    Args:
        colors: (C + 1, 3); the last is for what is no class.
    """
    shown, _ = cut(image, box, CROP_PIXELS)
    asked = _shown(mask, image, box, shown)[..., None]
    color = colors[np.minimum(_shown(said, image, box, shown), len(colors) - 1)]
    share = np.where(asked, CLASS_SHARE, CLASS_SHARE_OUTSIDE)
    mixed = share * color + (1 - share) * shown
    return np.where(asked, mixed, KEPT_OUTSIDE * mixed).round().astype(np.uint8)


def depth_picture(
    shown: npt.NDArray[np.uint8], at: npt.NDArray[np.floating], depth_m: npt.NDArray[np.floating]
) -> npt.NDArray[np.uint8]:
    """(h, w, 3) the picture, a little darker, with a dot a point at (K, 2) column and row: near bright, far dark."""
    dark = (KEPT_UNDER_POINTS * shown).astype(np.uint8)
    draw_points(dark, at, depth_m, depth_colors(depth_m), DOT, rim=False)
    return dark


def depth_colors(depth_m: npt.NDArray[np.floating]) -> Rgb:
    """(K, 3) colours of depths: even steps of their logarithm from 4 m to 60 m."""
    share = np.log(np.clip(depth_m, NEAR_M, FAR_M) / NEAR_M) / np.log(FAR_M / NEAR_M)
    return ramp(DEPTH_STEPS)[::-1][(share * (DEPTH_STEPS - 1)).round().astype(np.int64)]


def _seen_points(frame: Frame) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """(K, 2) pixels and (K,) depth of the sweep's points that the frame's camera sees."""
    (image,) = frame.images()
    pixels, depth_m, seen = visible_pixels(image, frame.sweep().points()[:, :3])
    return pixels[seen], depth_m[seen]


def _middles(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    return np.argwhere(mask)[:, ::-1] + 0.5


def _columns(image: CameraImage, before: int) -> int:
    """What a card has left of its six columns, or three where a less wide picture would become too high."""
    return 6 - before if image.width > PANORAMA * image.height else 3


def _shown(reduced: npt.NDArray, image: CameraImage, box: Box, shown: npt.NDArray[np.uint8]) -> npt.NDArray:
    """Values (H, W) of the reduced picture's pixels for those of a scaled crop (h, w)."""
    (height, width), (rows, columns) = shown.shape[:2], reduced.shape
    left, top, right, bottom = box
    column = (left + (np.arange(width) + 0.5) * (right - left) / width) * columns / image.width
    row = (top + (np.arange(height) + 0.5) * (bottom - top) / height) * rows / image.height
    return reduced[row.astype(np.int64)[:, None], column.astype(np.int64)[None, :]]


def _svg(shown: npt.NDArray[np.uint8], box: Box, lines: Sequence[npt.NDArray[np.floating]], label: str) -> str:
    """An inline SVG of a crop with outlines (K, 2) in pixels of the whole picture."""
    height, width = shown.shape[:2]
    scale = width / (box[2] - box[0])
    paths = "".join(f"M{'L'.join(f'{x:.1f} {y:.1f}' for x, y in (line - box[:2]) * scale)}Z" for line in lines)
    outline = f'<path class="part" d="{paths}"/>' if paths else ""
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(label)}">'
        f'<image href="{jpeg(shown)}" width="{width}" height="{height}"/>{outline}</svg>'
    )
