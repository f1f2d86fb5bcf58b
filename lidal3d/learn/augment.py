# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Random views of a sweep: the same draws augment training and make the views that prediction averages."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Augmentation:
    """What is drawn for a view, about the sensor's z axis.

    Attributes:
        rotate: turn by an angle uniform in [0, 2π).
        mirror: chance of a mirrored view.
        scale: the view is this much smaller to this much larger, uniform.
        affine_noise: standard deviation of what is added to each entry of the identity (LiDAL's random shear).
    """

    rotate: bool = True
    mirror: float = 0.5
    scale: float = 0.05
    affine_noise: float = 0.0

    def draw(self, rng: np.random.Generator) -> npt.NDArray[np.float32]:
        """A (3, 3) matrix A for points as columns: x' = A x."""
        matrix = np.eye(3) + self.affine_noise * rng.standard_normal((3, 3))
        if rng.random() < self.mirror:
            matrix[0] *= -1
        angle = rng.uniform(0, 2 * np.pi) if self.rotate else 0.0
        cosine, sine = np.cos(angle), np.sin(angle)
        turn = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])
        return (rng.uniform(1 - self.scale, 1 + self.scale) * turn @ matrix).astype(np.float32)


# "paper": LiDAL's M = I + 0.1·N(0,1), sign flip, rotation (its released code, for training and scoring alike).
AUGMENTATIONS = {
    "default": Augmentation(),
    "paper": Augmentation(scale=0.0, affine_noise=0.1),
    "none": Augmentation(rotate=False, mirror=0.0, scale=0.0),
}
