# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""The two encoders: a sparse U-Net over the voxels of sweeps, a small convolutional network over pictures.

Both turn views, each (N_i, 4) points or (N_i, 5) pixels, into tokens, and tell each point's or pixel's token.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from lidal3d.learn.batch import VOXEL_FEATURES, network_input
from lidal3d.learn.minkunet import Architecture, MinkUNet
from lidal3d.learn.sparse import Level
from lidal3d.scene.pixels import picture_shape
from lidal3d.settings.pretrain import PretrainConfig

STRIDE = 8  # pixels along the edge of a picture's token


@dataclass(frozen=True)
class Tokenised:
    """Views as an encoder reads them.

    Attributes:
        inputs: what the encoder takes.
        of: (N,) int64, the token of every element of all views, one view after the other.
    """

    inputs: Any
    of: Tensor


class EncoderNetwork(nn.Module):
    """What both encoders are: `tokenised` needs no gradient and may run ahead, calling gives the tokens' features."""

    kind: str
    dimensions: int

    def tokenised(self, views: Sequence[npt.NDArray[np.float32]]) -> Tokenised:
        """Views as `forward` takes them, on the network's device."""
        raise NotImplementedError

    def forward(self, tokenised: Tokenised) -> Tensor:
        """Features (P, E) of all tokens."""
        raise NotImplementedError

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return next(self.parameters()).device


class SparseEncoder(EncoderNetwork):
    """A MinkUNet without its classifier: a token is a voxel."""

    kind = "sparse"

    def __init__(self, config: PretrainConfig) -> None:
        super().__init__()
        self.voxel_m = config.voxel_m
        self.trunk = MinkUNet(Architecture(1, VOXEL_FEATURES, config.width, config.blocks))
        self.trunk.head = cast(nn.Linear, nn.Identity())
        self.dimensions = self.trunk.architecture.channels[-1]

    def tokenised(self, views: Sequence[npt.NDArray[np.float32]]) -> Tokenised:
        """Voxels of views (N_i, 4). Raises DataError where a coordinate or an intensity is not finite."""
        data = network_input([torch.from_numpy(view).to(self.device) for view in views], self.voxel_m)
        return Tokenised((data.features, Level(data.voxels.keys).prepare()), data.voxels.point_voxel)

    def forward(self, tokenised: Tokenised) -> Tensor:
        """The network's last features."""
        features, level = tokenised.inputs
        last: Tensor = self.trunk(features, level)[1]
        return last


class _Stage(nn.Module):
    """Half the resolution, then one residual block of 3×3 convolutions with batch normalisation."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.down = nn.Conv2d(channels_in, channels_out, 3, 2, 1, bias=False)
        self.down_norm = nn.BatchNorm2d(channels_out)
        self.first = nn.Conv2d(channels_out, channels_out, 3, 1, 1, bias=False)
        self.first_norm = nn.BatchNorm2d(channels_out)
        self.second = nn.Conv2d(channels_out, channels_out, 3, 1, 1, bias=False)
        self.second_norm = nn.BatchNorm2d(channels_out)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, H, W) to (B, C_out, H/2, W/2), rounded up."""
        x = functional.relu(self.down_norm(self.down(x)))
        y = functional.relu(self.first_norm(self.first(x)))
        return functional.relu(x + self.second_norm(self.second(y)))


class ImageEncoder(EncoderNetwork):
    """Three stages of a small ResNet: a token is a cell of STRIDE × STRIDE pixels."""

    kind = "image"

    def __init__(self, config: PretrainConfig) -> None:
        super().__init__()
        self.dimensions = config.channels
        half = max(1, config.channels // 2)
        self.stages = nn.Sequential(
            _Stage(3, half), _Stage(half, config.channels), _Stage(config.channels, config.channels)
        )

    def tokenised(self, views: Sequence[npt.NDArray[np.float32]]) -> Tokenised:
        """Pictures of views (H_i · W_i, 5), smaller ones padded at their ends with the middle grey."""
        heights, widths = zip(*(picture_shape(view) for view in views), strict=True)
        high, wide = max(heights), max(widths)
        batch = torch.zeros(len(views), 3, high, wide)
        of, down, across = [], -(-high // STRIDE), -(-wide // STRIDE)
        for place, (view, height, width) in enumerate(zip(views, heights, widths, strict=True)):
            colours = torch.from_numpy(view[:, 2:5]) - 0.5
            batch[place, :, :height, :width] = colours.reshape(height, width, 3).permute(2, 0, 1)
            column, row = view[:, 0].astype(np.int64), view[:, 1].astype(np.int64)
            of.append(torch.from_numpy((place * down + row // STRIDE) * across + column // STRIDE))
        return Tokenised(batch.to(self.device), torch.cat(of).to(self.device))

    def forward(self, tokenised: Tokenised) -> Tensor:
        """Features of the cells, row by row, picture after picture."""
        features: Tensor = self.stages(tokenised.inputs)
        return features.permute(0, 2, 3, 1).reshape(-1, self.dimensions)


ENCODERS: dict[str, type[SparseEncoder] | type[ImageEncoder]] = {"sparse": SparseEncoder, "image": ImageEncoder}


def build_encoder(kind: str, config: PretrainConfig, seed: int = 0) -> EncoderNetwork:
    """An encoder with random weights drawn from `seed`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ENCODERS[kind](config)


def pooled(features: Tensor, of: Tensor, region: Tensor, regions: int) -> Tensor:
    """Means (R, E) over the elements of each region of their tokens' features; zero for a region without elements.

    Args:
        features: (P, E) of tokens.
        of: (N,) the token of each element.
        region: (N,) int64 the region of each element, −1 for none.
        regions: R.
    """
    inside = region >= 0
    of, region = of[inside], region[inside]
    sums = features.new_zeros(regions, features.shape[1]).index_add_(0, region, features.index_select(0, of))
    return sums / torch.bincount(region, minlength=regions).clamp_min(1).unsqueeze(1)
