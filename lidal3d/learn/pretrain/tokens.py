# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Tokens of frames from an encoder of `lidal3d pretrain`: voxels of a sweep, cells of a picture."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from lidal3d.errors import DataError, UsageError
from lidal3d.learn.pretrain.file import Pretrained, file_fingerprint, load_pretrained
from lidal3d.learn.threads import own_threads
from lidal3d.predictions.tokens import Tokens
from lidal3d.scene.pixels import is_picture
from lidal3d.scene.scene import Frame
from lidal3d.settings.tracks import TracksConfig
from lidal3d.tracks.ground import is_ground

MOSTLY = 0.5  # a voxel with this share of ground in it is ground


@dataclass(frozen=True)
class PretrainedTokens:
    """An encoder of `lidal3d pretrain` at work; its weights are read when first asked, once a process.

    Attributes:
        path: its folder or file.
        device: where torch computes.
        fingerprint: of the file.

    Raises:
        DataError: missing, damaged or no encoder.
    """

    path: Path
    device: str = "cpu"
    fingerprint: str = field(default="", init=False)

    def __post_init__(self) -> None:
        load_pretrained(self.path)
        object.__setattr__(self, "fingerprint", file_fingerprint(self.path))

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "device": self.device, "fingerprint": self.fingerprint}

    @property
    def name(self) -> str:
        """Kind, method and size."""
        return self.pretrained.name

    @cached_property
    def pretrained(self) -> Pretrained:
        """Encoder and head, on the device."""
        loaded = load_pretrained(self.path)
        loaded.encoder.to(self.device)
        loaded.head.to(self.device)
        return loaded

    def tokens(self, frame: Frame, points: npt.NDArray[np.float32]) -> Tokens:
        """The tokens of a frame with the given points or pixels.

        Of a sweep, tokens on the ground have saliency 0, the others the length of their features: things, not road. Of a
        picture all have 1.

        Raises:
            UsageError: pictures for an encoder of sweeps, or sweeps for one of pictures.
            DataError: points that aren't finite, or no whole picture.
        """
        features, of = self.features(frame, points)
        if is_picture(points):
            return Tokens(features, np.ones(len(features), np.float32), of)
        return Tokens(features, off_ground(points, of, features), of)

    def features(
        self, frame: Frame, points: npt.NDArray[np.float32]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]:
        """Features (P, E) of the tokens, and (N,) int32 the token of each point or pixel; errors as `tokens`."""
        encoder = self.pretrained.encoder
        self._refuse_other(frame, points)
        if not len(points):
            return np.empty((0, encoder.dimensions), np.float32), np.empty(0, np.int32)
        if not np.isfinite(points).all():
            path = frame.scene.source.points_path(frame.index)
            raise DataError(f"{path}: points that are not finite; run `lidal3d check` on the drive")
        with torch.inference_mode(), own_threads():
            tokenised = encoder.tokenised([np.ascontiguousarray(points, np.float32)])
            features = encoder(tokenised)
        return features.cpu().numpy(), tokenised.of.cpu().numpy().astype(np.int32)

    def _refuse_other(self, frame: Frame, points: npt.NDArray[np.float32]) -> None:
        kind = "image" if is_picture(points) else "sparse"
        if self.pretrained.encoder.kind != kind:
            have, want = ("pictures", "sweeps") if kind == "image" else ("sweeps", "pictures")
            raise UsageError(
                f"{self.path}: an encoder of {want}, but scene {frame.scene.id} has {have}; make one with "
                f"`lidal3d pretrain` on {'DRIVE@CAMERA' if kind == 'image' else 'the drive without @'}"
            )


def off_ground(
    points: npt.NDArray[np.float32], of: npt.NDArray[np.int32], features: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Saliency (P,): 0 where half of a token's points or more lie on the ground, else the length of its features."""
    ground = is_ground(points[:, :3].astype(np.float64), TracksConfig())
    points_of = np.bincount(of, minlength=len(features))
    share = np.bincount(of, weights=ground, minlength=len(features)) / np.maximum(points_of, 1)
    return np.where(share < MOSTLY, np.linalg.norm(features, axis=1), 0).astype(np.float32)
