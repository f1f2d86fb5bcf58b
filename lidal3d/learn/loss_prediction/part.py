# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Learning Loss in training: the head, and the ranking loss of the units in a batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from lidal3d.learn.beside import Part, Term
from lidal3d.learn.loss_prediction.head import LossHead, predicted_losses
from lidal3d.learn.loss_prediction.pooling import BatchUnits, unit_losses
from lidal3d.learn.loss_prediction.ranking import pair_losses, pairs_across
from lidal3d.learn.loss_prediction.taps import Tap
from lidal3d.learn.sampler import Batch
from lidal3d.settings.learning_loss import LearningLossConfig


class LossPart(Part):
    """(2/B) Σ ℓ over disjoint pairs of a step's labelled units, `weight` times.

    Of several processes each pairs the units of its own sweeps.

    Args:
        head: is trained.
        settings: of Learning Loss.
        steps: of the whole training.
        seed: of the pairs.
        whole: the units are whole frames.
    """

    reads_taps = True

    def __init__(self, head: LossHead, settings: LearningLossConfig, steps: int, seed: int, whole: bool) -> None:
        super().__init__()
        self.head, self._settings, self._seed, self._whole = head, settings, seed, whole
        self._last_attached = settings.detach_after * steps

    def forward(self, network: nn.Module, batch: Batch, logits: Tensor, taps: Sequence[Tap], number: int) -> Tensor:
        """l̂ of the batch's units; after `detach_after` of the steps without gradient into the network."""
        if number > self._last_attached:
            taps = [tap.detached() for tap in taps]
        return predicted_losses(self.head, taps, _units(batch), self._whole)

    def term(self, output: Tensor, logits: Tensor, batch: Batch, number: int) -> Term:
        """The ranking loss of this step's pairs, which are drawn from the step's number."""
        units = _units(batch)
        pairs = torch.from_numpy(pairs_across(units.frame, np.random.default_rng([self._seed, number])))
        pairs = pairs.to(output.device)
        with torch.no_grad():
            losses = unit_losses(logits, units)
        released = self._settings.ties == "released"
        costs = pair_losses(output.float(), losses, pairs, self._settings.margin, released)
        return Term(costs.sum(), costs.new_tensor(float(len(pairs))), self._settings.weight)


def _units(batch: Batch) -> BatchUnits:
    assert batch.units is not None
    return batch.units
