# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Pictures as a network's input: windows or the whole, mirrored, scaled, their colours jittered.

Beside its colours a pixel has its height in the picture, from −1 at the top to 1: a road means the same where the car
turns, but not in the sky.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lidal3d.errors import DataError
from lidal3d.learn.feed import Back, Fed
from lidal3d.learn.images.augment import PICTURE_AUGMENTATIONS, PictureView
from lidal3d.learn.images.picture import Lines, Picture
from lidal3d.learn.loss_prediction.pooling import FrameUnits, batch_units
from lidal3d.scene.labels import IGNORE
from lidal3d.scene.pixels import picture_of, picture_shape

PICTURE_FEATURES = 4
GREY = 0.5


@dataclass(frozen=True)
class Pictures:
    """The Feed of networks of pictures.

    Several processes that learn together take the step that one would where all pictures have one size.

    Attributes:
        augmentation: one of PICTURE_AUGMENTATIONS.
        window_px: edge of the window of a picture that a step learns from, about one of its labels; 0 for the whole.
    """

    augmentation: str = "default"
    window_px: int = 0
    columns: str = "column row red green blue"

    @property
    def fills(self) -> bool:
        """As `Feed`."""
        return self.window_px > 0

    def item(
        self,
        points: npt.NDArray[np.float32],
        labels: npt.NDArray[np.uint8],
        weights: npt.NDArray[np.float32] | None,
        units: npt.NDArray[np.int32] | None = None,
    ) -> Picture:
        """As `Feed`. Raises DataError where the pixels are no whole picture."""
        colors = np.rint(picture_of(points).clip(0, 1) * 255).astype(np.uint8)
        shape = colors.shape[:2]
        if weights is not None:
            # A label of no weight is none, also where a window is laid.
            labels, weights = np.where(weights > 0, labels, np.uint8(IGNORE)), weights.reshape(shape)
        return Picture(
            colors, labels.reshape(shape), weights, self.window_px, None if units is None else units.reshape(shape)
        )

    def draw(self, rng: np.random.Generator) -> PictureView:
        """As `Feed`."""
        return PICTURE_AUGMENTATIONS[self.augmentation].draw(rng)

    def batch(self, items: Sequence[Picture], views: Sequence[PictureView], classes: int, device: torch.device) -> Fed:
        """As `Feed`; smaller pictures are continued to the size of the largest, with no labels there."""
        window = tuple(np.max([item.window for item in items], axis=0).tolist())
        inputs, targets, weights, units = [], [], [], []
        for item, view in zip(items, views, strict=True):
            rows, columns = item.lines(view, window)
            inputs.append(_jittered(_input(torch.from_numpy(item.colors).to(device) / 255, rows, columns), view))
            found = item.labels_at(rows, columns)
            targets.append(found[0])
            weights.append(found[1])
            if item.units is not None:
                units.append(FrameUnits(item.units_at(rows, columns).ravel(), found[0].ravel(), found[1].ravel()))
        stacked = torch.stack(inputs).permute(0, 3, 1, 2)
        target = torch.from_numpy(np.stack(targets).ravel().astype(np.int64)).to(device)
        weight = torch.from_numpy(np.stack(weights).ravel()).to(device)
        cut = batch_units(units, torch.arange(len(target), device=device)) if units else None
        return Fed((stacked,), target, weight, units=cut)

    def view(self, points: Tensor, view: PictureView) -> tuple[tuple[Tensor], Back]:
        """As `Feed`; colours stay. Raises DataError where the pixels are no whole picture, or not finite."""
        bad = int((~torch.isfinite(points)).any(dim=1).sum())
        if bad:
            raise DataError(f"{bad} of {len(points)} pixels are not finite; run `lidal3d check` on the drive")
        height, width = picture_shape(points.cpu().numpy())
        seen = max(1, round(height * view.scale)), max(1, round(width * view.scale))
        rows, columns = _resized(height, seen[0]), _resized(width, seen[1])
        back_rows, back_columns = _resized(seen[0], height), _resized(seen[1], width)
        if view.mirrored:
            columns, back_columns = columns[::-1].copy(), seen[1] - 1 - back_columns
        colors = points[:, 2:].view(height, width, 3)

        def back(values: Tensor) -> Tensor:
            return interpolated(values.view(*seen, -1), back_rows, back_columns).reshape(height * width, -1)

        return (_input(colors, rows, columns).unsqueeze(0).permute(0, 3, 1, 2),), back

    def nothing_labelled(self, frames: int) -> str:
        """As `Feed`."""
        return f"no labelled pixel in {frames} pictures; label some first"


def interpolated(values: Tensor, rows: Lines, columns: Lines) -> Tensor:
    """Values (H, W, K) between the pixels, at rows (h,) and columns (w,): (h, w, K); outside, those of the edge."""
    return _between(_between(values, rows, 0), columns, 1)


def _between(values: Tensor, lines: Lines, dim: int) -> Tensor:
    at = torch.from_numpy(lines.clip(0, values.shape[dim] - 1)).to(values.device)
    low = at.long()
    high = (low + 1).clamp(max=values.shape[dim] - 1)
    share = (at - low).to(values.dtype).view(-1, *[1] * (2 - dim))
    return torch.lerp(values.index_select(dim, low), values.index_select(dim, high), share)


def _resized(size: int, count: int) -> Lines:
    """Where the centres of `count` lines over the whole of `size` lie, in lines of those."""
    return (np.arange(count) + 0.5) * (size / count) - 0.5


def _input(colors: Tensor, rows: Lines, columns: Lines) -> Tensor:
    """What the network reads (h, w, PICTURE_FEATURES) of colours (H, W, 3)."""
    height = torch.from_numpy(((rows + 0.5) * (2 / len(colors)) - 1).astype(np.float32)).to(colors.device)
    between = interpolated(colors, rows, columns)
    return torch.cat([between, height.view(-1, 1, 1).expand(*between.shape[:2], 1)], dim=2)


def _jittered(pixels: Tensor, view: PictureView) -> Tensor:
    """The same with other colours (h, w, PICTURE_FEATURES)."""
    gain = torch.from_numpy(view.gain).to(pixels.device)
    colors = ((pixels[..., :3] - GREY) * view.contrast + GREY) * gain
    return torch.cat([colors, pixels[..., 3:]], dim=2)
