# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""State dicts of tiny vision transformers, named and shaped as timm, DINO and DINOv2 save theirs."""

from __future__ import annotations

import torch
from torch import Tensor


def tiny_vit(
    width: int = 64,
    depth: int = 3,
    patch_px: int = 8,
    grid: int = 4,
    registers: int = 0,
    positions_before: int = 1,
    layer_scale: bool = False,
    qkv_bias: bool = True,
    seed: int = 0,
) -> dict[str, Tensor]:
    """Random weights; `positions_before` is 1 where CLS has a position, 0 where it has none."""
    made = torch.Generator().manual_seed(seed)

    def random(*shape: int, size: float = 0.1) -> Tensor:
        return size * torch.randn(*shape, generator=made)

    state = {
        "cls_token": random(1, 1, width),
        "pos_embed": random(1, grid * grid + positions_before, width, size=0.5),
        "patch_embed.proj.weight": random(width, 3, patch_px, patch_px),
        "patch_embed.proj.bias": random(width),
        "norm.weight": 1 + random(width),
        "norm.bias": random(width),
    }
    if registers:
        state["reg_token"] = random(1, registers, width)
    for block in range(depth):
        inside = {
            "norm1.weight": 1 + random(width), "norm1.bias": random(width),
            "attn.qkv.weight": random(3 * width, width, size=0.3),
            "attn.proj.weight": random(width, width), "attn.proj.bias": random(width),
            "norm2.weight": 1 + random(width), "norm2.bias": random(width),
            "mlp.fc1.weight": random(2 * width, width), "mlp.fc1.bias": random(2 * width),
            "mlp.fc2.weight": random(width, 2 * width), "mlp.fc2.bias": random(width),
        }  # fmt: skip
        if qkv_bias:
            inside["attn.qkv.bias"] = random(3 * width)
        if layer_scale:
            inside |= {"ls1.gamma": 0.5 + random(width), "ls2.gamma": 0.5 + random(width)}
        state |= {f"blocks.{block}.{name}": tensor for name, tensor in inside.items()}
    return state
