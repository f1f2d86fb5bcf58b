# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""MinkUNet (Choy et al., CVPR 2019, in the shape that SPVNAS and LiDAL use), with a factor on its widths."""

from __future__ import annotations

from torch import Tensor, nn

from lidal3d.learn.architecture import Architecture, Network
from lidal3d.learn.loss_prediction.taps import Tap
from lidal3d.learn.points import parents
from lidal3d.learn.sparse import (
    DownConv,
    Level,
    PointwiseConv,
    SparseTensor,
    SubmanifoldConv,
    UpConv,
    VoxelNorm,
    as_level,
    concatenate,
    relu,
)
from lidal3d.learn.voxels import unpack


class ResidualBlock(nn.Module):
    """relu(norm(conv(relu(norm(conv x)))) + shortcut x), the shortcut pointwise where the widths differ."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.first = SubmanifoldConv(channels_in, channels_out)
        self.second = SubmanifoldConv(channels_out, channels_out)
        self.shortcut = PointwiseConv(channels_in, channels_out) if channels_in != channels_out else None

    def forward(self, x: SparseTensor) -> SparseTensor:
        """(V, C_in) to (V, C_out)."""
        y = self.second(relu(self.first(x)))
        shortcut = x if self.shortcut is None else self.shortcut(x)
        return relu(SparseTensor(y.features + shortcut.features, x.level))


def _blocks(channels_in: int, channels_out: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(ResidualBlock(channels_in if i == 0 else channels_out, channels_out) for i in range(count)))


class Down(nn.Module):
    """Halve the resolution, then residual blocks."""

    def __init__(self, channels_in: int, channels_out: int, blocks: int) -> None:
        super().__init__()
        self.down = DownConv(channels_in, channels_in)
        self.blocks = _blocks(channels_in, channels_out, blocks)

    def forward(self, x: SparseTensor) -> SparseTensor:
        """(V, C_in) to (V', C_out) on the coarser level."""
        result: SparseTensor = self.blocks(relu(self.down(x)))
        return result


class Up(nn.Module):
    """Double the resolution, join what the way down left there, then residual blocks."""

    def __init__(self, channels_in: int, channels_skip: int, channels_out: int, blocks: int) -> None:
        super().__init__()
        self.up = UpConv(channels_in, channels_out)
        self.blocks = _blocks(channels_out + channels_skip, channels_out, blocks)

    def forward(self, x: SparseTensor, skip: SparseTensor) -> SparseTensor:
        """(V', C_in) and skip (V, C_skip) to (V, C_out)."""
        result: SparseTensor = self.blocks(concatenate(relu(self.up(x, skip.level)), skip))
        return result


class Trunk(Network):
    """What the networks share: input normalisation, a stem, four levels down, four levels up, a linear head."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__(architecture)
        c = architecture.channels
        # Metres, intensities and offsets differ by orders of magnitude: the network learns what is usual for its data.
        self.input_norm = VoxelNorm(architecture.channels_in, affine=False)
        self.stem = nn.ModuleList([SubmanifoldConv(architecture.channels_in, c[0]), SubmanifoldConv(c[0], c[0])])
        self.downs = nn.ModuleList([Down(c[i], c[i + 1], architecture.blocks) for i in range(4)])
        self.ups = nn.ModuleList([Up(c[4 + i], c[3 - i], c[5 + i], architecture.blocks) for i in range(4)])
        self.head = nn.Linear(c[8], architecture.classes)

    def enter(self, features: Tensor, level: Level) -> SparseTensor:
        """Normalised inputs through the stem."""
        x = SparseTensor(self.input_norm(features), level)
        for stem in self.stem:
            x = relu(stem(x))
        return x

    def descend(self, x: SparseTensor) -> tuple[SparseTensor, list[SparseTensor]]:
        """Four levels down; the coarsest tensor, and what the way up joins, finest first."""
        skips = []
        for down in self.downs:
            skips.append(x)
            x = down(x)
        return x, skips

    def tap_modules(self) -> list[nn.Module]:
        """What a loss head reads, see `lidal3d.learn.loss_prediction.taps`: the coarsest level, and the four ways up."""
        return [self.downs[-1], *self.ups]

    def tap_channels(self) -> tuple[int, ...]:
        """The widths of the taps."""
        return self.architecture.channels[4:]

    def tap(self, output: SparseTensor, inputs: tuple[Tensor, Level]) -> Tap:
        """A level's features, and which of its voxels lies around each of the finest."""
        finest = level = inputs[1]
        levels = 0
        while level is not output.level:
            level, levels = level.coarser, levels + 1
        return Tap(output.features, parents(finest, levels)[0], unpack(level.keys)[1])


class MinkUNet(Trunk):
    """Sparse U-Net: a stem, four levels down, four levels up, a linear head."""

    def forward(self, features: Tensor, keys: Tensor | Level) -> tuple[Tensor, Tensor]:
        """Logits (V, C) and last features (V, D).

        Args:
            features: (V, channels_in).
            keys: (V,) int64 voxel keys, sorted and unique, or the level that they make.
        """
        x, skips = self.descend(self.enter(features, as_level(keys)))
        for up in self.ups:
            x = up(x, skips.pop())
        return self.head(x.features), x.features
