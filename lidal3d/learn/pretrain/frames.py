# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Frames in an endless shuffled order, with their regions; no label is read."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from lidal3d.config import Config
from lidal3d.errors import DataError
from lidal3d.learn.pretrain.encoders import PICTURE_COLUMNS
from lidal3d.learn.pretrain.views import Regions, View
from lidal3d.scene.scene import Frame
from lidal3d.units.make import make_partition

FRAMES_KEPT = 256
PICTURE_CELL = 32


class FrameOrder:
    """Numbers below `frames`, all of them once before any comes again."""

    def __init__(self, frames: int) -> None:
        self._frames = frames
        self._coming: list[int] = []

    def next(self, count: int, rng: np.random.Generator) -> list[int]:
        """The next `count`."""
        while len(self._coming) < count:
            self._coming += rng.permutation(self._frames).tolist()
        taken, self._coming = self._coming[:count], self._coming[count:]
        return taken


class RegionFrames:
    """Frames as views of all their points or pixels, each with its region; the last ones are kept."""

    def __init__(self, frames: Sequence[Frame], config: Config) -> None:
        self.frames, self._config = frames, config
        self._read = lru_cache(maxsize=FRAMES_KEPT)(self._view)

    def __len__(self) -> int:
        return len(self.frames)

    def view(self, index: int) -> View:
        """A frame as it is. Raises DataError where its points aren't finite."""
        return self._read(index)

    def _view(self, index: int) -> View:
        frame = self.frames[index]
        points = elements_of(frame, self._config)
        return View(points, regions_of(points, self._config))


def elements_of(frame: Frame, config: Config) -> np.ndarray:
    """A frame's pixels, or its points within `pretrain.max_range_m`. Raises DataError where one isn't finite."""
    points = frame.points()
    bad = int((~np.isfinite(points)).any(axis=1).sum())
    if bad:
        path = frame.scene.source.points_path(frame.index)
        raise DataError(f"{path}: {bad} of {len(points)} points are not finite; run `lidal3d check` on the drive")
    if points.shape[1] == PICTURE_COLUMNS:
        return points
    return points[np.hypot(points[:, 0], points[:, 1]) < config.pretrain.max_range_m]


def regions_of(points: np.ndarray, config: Config) -> Regions:
    """The regions (N,) of a sweep as `units` says; of a picture, square cells."""
    if points.shape[1] == PICTURE_COLUMNS:
        across = -(-(int(points[:, 0].max(initial=0)) + 1) // PICTURE_CELL)
        cell = points[:, 1].astype(np.int32) // PICTURE_CELL * across + points[:, 0].astype(np.int32) // PICTURE_CELL
        return cell.astype(np.int32)
    return make_partition(config.units)(points)
