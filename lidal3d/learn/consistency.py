# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""TOD's semi-supervised training (Huang et al., ICCV 2021, section 3.3): be of one mind with one's own mean.

    L = L_S + λ · mean over elements and classes of (f(x; w) − f(x; w̃))²        on labelled and on unlabelled frames

f are logits, w̃ is the mean teacher, which sees the same augmented frame. The labelled batch counts with all of its
voxels or pixels; beside it each step sees as many frames of all there are, whatever is labelled in them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lidal3d.learn.beside import Part, Term
from lidal3d.learn.feed import Feed
from lidal3d.learn.loss_prediction.taps import Tap
from lidal3d.learn.sampler import Batch, BatchSource
from lidal3d.learn.teacher import Teacher, consistency_sums


class ConsistencyPart(Part):
    """The consistency loss; the teacher starts from the network as it is now, anew in every training.

    Args:
        network: on its device.
        weight: λ.
        alpha: of the teacher.
    """

    def __init__(self, network: nn.Module, weight: float, alpha: float) -> None:
        super().__init__()
        self._weight, self.teacher = weight, Teacher(network, alpha)

    def forward(self, network: nn.Module, batch: Batch, logits: Tensor, taps: Sequence[Tap], number: int) -> Tensor:
        """The network's logits of the batch's other frames (E', C)."""
        other: Tensor = logits[:0] if batch.other is None else network(*batch.other)[0]
        return other

    def term(self, output: Tensor, logits: Tensor, batch: Batch, number: int) -> Term:
        """λ times the mean square over the batch and the other frames."""
        own, elements = consistency_sums(logits, self.teacher.logits(batch.inputs))
        if batch.other is None:
            return Term(own, elements, self._weight)
        others, more = consistency_sums(output, self.teacher.logits(batch.other))
        return Term(own + others, elements + more, self._weight)

    def follow(self, network: nn.Module, number: int) -> None:
        """Let the teacher follow."""
        self.teacher.follow(network, number)

    def state(self) -> dict[str, Tensor]:
        """The teacher."""
        return {f"teacher/{name}": tensor for name, tensor in self.teacher.network.state_dict().items()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """The teacher as it was."""
        self.teacher.network.load_state_dict({name.removeprefix("teacher/"): tensor for name, tensor in state.items()})


class WithUnlabelled:
    """A sampler's batches, each with other frames beside it, whatever is labelled in them.

    Which frames a step sees depends on its number alone: a training that is resumed goes on alike. Every frame is seen
    once before any is seen again.

    Args:
        labelled: makes the batches.
        frames: how many other frames there are.
        read: gives the item of one.
        feed: makes a step's input of items.
        batch: frames a step over all processes.
        seed: of the order and of the views.
        done: steps that were taken already.
        device: where the input is made.
        share: which of a step's frames are this process's.
        agree: whether any process has an element in its share.
    """

    def __init__(
        self,
        labelled: BatchSource,
        frames: int,
        read: Callable[[int], Any],
        feed: Feed,
        batch: int,
        seed: int,
        done: int,
        device: torch.device,
        share: Callable[[int], slice],
        agree: Callable[[bool], bool] = bool,
    ) -> None:
        self._labelled, self._frames, self._read, self._feed = labelled, frames, read, feed
        self._batch, self._seed, self._made = batch, seed, done
        self._device, self._share, self._agree = device, share, agree

    def next(self) -> Batch:
        """The next batch."""
        batch, number = self._labelled.next(), self._made
        self._made += 1
        rng = np.random.default_rng([self._seed, number])
        drawn = [(self._frame(number * self._batch + i), self._feed.draw(rng)) for i in range(self._batch)]
        mine = drawn[self._share(len(drawn))]
        fed = self._feed.batch([self._read(frame) for frame, _ in mine], [view for _, view in mine], 1, self._device)
        return replace(batch, other=fed.inputs) if self._agree(len(fed.targets) > 0) else batch

    def _frame(self, place: int) -> int:
        """The place-th frame in an endless order that is shuffled anew every time round."""
        again, within = divmod(place, self._frames)
        return int(np.random.default_rng([self._seed, again, 1]).permutation(self._frames)[within])
