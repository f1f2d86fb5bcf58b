# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Random views of a picture: the same draws augment training and make the views that prediction averages."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class PictureView:
    """How a picture is seen.

    Attributes:
        mirrored: left and right change places.
        scale: how much larger it is.
        contrast, gain (3,): of the colours, in training alone.
        at: (3,) in [0, 1): which label a window is laid about, and where in it this is, across and along the rows.
    """

    mirrored: bool
    scale: float
    contrast: float
    gain: npt.NDArray[np.float32]
    at: npt.NDArray[np.float64]


@dataclass(frozen=True)
class PictureAugmentation:
    """What is drawn for a view.

    Attributes:
        mirror: chance of a mirrored view.
        scale: the view is up to this much larger, or as much smaller, by a factor uniform in its logarithm.
        contrast: as much more or less, about a mean grey.
        brightness: all colours are as much brighter or darker.
        tint: each of the three once more.
    """

    mirror: float = 0.5
    scale: float = 0.25
    contrast: float = 0.2
    brightness: float = 0.2
    tint: float = 0.05

    def draw(self, rng: np.random.Generator) -> PictureView:
        """The next view."""
        mirrored = bool(rng.random() < self.mirror)
        scale = float((1 + self.scale) ** rng.uniform(-1, 1))
        contrast = float(rng.uniform(1 - self.contrast, 1 + self.contrast))
        gain = rng.uniform(1 - self.brightness, 1 + self.brightness) * rng.uniform(1 - self.tint, 1 + self.tint, 3)
        return PictureView(mirrored, scale, contrast, gain.astype(np.float32), rng.random(3))


# By the names of `lidal3d.learn.augment`: LiDAL's ("paper") says nothing of pictures.
PICTURE_AUGMENTATIONS = {
    "default": PictureAugmentation(),
    "paper": PictureAugmentation(),
    "none": PictureAugmentation(mirror=0.0, scale=0.0, contrast=0.0, brightness=0.0, tint=0.0),
}
