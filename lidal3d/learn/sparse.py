# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Sparse tensors and the layers on them. A layer names a kernel map; `backends.convolve` computes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from lidal3d.learn.backends import convolve
from lidal3d.learn.kernel_maps import KernelMap, identity_map, strided_map, submanifold_map
from lidal3d.learn.together import norm_together, together


class Level:
    """The occupied voxels at one stride, and the kernel maps that all layers of the level share, built when asked."""

    def __init__(self, keys: Tensor) -> None:
        self.keys = keys

    def __len__(self) -> int:
        return len(self.keys)

    @cached_property
    def neighbours(self) -> KernelMap:
        """The 3×3×3 submanifold map."""
        return submanifold_map(self.keys)

    @cached_property
    def itself(self) -> KernelMap:
        """The 1×1×1 map: every voxel meets itself."""
        return identity_map(self.keys)

    @cached_property
    def _down(self) -> tuple[Level, KernelMap]:
        keys, down = strided_map(self.keys)
        return Level(keys), down

    @property
    def coarser(self) -> Level:
        """The level of voxels twice as large."""
        return self._down[0]

    @property
    def down(self) -> KernelMap:
        """The map from this level to the coarser one; its transposed leads back."""
        return self._down[1]

    def prepare(self, levels: int = 4) -> Level:
        """Build all maps that a network of so many levels will ask for; returns itself."""
        level = self
        for _ in range(levels):
            _ = level.itself, level.neighbours.transposed, level.down.transposed
            level = level.coarser
        _ = level.itself, level.neighbours.transposed
        return self


def as_level(keys: Tensor | Level) -> Level:
    """The level of sorted keys, or the one given."""
    return keys if isinstance(keys, Level) else Level(keys)


@dataclass(frozen=True)
class SparseTensor:
    """Features (V, C) on the voxels of a level."""

    features: Tensor
    level: Level


class VoxelNorm(nn.BatchNorm1d):
    """Batch normalisation over voxels; a lone voxel, which has no variance, is normalised as outside training."""

    def forward(self, features: Tensor) -> Tensor:
        """(V, C) to (V, C)."""
        others = together() if self.training else None
        if others is not None:
            return norm_together(self, features, others)
        if self.training and len(features) == 1:
            scale, shift = folded_norm(self)
            return features * scale + shift
        return super().forward(features)


class _Convolution(nn.Module):
    """Weights (K, C_in, C_out) and batch normalisation, which outside training is folded into the weights."""

    def __init__(self, weights: int, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(weights, channels_in, channels_out))
        self.norm = VoxelNorm(channels_out)
        nn.init.normal_(self.weight, std=(2.0 / (min(weights, 8) * channels_in)) ** 0.5)

    def _apply_map(self, features: Tensor, kernel_map: KernelMap) -> Tensor:
        if self.training:
            normed: Tensor = self.norm(convolve(features, self.weight, kernel_map))
            return normed
        scale, shift = folded_norm(self.norm)
        return convolve(features, self.weight * scale, kernel_map).add_(shift)


def folded_norm(norm: nn.BatchNorm1d) -> tuple[Tensor, Tensor]:
    """Scale and shift (C,) that a batch normalisation applies outside training."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = torch.rsqrt(norm.running_var + norm.eps)
    if not norm.affine:
        return scale, -norm.running_mean * scale
    scale = norm.weight * scale
    return scale, norm.bias - norm.running_mean * scale


class SubmanifoldConv(_Convolution):
    """3×3×3 convolution and batch normalisation; the output lies on the input's voxels."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__(27, channels_in, channels_out)

    def forward(self, x: SparseTensor) -> SparseTensor:
        """(V, C_in) to (V, C_out) on the same level."""
        return SparseTensor(self._apply_map(x.features, x.level.neighbours), x.level)


class PointwiseConv(_Convolution):
    """1×1×1 convolution and batch normalisation."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__(1, channels_in, channels_out)

    def forward(self, x: SparseTensor) -> SparseTensor:
        """(V, C_in) to (V, C_out) on the same level."""
        return SparseTensor(self._apply_map(x.features, x.level.itself), x.level)


class DownConv(_Convolution):
    """2×2×2 convolution of stride 2 and batch normalisation."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__(8, channels_in, channels_out)

    def forward(self, x: SparseTensor) -> SparseTensor:
        """(V, C_in) to (V', C_out) on the coarser level."""
        return SparseTensor(self._apply_map(x.features, x.level.down), x.level.coarser)


class UpConv(_Convolution):
    """The inverse of DownConv: 2×2×2 transposed convolution to the voxels of a finer level."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__(8, channels_in, channels_out)

    def forward(self, x: SparseTensor, finer: Level) -> SparseTensor:
        """(V', C_in) to (V, C_out) on `finer`, the level that x.level was made from."""
        return SparseTensor(self._apply_map(x.features, finer.down.transposed), finer)


def relu(x: SparseTensor) -> SparseTensor:
    """ReLU, in place: batch normalisation keeps its input for the gradient, not its output."""
    return SparseTensor(torch.relu_(x.features), x.level)


def concatenate(a: SparseTensor, b: SparseTensor) -> SparseTensor:
    """Channels of two tensors on one level side by side."""
    return SparseTensor(torch.cat([a.features, b.features], dim=1), a.level)
