# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""What a network can learn beside its labels: parts, each a loss of its own that is added to the cross-entropy.

With no part, a training is what it is without this file: the network is wrapped and called as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from torch import Tensor, nn

from lidal3d.learn.loss_prediction.taps import Tap, tappable, tapping
from lidal3d.learn.sampler import Batch


class Term(NamedTuple):
    """A loss as processes add it up before they divide: factor × loss / weight.

    Attributes:
        loss: a sum, with gradient.
        weight: what it is divided by.
        factor: how much it counts in the step.
    """

    loss: Tensor
    weight: Tensor
    factor: float = 1.0


class Part(nn.Module):
    """Something that is learnt beside the labels; its parameters are trained with the network's.

    Attributes:
        reads_taps: whether it is given the network's taps.
    """

    reads_taps = False

    def forward(self, network: nn.Module, batch: Batch, logits: Tensor, taps: Sequence[Tap], number: int) -> Tensor:
        """What its loss is made of, computed inside the step's one call of all modules.

        Args:
            network: in training mode.
            batch: the step's.
            logits: what the network said of the batch.
            taps: with `reads_taps` the network's; else none.
            number: of the step, from 1.
        """
        raise NotImplementedError

    def term(self, output: Tensor, logits: Tensor, batch: Batch, number: int) -> Term:
        """Its loss, from what `forward` gave."""
        raise NotImplementedError

    def follow(self, network: nn.Module, number: int) -> None:
        """Told after each step of the optimiser."""

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint must keep beside its parameters."""
        return {}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a `state`."""


class JointNetwork(nn.Module):
    """A network and the parts that are learnt beside its labels, called as one, as several processes need it."""

    def __init__(self, network: nn.Module, parts: Iterable[Part]) -> None:
        super().__init__()
        self.network, self.parts = network, nn.ModuleList(parts)
        self._reads_taps = any(part.reads_taps for part in self.parts)

    def forward(self, batch: Batch, number: int) -> tuple[Tensor, ...]:
        """Logits, and what each part's loss is made of."""
        taps: list[Tap] = []
        if not self._reads_taps:
            logits = self.network(*batch.inputs)[0]
        else:
            tapped = tappable(self.network)
            with tapping(tapped) as caught:
                logits = self.network(*batch.inputs)[0]
            taps = [tapped.tap(output, batch.inputs) for output in caught]
        outputs = [part(self.network, batch, logits, taps if part.reads_taps else (), number) for part in self.parts]
        return (logits, *outputs)
