# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""A U-Net for pictures (Ronneberger et al., MICCAI 2015) of residual blocks, small enough for a processor.

Shapes as MinkUNet's: a stem, four levels down, four levels up, a linear head. At the full resolution, where most of the
time would go, there is one convolution on each side.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from lidal3d.learn.architecture import Architecture, Network
from lidal3d.learn.loss_prediction.taps import Tap
from lidal3d.learn.sparse import VoxelNorm, folded_norm

LEVELS = 4


class PixelNorm(VoxelNorm):
    """Batch normalisation over the pixels of all pictures; of several processes, over those of all."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, K, H, W) to the same."""
        rows = x.permute(0, 2, 3, 1)
        normed: Tensor = super().forward(rows.reshape(-1, rows.shape[3]))
        return normed.view(rows.shape).permute(0, 3, 1, 2)


class _Convolution(nn.Module):
    """Weights and batch normalisation, which outside training is folded into the weights."""

    def __init__(self, shape: tuple[int, int, int, int], inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(shape))
        self.norm = PixelNorm(outputs)
        nn.init.normal_(self.weight, std=(2.0 / inputs) ** 0.5)

    def forward(self, x: Tensor) -> Tensor:
        """(B, K_in, H, W) to (B, K_out, H', W')."""
        if self.training:
            normed: Tensor = self.norm(self.convolve(x, self.weight, None))
            return normed
        scale, shift = folded_norm(self.norm)
        return self.convolve(x, self.scaled(scale), shift)

    def scaled(self, scale: Tensor) -> Tensor:
        """The weights, each output channel times its scale."""
        return self.weight * scale[:, None, None, None]

    def convolve(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """The convolution itself."""
        raise NotImplementedError


class Conv(_Convolution):
    """Convolution of an odd edge, whose output has the input's size, and batch normalisation."""

    def __init__(self, channels_in: int, channels_out: int, edge: int = 3) -> None:
        super().__init__((channels_out, channels_in, edge, edge), edge * edge * channels_in, channels_out)

    def convolve(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """(B, K_in, H, W) to (B, K_out, H, W)."""
        return functional.conv2d(x, weight, bias, padding=weight.shape[2] // 2)


class Halve(_Convolution):
    """2×2 convolution of stride 2 and batch normalisation."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__((channels_out, channels_in, 2, 2), 4 * channels_in, channels_out)

    def convolve(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """(B, K_in, 2H, 2W) to (B, K_out, H, W)."""
        return functional.conv2d(x, weight, bias, stride=2)


class Double(_Convolution):
    """The inverse of Halve: 2×2 transposed convolution of stride 2 and batch normalisation."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__((channels_in, channels_out, 2, 2), channels_in, channels_out)

    def scaled(self, scale: Tensor) -> Tensor:
        """As for `_Convolution`; here output channels come second."""
        return self.weight * scale[:, None, None]

    def convolve(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """(B, K_in, H, W) to (B, K_out, 2H, 2W)."""
        return functional.conv_transpose2d(x, weight, bias, stride=2)


class ResidualBlock(nn.Module):
    """relu(norm(conv(relu(norm(conv x)))) + shortcut x), the shortcut pointwise where the widths differ."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.first = Conv(channels_in, channels_out)
        self.second = Conv(channels_out, channels_out)
        self.shortcut = Conv(channels_in, channels_out, edge=1) if channels_in != channels_out else None

    def forward(self, x: Tensor) -> Tensor:
        """(B, K_in, H, W) to (B, K_out, H, W)."""
        y = self.second(torch.relu_(self.first(x)))
        return torch.relu_(y + (x if self.shortcut is None else self.shortcut(x)))


class Down(nn.Module):
    """Halve the resolution, then residual blocks."""

    def __init__(self, channels_in: int, channels_out: int, blocks: int) -> None:
        super().__init__()
        self.down = Halve(channels_in, channels_out)
        self.blocks = nn.Sequential(*(ResidualBlock(channels_out, channels_out) for _ in range(blocks)))

    def forward(self, x: Tensor) -> Tensor:
        """(B, K_in, 2H, 2W) to (B, K_out, H, W)."""
        result: Tensor = self.blocks(torch.relu_(self.down(x)))
        return result


class Up(nn.Module):
    """Double the resolution, join what the way down left there, then residual blocks; one convolution for 0 blocks."""

    def __init__(self, channels_in: int, channels_skip: int, channels_out: int, blocks: int) -> None:
        super().__init__()
        self.up = Double(channels_in, channels_out)
        joined = channels_out + channels_skip
        widths = [joined] + [channels_out] * (blocks - 1)
        layers = [ResidualBlock(k, channels_out) for k in widths] if blocks else [Conv(joined, channels_out), nn.ReLU()]
        self.blocks = nn.Sequential(*layers)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """(B, K_in, H, W) and skip (B, K_skip, 2H, 2W) to (B, K_out, 2H, 2W)."""
        result: Tensor = self.blocks(torch.cat([torch.relu_(self.up(x)), skip], dim=1))
        return result


class UNet2d(Network):
    """U-Net on pictures of any size: they are continued at their right and lower edges to a multiple of 16."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__(architecture)
        c, blocks = architecture.channels, architecture.blocks
        # Cameras differ in how bright their pictures are: the network learns what is usual for its data.
        self.input_norm = PixelNorm(architecture.channels_in, affine=False)
        self.stem = Conv(architecture.channels_in, c[0])
        self.downs = nn.ModuleList([Down(c[i], c[i + 1], blocks) for i in range(LEVELS)])
        self.ups = nn.ModuleList([Up(c[4 + i], c[3 - i], c[5 + i], blocks if i < 3 else 0) for i in range(LEVELS)])
        self.head = nn.Linear(c[8], architecture.classes)

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B·H·W, C) and last features (B·H·W, D) of all pixels, picture by picture, row by row.

        Args:
            pictures: (B, channels_in, H, W).
        """
        height, width = pictures.shape[2:]
        edge = 1 << LEVELS
        margins = (0, -width % edge, 0, -height % edge)
        x = torch.relu_(self.stem(functional.pad(self.input_norm(pictures), margins, mode="replicate")))
        skips = []
        for down in self.downs:
            skips.append(x)
            x = down(x)
        for up in self.ups:
            x = up(x, skips.pop())
        features = x[:, :, :height, :width].permute(0, 2, 3, 1).reshape(-1, x.shape[1])
        return self.head(features), features

    def tap_modules(self) -> list[nn.Module]:
        """What a loss head reads, see `lidal3d.learn.loss_prediction.taps`: the coarsest level, and the four ways up."""
        return [self.downs[-1], *self.ups]

    def tap_channels(self) -> tuple[int, ...]:
        """The widths of the taps."""
        return self.architecture.channels[4:]

    def tap(self, output: Tensor, inputs: tuple[Tensor]) -> Tap:
        """A resolution's features (B·h·w, K), and which of its cells lies around each pixel; cells in a margin have no owner."""
        (pictures, _, height, width), (channels, rows, columns) = inputs[0].shape, output.shape[1:]
        edge = (height + -height % (1 << LEVELS)) // rows
        device = output.device
        row, column = torch.arange(height, device=device) // edge, torch.arange(width, device=device) // edge
        within = row[:, None] * columns + column
        first = torch.arange(pictures, device=device) * (rows * columns)
        owner = torch.full((pictures, rows * columns), -1, device=device)
        owner[:, within.flatten().unique()] = torch.arange(pictures, device=device)[:, None]
        values = output.permute(0, 2, 3, 1).reshape(-1, channels)
        return Tap(values, (first[:, None] + within.flatten()).flatten(), owner.flatten())
