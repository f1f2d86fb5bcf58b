# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""The loss-prediction module of Learning Loss (Yoo and Kweon, CVPR 2019, section 3.2).

    l̂(u) = w · [relu(W_1 f_1(u)), …, relu(W_L f_L(u))] + b        f_i: the mean of tap i over unit u

There is no activation at the end: l̂ means something only against another l̂.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lidal3d.learn.loss_prediction.pooling import BatchUnits, pooled
from lidal3d.learn.loss_prediction.taps import Tap

HIDDEN = 128


class LossHead(nn.Module):
    """Predicted losses of units from a network's taps.

    Args:
        channels: C of each tap.
        hidden: width that each tap is brought to.
    """

    def __init__(self, channels: Sequence[int], hidden: int = HIDDEN) -> None:
        super().__init__()
        self.channels, self.hidden = tuple(channels), hidden
        self.reduce = nn.ModuleList([nn.Linear(c, hidden) for c in channels])
        self.out = nn.Linear(hidden * len(self.channels), 1)

    def forward(self, pooled_taps: Sequence[Tensor]) -> Tensor:
        """(U,) from one (U, C) a tap."""
        joined = torch.cat([torch.relu(reduce(f)) for reduce, f in zip(self.reduce, pooled_taps, strict=True)], dim=1)
        predicted: Tensor = self.out(joined).squeeze(1)
        return predicted


def build_head(channels: Sequence[int], hidden: int = HIDDEN, seed: int = 0) -> LossHead:
    """A head with random weights drawn from `seed`, whatever torch's global generator holds."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LossHead(channels, hidden)


def predicted_losses(head: LossHead, taps: Sequence[Tap], units: BatchUnits, whole: bool) -> Tensor:
    """l̂ of units (U,); `whole` where they are whole frames."""
    predicted: Tensor = head([pooled(tap, units, whole) for tap in taps])
    return predicted
