# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""The loss, the schedule of the learning rate and the limit on gradients."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from lidal3d.scene.labels import IGNORE

WARMUP = 0.05
LEAST_WEIGHT = 1e-12


def weighted_cross_entropy(logits: Tensor, targets: Tensor, weights: Tensor, class_weights: Tensor) -> Tensor:
    """Σ w log-loss / Σ w over labelled voxels, w = weight × its class's weight; 0 where nothing is labelled.

    Args:
        logits: (V, C).
        targets: (V,) int64, 255 for none.
        weights: (V,).
        class_weights: (C,).
    """
    loss, weight = weighted_sums(logits, targets, weights, class_weights)
    return loss / weight.clamp_min(LEAST_WEIGHT)


def weighted_sums(logits: Tensor, targets: Tensor, weights: Tensor, class_weights: Tensor) -> tuple[Tensor, Tensor]:
    """Σ w log-loss and Σ w of `weighted_cross_entropy`, which processes add up before they divide."""
    losses = functional.cross_entropy(logits, targets, ignore_index=IGNORE, reduction="none")
    w = weights * class_weights[targets.clamp(max=len(class_weights) - 1)] * (targets != IGNORE)
    return (losses * w).sum(), w.sum()


def rate(step: int, steps: int, schedule: str = "cosine") -> float:
    """The share of the peak learning rate at a step from 0: a linear rise, then half a cosine or no change."""
    warmup = max(1, round(WARMUP * steps))
    if step < warmup:
        return (step + 1) / warmup
    if schedule == "constant":
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def clip_gradients(network: nn.Module, limit: float) -> None:
    """Scale all gradients so that their common norm is at most `limit`; one pass, where torch's takes a norm each."""
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    norm = torch.linalg.vector_norm(torch.cat([g.flatten() for g in gradients]))
    torch._foreach_mul_(gradients, (limit / norm.clamp_min(limit)))
