# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Random views of a sweep or of a picture, whose points and pixels keep the region they are of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lidal3d.interframe.grid import build_grid
from lidal3d.interframe.match import match
from lidal3d.learn.augment import Augmentation
from lidal3d.scene.pixels import is_picture, picture_shape
from lidal3d.settings.pretrain import PretrainConfig

Elements = npt.NDArray[np.float32]
Regions = npt.NDArray[np.int32]
TURN = Augmentation()


@dataclass(frozen=True)
class View:
    """One random view.

    Attributes:
        elements: (N, 4) points, x y z in metres and intensity, or (N, 5) pixels of a whole picture, row by row.
        region: (N,) int32 the region of each, −1 for none.
    """

    elements: Elements
    region: Regions

    def sizes(self, regions: int) -> npt.NDArray[np.int64]:
        """Elements of each of R regions."""
        return np.bincount(self.region[self.region >= 0], minlength=regions)


def random_view(view: View, config: PretrainConfig, rng: np.random.Generator) -> View:
    """A view drawn from all that a frame holds."""
    return (random_picture if is_picture(view.elements) else random_sweep)(view, config, rng)


def random_sweep(view: View, config: PretrainConfig, rng: np.random.Generator) -> View:
    """A sweep turned, mirrored and scaled about its z axis, with noise, and without some of its points."""
    kept = np.flatnonzero(rng.random(len(view.elements)) >= rng.uniform(0, config.drop))
    points = view.elements[kept].copy()
    points[:, :3] = points[:, :3] @ TURN.draw(rng).T
    points[:, :3] += rng.normal(0, config.jitter_m, (len(points), 3)) if config.jitter_m else 0
    points[:, 3] *= rng.uniform(1 - config.intensity_noise, 1 + config.intensity_noise, len(points))
    return View(np.ascontiguousarray(points, np.float32), view.region[kept])


def random_picture(view: View, config: PretrainConfig, rng: np.random.Generator) -> View:
    """A crop of a picture enlarged to its size, mirrored half of the time, in other colours and brightness."""
    height, width = picture_shape(view.elements)
    rows, columns = _cut(height, config.crop, rng), _cut(width, config.crop, rng)
    if rng.random() < 0.5:
        columns = columns[::-1]
    source = (rows[:, None] * width + columns[None, :]).ravel()
    pixels = view.elements[source]
    pixels[:, :2] = view.elements[:, :2]
    gain = rng.uniform(1 - config.colour, 1 + config.colour) * rng.uniform(1 - config.colour, 1 + config.colour, 3)
    pixels[:, 2:] = np.clip(pixels[:, 2:] * gain, 0, 1)
    return View(np.ascontiguousarray(pixels, np.float32), view.region[source])


def _cut(length: int, least: float, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """The source (length,) of each row of a cut of at least this share, stretched to the whole length."""
    part = max(1, round(length * rng.uniform(least, 1)))
    first = int(rng.integers(length - part + 1))
    return first + np.arange(length) * part // length


def carried_regions(
    region: Regions,
    xyz_m: npt.NDArray[np.float64],
    xyz_there_m: npt.NDArray[np.float64],
    radius_m: float,
) -> Regions:
    """The regions (M,) of another sweep's points: that of the nearest point here, −1 where none is near.

    Args:
        region: (N,) of the points here.
        xyz_m: (N, 3) points here, in the scene's frame.
        xyz_there_m: (M, 3) the other sweep's, in the same frame.
        radius_m: how near.
    """
    here, there = build_grid(xyz_m, radius_m), build_grid(xyz_there_m, radius_m)
    places = match(there, here, radius_m)
    carried = np.full(len(xyz_there_m), -1, np.int32)
    found = places >= 0
    carried[there.order[found]] = region[here.order[places[found]]]
    return carried
