# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""A mean teacher (Tarvainen and Valpola, 2017), as TOD trains with (Huang et al., ICCV 2021, section 3.3).

    w̃ ← α_t w̃ + (1 − α_t) w        α_t = min(α, 1 − 1/(t+1)) after the t-th step

While 1 − 1/(t+1) is the smaller one, w̃ is the plain mean of all weights so far, the first ones included. The statistics
of batch normalisation are averaged like weights, since the teacher is asked in evaluation mode; counters are copied.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class Teacher:
    """The moving average of a network, which it follows and which is asked without gradient.

    Args:
        network: to start from.
        alpha: α, 0 … below 1.
    """

    def __init__(self, network: nn.Module, alpha: float) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.alpha = alpha

    @torch.no_grad()
    def follow(self, network: nn.Module, step: int) -> None:
        """Move towards the network after its step `step`, from 1."""
        alpha = min(self.alpha, 1 - 1 / (step + 1))
        own, followed = self.network.state_dict(), network.state_dict()
        for name, mean in own.items():
            if mean.is_floating_point():
                mean.lerp_(followed[name], 1 - alpha)
            else:
                mean.copy_(followed[name])

    @torch.no_grad()
    def logits(self, inputs: tuple[Any, ...]) -> Tensor:
        """(E, C) for the arguments of a network's call, without gradient and in evaluation mode."""
        logits: Tensor = self.network(*inputs)[0]
        return logits


def consistency_sums(logits: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """Σ (f − f̃)² / C of two (E, C), and E: what processes and batches add up before they divide."""
    squares = functional.mse_loss(logits.float(), wanted.detach().float(), reduction="sum")
    return squares / max(logits.shape[1], 1), torch.tensor(float(len(logits)), device=logits.device)
