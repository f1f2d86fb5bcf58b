# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""A vision transformer that reads weights of timm, DINO and DINOv2, for what its patches are like and what it attends to.

    z_0 = [CLS, registers, patches] + positions
    z'_l = z_{l-1} + s_l · Attention(norm(z_{l-1})),   z_l = z'_l + s'_l · MLP(norm(z'_l))

with layer scales s = 1 where there are none. Features are z_{L-1} of the patches through the final norm; attention is that
of CLS to the patches in block L, the mean of its heads, renormalised: one forward pass for both (FreeSel's inputs).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isqrt
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from lidal3d.errors import DataError

HEAD_WIDTH = 64  # of every head of every ViT by timm, DINO and DINOv2; a state dict doesn't tell


@dataclass(frozen=True)
class Sizes:
    """What the shapes of a state dict say.

    Attributes:
        width: E, features of a token.
        depth: blocks.
        patch_px: edge of a patch.
        hidden: width of the blocks' MLP.
        positions: entries of the position embedding, `grid`² of patches and the rest of the tokens before them.
        registers: tokens beside CLS that show nothing.
        qkv_bias, layer_scale: whether the blocks have them.
    """

    width: int
    depth: int
    patch_px: int
    hidden: int
    positions: int
    registers: int = 0
    qkv_bias: bool = True
    layer_scale: bool = False

    @property
    def grid(self) -> int:
        """Patches along an edge of the pictures that the positions are of."""
        return isqrt(self.positions)


class _Attention(nn.Module):
    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.heads = max(1, sizes.width // HEAD_WIDTH)
        self.qkv = nn.Linear(sizes.width, 3 * sizes.width, bias=sizes.qkv_bias)
        self.proj = nn.Linear(sizes.width, sizes.width)

    def parts(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values (B, heads, T, E / heads) of tokens (B, T, E)."""
        batch, tokens, width = x.shape
        q, k, v = self.qkv(x).reshape(batch, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        return q, k, v

    def forward(self, x: Tensor) -> Tensor:
        mixed = functional.scaled_dot_product_attention(*self.parts(x))
        out: Tensor = self.proj(mixed.transpose(1, 2).flatten(2))
        return out


class _MLP(nn.Module):
    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.fc1 = nn.Linear(sizes.width, sizes.hidden)
        self.fc2 = nn.Linear(sizes.hidden, sizes.width)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc2(functional.gelu(self.fc1(x)))
        return out


class _Scale(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


class _Block(nn.Module):
    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(sizes.width, eps=1e-6)
        self.attn = _Attention(sizes)
        self.ls1 = _Scale(sizes.width) if sizes.layer_scale else nn.Identity()
        self.norm2 = nn.LayerNorm(sizes.width, eps=1e-6)
        self.mlp = _MLP(sizes)
        self.ls2 = _Scale(sizes.width) if sizes.layer_scale else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.ls1(self.attn(self.norm1(x)))
        return x + self.ls2(self.mlp(self.norm2(x)))


class _PatchEmbed(nn.Module):
    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, sizes.width, sizes.patch_px, sizes.patch_px)


class ViT(nn.Module):
    """The network; parameters are named as timm and DINO name them."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.cls_token = nn.Parameter(torch.zeros(1, 1, sizes.width))
        self.pos_embed = nn.Parameter(torch.zeros(1, sizes.positions, sizes.width))
        if sizes.registers:
            self.reg_token = nn.Parameter(torch.zeros(1, sizes.registers, sizes.width))
        self.patch_embed = _PatchEmbed(sizes)
        self.blocks = nn.ModuleList(_Block(sizes) for _ in range(sizes.depth))
        self.norm = nn.LayerNorm(sizes.width, eps=1e-6)

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Features (B, P, E) and attention (B, P), which sums to 1, of the patches, row by row.

        Args:
            pictures: (B, 3, H, W), normalised; H and W are whole numbers of patches.
        """
        x = self._embedded(pictures)
        for block in list(self.blocks)[:-1]:
            x = block(x)
        last = self.blocks[-1]
        assert isinstance(last, _Block)
        q, k, _ = last.attn.parts(last.norm1(x))
        before = 1 + self.sizes.registers
        weight = (q[:, :, :1] @ k.transpose(-2, -1) / k.shape[-1] ** 0.5).softmax(dim=-1)[:, :, 0].mean(dim=1)
        attention = weight[:, before:]
        features: Tensor = self.norm(x)[:, before:]
        return features, attention / attention.sum(dim=1, keepdim=True)

    def _embedded(self, pictures: Tensor) -> Tensor:
        patches = self.patch_embed.proj(pictures)
        batch, _, down, across = patches.shape
        before, positions = self._positions(down, across)
        own: list[Tensor] = [self.cls_token]
        if self.sizes.registers:
            own.append(self.reg_token)
        first = torch.cat(own, dim=1)
        if before.shape[1]:
            first = torch.cat([first[:, : before.shape[1]] + before, first[:, before.shape[1] :]], dim=1)
        return torch.cat([first.expand(batch, -1, -1), patches.flatten(2).transpose(1, 2) + positions], dim=1)

    def _positions(self, down: int, across: int) -> tuple[Tensor, Tensor]:
        """Of the tokens before the patches, and of down × across patches: interpolated where the file's are others."""
        grid = self.sizes.grid
        count = self.sizes.positions - grid * grid
        before, patches = self.pos_embed[:, :count], self.pos_embed[:, count:]
        if (down, across) != (grid, grid):
            square = patches.reshape(1, grid, grid, -1).permute(0, 3, 1, 2)
            turned = functional.interpolate(square, (down, across), mode="bicubic", antialias=True, align_corners=False)
            patches = turned.flatten(2).transpose(1, 2)
        return before, patches


def vit_of(state: Mapping[str, Tensor], path: Path | str) -> ViT:
    """The ViT of a state dict by timm, DINO or DINOv2, in evaluation mode.

    Args:
        state: name -> tensor, as `clean_names` gives it.
        path: for messages.

    Raises:
        DataError: tensors that are missing, of shapes that don't fit each other, or that a plain ViT doesn't have.
    """
    tensors = dict(state)
    # DINOv2's own name of timm's.
    if "register_tokens" in tensors:
        tensors["reg_token"] = tensors.pop("register_tokens")
    network = ViT(_sizes(tensors, path))
    wanted = network.state_dict()
    for name, tensor in wanted.items():
        if name not in tensors:
            raise DataError(f"{path}: lacks '{name}' of shape {tuple(tensor.shape)}; give the weights of a whole ViT")
        if tensors[name].shape != tensor.shape:
            raise DataError(
                f"{path}: '{name}' has shape {tuple(tensors[name].shape)}, {tuple(tensor.shape)} fits the other tensors; "
                "give the weights of a plain ViT"
            )
    for name in tensors.keys() - wanted.keys():
        if not name.startswith(("head.", "mask_token")):
            raise DataError(f"{path}: has '{name}', which a plain ViT doesn't; give one by timm, DINO or DINOv2")
    values = {name: tensors[name].float() for name in wanted}
    bad = next((name for name, tensor in values.items() if not torch.isfinite(tensor).all()), None)
    if bad is not None:
        raise DataError(f"{path}: '{bad}' has numbers that are not finite; copy the file again")
    network.load_state_dict(values)
    return network.eval()


def _sizes(tensors: Mapping[str, Tensor], path: Path | str) -> Sizes:
    """What the shapes say. Raises DataError where they say nothing."""
    patch = _tensor(tensors, "patch_embed.proj.weight", 4, path)
    width, patch_px = patch.shape[0], patch.shape[3]
    blocks = {name.split(".")[1] for name in tensors if name.startswith("blocks.")}
    if len(blocks) < 2 or blocks != {str(number) for number in range(len(blocks))}:
        raise DataError(f"{path}: has blocks {', '.join(sorted(blocks)) or 'none'}, 2 or more from 0 on are needed")
    if width % HEAD_WIDTH:
        raise DataError(f"{path}: {width} features a token, which is no whole number of heads of {HEAD_WIDTH}")
    registers = _tensor(tensors, "reg_token", 3, path).shape[1] if "reg_token" in tensors else 0
    positions = _tensor(tensors, "pos_embed", 3, path).shape[1]
    if positions - isqrt(positions) ** 2 not in (0, 1, 1 + registers):
        raise DataError(
            f"{path}: 'pos_embed' has {positions} positions, a square number of patches and CLS is needed; "
            "give the weights of a ViT for square pictures"
        )
    hidden = _tensor(tensors, "blocks.0.mlp.fc1.weight", 2, path).shape[0]
    return Sizes(
        width, len(blocks), patch_px, hidden, positions, registers,
        "blocks.0.attn.qkv.bias" in tensors, "blocks.0.ls1.gamma" in tensors,
    )  # fmt: skip


def _tensor(tensors: Mapping[str, Tensor], name: str, dimensions: int, path: Path | str) -> Tensor:
    if name not in tensors:
        raise DataError(f"{path}: lacks '{name}'; give the weights of a whole ViT by timm, DINO or DINOv2")
    if tensors[name].ndim != dimensions:
        raise DataError(f"{path}: '{name}' has shape {tuple(tensors[name].shape)}, {dimensions} dimensions are needed")
    return tensors[name]
