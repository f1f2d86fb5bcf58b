# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Frames in an endless shuffled order, with their regions; no label is read."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from lidal3d.config import Config
from lidal3d.errors import DataError
from lidal3d.learn.pretrain.views import View
from lidal3d.scene.pixels import CAMERA, is_picture
from lidal3d.scene.scene import Frame
from lidal3d.units.base import Partition
from lidal3d.units.make import make_partition

FRAMES_KEPT = 256
OF_SWEEPS = ("supervoxels", "kmeans", "grid")


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
        return View(points, partition_for(frame, self._config)(points))


def elements_of(frame: Frame, config: Config) -> npt.NDArray[np.float32]:
    """A frame's pixels, or its points within `pretrain.max_range_m`. Raises DataError where one isn't finite."""
    points = frame.points()
    bad = int((~np.isfinite(points)).any(axis=1).sum())
    if bad:
        path = frame.scene.source.points_path(frame.index)
        raise DataError(f"{path}: {bad} of {len(points)} points are not finite; run `lidal3d check` on the drive")
    if is_picture(points):
        return points
    return points[np.hypot(points[:, 0], points[:, 1]) < config.pretrain.max_range_m]


def partition_for(frame: Frame, config: Config) -> Partition:
    """What cuts a frame into regions to learn from: as `units` says, where its units lie within a frame of this kind."""
    usual, fitting = ("superpixels", ("superpixels",)) if frame.scene.sensor == CAMERA else ("supervoxels", OF_SWEEPS)
    kind = config.units.kind if config.units.kind in fitting else usual
    return make_partition(config.units.model_copy(update={"kind": kind}))
