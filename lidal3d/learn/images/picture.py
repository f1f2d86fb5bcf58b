# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""One picture for training, and the window of it that a step sees."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lidal3d.learn.images.augment import PictureView
from lidal3d.scene.labels import IGNORE

# A label is at least this share of the window away from its edges, where the picture has so much around it.
MARGIN = 0.25
Lines = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Picture:
    """One picture for training.

    Attributes:
        colors: (H, W, 3) uint8.
        labels: (H, W) uint8 train ids, 255 where there is none.
        weights: (H, W) float32, or None where all labels weigh 1.
        window_px: edge of the window that a step sees of it; 0 for the whole.
        units: (H, W) unit of each pixel, −1 for none, where something is learnt of units; else None.
    """

    colors: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.uint8]
    weights: npt.NDArray[np.float32] | None = None
    window_px: int = 0
    units: npt.NDArray[np.int32] | None = None

    @property
    def window(self) -> tuple[int, int]:
        """(rows, columns) that a step sees."""
        height, width = self.labels.shape
        return (min(height, self.window_px), min(width, self.window_px)) if self.window_px else (height, width)

    @property
    def share(self) -> float:
        """How many pixels a step sees for each of the whole picture."""
        rows, columns = self.window
        return rows * columns / self.labels.size

    @property
    def labelled_share(self) -> float:
        """How many labels a step sees at most for each pixel of the whole picture."""
        return min(self.share, np.count_nonzero(self.labels != IGNORE) / self.labels.size)

    def lines(self, view: PictureView, window: tuple[int, int]) -> tuple[Lines, Lines]:
        """Which rows (h,) and columns (w,) of the picture, in fractions of a pixel, the lines of a window (h, w) show.

        The window lies about a label that the view chooses, or any pixel where there is none; it leaves the picture
        only where it is larger.
        """
        labelled = np.flatnonzero(self.labels != IGNORE)
        nth = int(view.at[0] * (len(labelled) or self.labels.size))
        center = divmod(int(labelled[nth]) if len(labelled) else nth, self.labels.shape[1])
        lines = [
            _lines(c, u, count, size, view.scale)
            for c, u, count, size in zip(center, view.at[1:], window, self.labels.shape, strict=True)
        ]
        return lines[0], lines[1][::-1].copy() if view.mirrored else lines[1]

    def labels_at(self, rows: Lines, columns: Lines) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
        """Labels and weights (h, w) of the pixels nearest to rows (h,) and columns (w,); 255 and 0 outside."""
        r, inside_r = _nearest(rows, self.labels.shape[0])
        c, inside_c = _nearest(columns, self.labels.shape[1])
        inside = inside_r[:, None] & inside_c
        labels = np.where(inside, self.labels[r[:, None], c], np.uint8(IGNORE))
        weights = inside.astype(np.float32) if self.weights is None else inside * self.weights[r[:, None], c]
        return labels, weights

    def units_at(self, rows: Lines, columns: Lines) -> npt.NDArray[np.int32]:
        """Units (h, w) of the pixels nearest to rows (h,) and columns (w,); −1 outside, and where there are none."""
        r, inside_r = _nearest(rows, self.labels.shape[0])
        c, inside_c = _nearest(columns, self.labels.shape[1])
        known = np.full(self.labels.shape, -1, np.int32) if self.units is None else self.units
        return np.where(inside_r[:, None] & inside_c, known[r[:, None], c], np.int32(-1))


def _lines(center: int, place: float, count: int, size: int, scale: float) -> Lines:
    """`count` lines, 1/scale apart, of `size`; `center` is at a `place` in [0, 1) between the margins."""
    extent = count / scale
    # Whole pixels: a picture of its own size is seen as sharp as it is.
    wanted = round(center + 0.5 - (MARGIN + (1 - 2 * MARGIN) * place) * extent)
    start = float(np.clip(wanted, min(0.0, size - extent), max(0.0, size - extent)))
    return start + (np.arange(count) + 0.5) / scale - 0.5


def _nearest(lines: Lines, size: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """The line nearest to each, and whether it is one of the `size` that there are."""
    nearest = np.floor(lines + 0.5).astype(np.int64)
    return nearest.clip(0, size - 1), (nearest >= 0) & (nearest < size)
