# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Tokens: what an encoder that knows no classes says of a frame, and the encoder behind them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from lidal3d.errors import DataError
from lidal3d.scene.scene import Frame


@dataclass(frozen=True)
class Tokens:
    """P local features of one frame: patches of pictures, voxels of a sweep.

    Attributes:
        features: (P, E) float32.
        saliency: (P,) float32, at least 0: how much the encoder attends to each; ones where it says nothing.
        of: (N,) int32 token of each point or pixel, −1 where there is none.
        group: (P,) int32 which tokens' saliencies can be compared, those of one tile, say; None: all.

    Raises:
        DataError: arrays that do not fit each other, or features that are not finite.
    """

    features: npt.NDArray[np.float32]
    saliency: npt.NDArray[np.float32]
    of: npt.NDArray[np.int32]
    group: npt.NDArray[np.int32] | None = None

    def __post_init__(self) -> None:
        tokens = len(self.features)
        if self.features.ndim != 2 or self.saliency.shape != (tokens,):
            raise DataError(f"features of shape {self.features.shape} with saliency of shape {self.saliency.shape}")
        if len(self.of) and (self.of.max() >= tokens or self.of.min() < -1):
            raise DataError(f"token {int(self.of.max())} of an element, but there are {tokens} tokens")
        bad = int((~np.isfinite(self.features)).any(axis=1).sum())
        if bad:
            raise DataError(
                f"{bad} of {tokens} tokens have features that are not finite; train or copy the encoder anew"
            )


class Encoder(Protocol):
    """Makes tokens of frames. Survives pickling; loads its weights when first asked, once a process."""

    @property
    def name(self) -> str:
        """For people."""

    @property
    def fingerprint(self) -> str:
        """A digest of its weights and settings."""

    def tokens(self, frame: Frame, points: npt.NDArray[np.float32]) -> Tokens:
        """The tokens of a frame with the given points or pixels. Raises DataError that names the frame's file."""
