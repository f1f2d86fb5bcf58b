# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Tokens of frames from a ViT: patches of pictures, and for sweeps those of all cameras, found by projection.

Pictures of a drive are wide and their things small, so a picture is cut into tiles of about the size that the ViT was
trained on. Attention sums to 1 in each tile; tokens of one tile are one group.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from lidal3d.errors import DataError
from lidal3d.learn.pretrain.file import file_fingerprint
from lidal3d.learn.threads import own_threads
from lidal3d.learn.vit import ViT
from lidal3d.learn.vit_file import load_vit
from lidal3d.predictions.tokens import Tokens
from lidal3d.scene.pixels import WIDTH, is_picture, picture_of, read_reduced, reduced_size
from lidal3d.scene.projection import visible_pixels
from lidal3d.scene.scene import Frame

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
TILE_PX = 224

Float32 = npt.NDArray[np.float32]
Int32 = npt.NDArray[np.int32]


@dataclass(frozen=True)
class ViTTokens:
    """A ViT at work; its weights are read when first asked, once a process.

    Attributes:
        path: its weights.
        device: where torch computes.
        cut: "tiles"; "whole": the picture as it is, positions interpolated; "squash": the picture at the size that the
            ViT's positions are of, whatever becomes of its aspect (FreeSel).
        fingerprint: of file and cut.

    Raises:
        DataError: no weights of a ViT there.
    """

    path: Path
    device: str = "cpu"
    cut: str = "tiles"
    fingerprint: str = field(default="", init=False)

    def __post_init__(self) -> None:
        load_vit(self.path)
        object.__setattr__(self, "fingerprint", f"{file_fingerprint(self.path)} {self.cut}")

    def __getstate__(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("path", "device", "cut", "fingerprint")}

    @property
    def name(self) -> str:
        """Its size."""
        sizes = self.network.sizes
        return f"ViT of {sizes.depth} blocks, {sizes.width} features, patches of {sizes.patch_px} px"

    @cached_property
    def network(self) -> ViT:
        """The ViT on its device."""
        return load_vit(self.path).to(self.device)

    def tokens(self, frame: Frame, points: Float32) -> Tokens:
        """The tokens of a frame with the given points or pixels.

        Raises:
            DataError: a picture that cannot be read, or a sweep without any.
        """
        if not len(points):
            empty = np.empty(0, np.int32)
            return Tokens(np.empty((0, self.network.sizes.width), np.float32), np.empty(0, np.float32), empty, empty)
        if not is_picture(points):
            return self._of_sweep(frame, points)
        picture = picture_of(points)
        features, attention, group, of = self.of_picture(picture)
        return Tokens(features, attention, of.ravel(), group)

    def _of_sweep(self, frame: Frame, points: Float32) -> Tokens:
        """The tokens of all cameras; a point seen by several is the first one's, a hidden one nobody's."""
        images = frame.images()
        if not images:
            path = frame.scene.source.points_path(frame.index)
            raise DataError(
                f"{path}: the sweep has no pictures and {self.path} is a ViT; give an encoder of `lidal3d pretrain`"
            )
        of, parts, tokens, groups = np.full(len(points), -1, np.int32), [], 0, 0
        for image in images:
            width, height = reduced_size(image, WIDTH)
            features, attention, group, of_pixel = self.of_picture(read_reduced(image.path, width, height))
            pixels, _, seen = visible_pixels(image, points[:, :3])
            seen &= of < 0
            scaled = pixels[seen] * (width / image.width, height / image.height)
            column, row = np.minimum(scaled.astype(np.int64), (width - 1, height - 1)).T
            of[seen] = of_pixel[row, column] + tokens
            parts.append((features, attention, group + groups))
            tokens, groups = tokens + len(features), groups + int(group.max()) + 1
        features, attention, group = (np.concatenate(part) for part in zip(*parts, strict=True))
        return Tokens(features, attention, of, group)

    def of_picture(self, picture: Float32) -> tuple[Float32, Float32, Int32, Int32]:
        """Features (P, E), attention (P,) and tile (P,) of patches, and (H, W) the patch of each pixel of (H, W, 3)."""
        height, width = picture.shape[:2]
        down, across = self._tiles(height, width)
        patch, grid = self.network.sizes.patch_px, self.network.sizes.grid
        high, wide = (max(1, round(size / patch)) for size in (height / down, width / across))
        if self.cut == "squash":
            high = wide = grid
        whole = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)[None]
        # All tiles at once: the picture at a whole number of patches a tile, and cut there.
        size = (down * high * patch, across * wide * patch)
        scaled = functional.interpolate(whole, size, mode="bilinear", antialias=True, align_corners=False)
        mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
        tiles = ((scaled - mean) / std).reshape(3, down, high * patch, across, wide * patch).permute(1, 3, 0, 2, 4)
        with torch.inference_mode(), own_threads():
            features, attention = self.network(tiles.flatten(0, 1).to(self.device))
        row = np.minimum((np.arange(height) + 0.5) * down * high // height, down * high - 1).astype(np.int32)
        column = np.minimum((np.arange(width) + 0.5) * across * wide // width, across * wide - 1).astype(np.int32)
        tile = (row // high)[:, None] * across + column // wide
        of = tile * high * wide + (row % high)[:, None] * wide + column % wide
        group = np.repeat(np.arange(down * across, dtype=np.int32), high * wide)
        return features.flatten(0, 1).cpu().numpy(), attention.flatten().cpu().numpy(), group, of.astype(np.int32)

    def _tiles(self, height: int, width: int) -> tuple[int, int]:
        """How many tiles, down and across."""
        if self.cut != "tiles":
            return 1, 1
        return max(1, round(height / TILE_PX)), max(1, round(width / TILE_PX))
