# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""The pretext signal: how badly an encoder of `lidal3d pretrain --method masked` tells a unit from what surrounds it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from lidal3d.errors import DataError
from lidal3d.jobs.signals import SignalValues
from lidal3d.predictions.maps import FrameMaps
from lidal3d.scene.scene import Frame

if TYPE_CHECKING:
    from lidal3d.learn.pretrain.file import Pretrained

COLUMN = "pretext_loss"


@dataclass(frozen=True)
class PretextSignal:
    """A Signal that gives the column `pretext_loss`.

    Attributes:
        encoder: its folder or file.
        masks: how many fixed masks are averaged over.
        device: where torch computes.
        of_file: digest of the encoder's file.
    """

    encoder: Path
    masks: int
    device: str
    of_file: str
    name: str = "pretext"

    @classmethod
    def open(cls, encoder: Path, masks: int, device: str = "cpu") -> PretextSignal:
        """The signal of an encoder. Raises DataError where there is none of method `masked`."""
        from lidal3d.learn.pretrain.file import encoder_path, file_fingerprint, load_pretrained
        from lidal3d.learn.pretrain.reconstruction import Answers

        trained = load_pretrained(encoder)
        if not isinstance(trained.head, Answers):
            raise DataError(
                f"{encoder_path(encoder)}: an encoder of '{trained.method}' has no pretext loss; make one with "
                "`lidal3d pretrain --method masked`"
            )
        return cls(encoder, masks, device, file_fingerprint(encoder))

    @property
    def fingerprint(self) -> str:
        """As `Signal`."""
        return f"{self.of_file}, {self.masks} masks"

    def of_units(
        self, frame: Frame, points: npt.NDArray[np.float32], maps: FrameMaps, unit: npt.NDArray[np.int32], units: int
    ) -> SignalValues:
        """As `Signal`: the mean over a unit's points or pixels; NaN for a unit of which none is known."""
        from lidal3d.learn.pretrain.pretext import pretext_losses

        try:
            losses = pretext_losses(_loaded(self.encoder, self.of_file, self.device), points, self.masks)
        except DataError as error:
            raise DataError(f"{frame.scene.source.points_path(frame.index)}: {error}") from None
        known = np.isfinite(losses) & (unit >= 0)
        count = np.bincount(unit[known], minlength=units)
        total = np.bincount(unit[known], losses[known], minlength=units)
        return SignalValues({COLUMN: np.where(count > 0, total / np.maximum(count, 1), np.nan)})


@lru_cache(maxsize=2)
def _loaded(encoder: Path, of_file: str, device: str) -> Pretrained:
    """The encoder, once a process."""
    from lidal3d.learn.pretrain.file import load_pretrained

    trained = load_pretrained(encoder)
    trained.encoder.to(device)
    trained.head.to(device)
    return trained
