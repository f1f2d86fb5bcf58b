# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""TOD's semi-supervised training (Huang et al., ICCV 2021, section 3.3): be of one mind with one's own mean.

    L = L_S + λ · mean over voxels and classes of (f(x; w) − f(x; w̃))²        on labelled and on unlabelled sweeps

f are logits, w̃ is the mean teacher, which sees the same augmented sweep. The labelled batch counts with all of its
voxels; beside it each step sees as many sweeps of all there are, whatever is labelled in them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from lidal3d.config import TrainConfig
from lidal3d.learn.augment import AUGMENTATIONS
from lidal3d.learn.batch import Sweep
from lidal3d.learn.beside import Part, Term
from lidal3d.learn.loss_prediction.taps import Tap
from lidal3d.learn.sampler import Batch, BatchSource, augmented_input
from lidal3d.learn.sparse import Level
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
        """The network's logits of the batch's unlabelled sweeps (V', C)."""
        if batch.other is None:
            return logits[:0]
        data, level = batch.other
        other: Tensor = network(data.features, level)[0]
        return other

    def term(self, output: Tensor, logits: Tensor, batch: Batch, number: int) -> Term:
        """λ and the mean square over both sweeps' voxels."""
        own, voxels = consistency_sums(logits, self.teacher.logits(batch.data.features, batch.level))
        if batch.other is None:
            return Term(own, voxels, self._weight)
        data, level = batch.other
        others, more = consistency_sums(output, self.teacher.logits(data.features, level))
        return Term(own + others, voxels + more, self._weight)

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
    """A sampler's batches, each with sweeps of all frames beside it.

    Which sweeps a step sees depends on its number alone: a training that is resumed goes on alike. Every frame is seen
    once before any is seen again.

    Args:
        labelled: makes the batches.
        frames: how many there are.
        read: a frame's sweep; what is labelled in it isn't looked at.
        config: of the training.
        done: steps that were taken already.
        device: where this process computes.
        share: which of a step's sweeps are this process's.
        agree: whether any process has a point in its share.
    """

    def __init__(
        self,
        labelled: BatchSource,
        frames: int,
        read: Callable[[int], Sweep],
        config: TrainConfig,
        done: int,
        device: torch.device,
        share: Callable[[int], slice],
        agree: Callable[[bool], bool] = bool,
    ) -> None:
        self._labelled, self._frames, self._read, self._config = labelled, frames, read, config
        self._made, self._device, self._share, self._agree = done, device, share, agree

    def next(self) -> Batch:
        """The next batch."""
        batch, number = self._labelled.next(), self._made
        self._made += 1
        rng = np.random.default_rng([self._config.seed, number])
        augmentation = AUGMENTATIONS[self._config.augmentation]
        drawn = [
            (self._frame(number * self._config.batch + i), augmentation.draw(rng)) for i in range(self._config.batch)
        ]
        mine = drawn[self._share(len(drawn))]
        data = augmented_input(
            [self._read(frame) for frame, _ in mine], [m for _, m in mine], self._config, self._device
        )
        if not self._agree(len(data.voxels) > 0):
            return batch
        return replace(batch, other=(data, Level(data.voxels.keys).prepare()))

    def _frame(self, place: int) -> int:
        """The place-th frame in an endless order that is shuffled anew every time round."""
        again, within = divmod(place, self._frames)
        return int(np.random.default_rng([self._config.seed, again, 1]).permutation(self._frames)[within])
