# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""What a training with a loss head needs of its frames: their units, what is held out, and the verdict at the end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from torch import nn

from lidal3d.config import TrainConfig
from lidal3d.errors import UsageError
from lidal3d.learn.batch import Sweep
from lidal3d.learn.loss_prediction.head import build_head
from lidal3d.learn.loss_prediction.held_out import HeldOut, Key, hold_out
from lidal3d.learn.loss_prediction.part import LossPart
from lidal3d.learn.loss_prediction.taps import tappable
from lidal3d.learn.loss_prediction.trained import TrainedHead, judge
from lidal3d.learn.options import Beside
from lidal3d.scene.labels import IGNORE
from lidal3d.scene.scene import Frame
from lidal3d.units.base import Partition

if TYPE_CHECKING:
    from lidal3d.learn.model import Model

Cut = Callable[[Frame, Sweep], Sweep]
# A verdict is no better for more.
MOST_FRAMES_JUDGED = 100


@dataclass(frozen=True)
class HeadTraining:
    """The training of a loss head.

    Attributes:
        part: what is learnt.
        partition: cuts sweeps into units.
        whole: the units are whole frames.
        settings: of the units, for the record.
        held: which of them judge.
        judges: the frames in which they lie, each once.
        voxel_m: edge of a voxel.
    """

    part: LossPart
    partition: Partition
    whole: bool
    settings: dict[str, object] | None
    held: HeldOut
    judges: tuple[Frame, ...]
    voxel_m: float

    @classmethod
    def of(
        cls, beside: Beside, frames: Sequence[Frame], config: TrainConfig, network: nn.Module, initial: Model | None
    ) -> HeadTraining | None:
        """The training that is asked for, or None; the head goes on from that of `initial` where it has the same shape.

        Raises:
            UsageError: steps hold a single whole frame, or the network has no taps.
        """
        settings, partition = beside.learning_loss, beside.partition
        if settings is None or partition is None:
            return None
        if beside.whole and config.batch < 2:
            raise UsageError(
                f"train.batch is {config.batch}, but a loss head for whole frames learns from pairs of them; "
                "--set train.batch=2 or more"
            )
        head = build_head(tappable(network).tap_channels(), settings.hidden, config.seed)
        before = None if initial is None or initial.loss_head is None else initial.loss_head.head
        if before is not None and (before.channels, before.hidden) == (head.channels, head.hidden):
            head.load_state_dict(before.state_dict())
        keys = {_key(frame): frame for frame in frames}
        held = hold_out(keys, settings.held_out, beside.whole)
        judges = [frame for key, frame in sorted(keys.items()) if held.share or key in held.frames]
        spread = np.linspace(0, len(judges) - 1, min(len(judges), MOST_FRAMES_JUDGED)).astype(int)
        part = LossPart(head, settings, config.steps, config.seed)
        chosen = tuple(judges[i] for i in spread)
        return cls(part, partition, beside.whole, beside.units, held, chosen, config.voxel_m)

    def trained_on(self, frames: Sequence[Frame]) -> list[Frame]:
        """The frames that are not held out whole."""
        return [frame for frame in frames if _key(frame) not in self.held.frames]

    def cut(self, frame: Frame, sweep: Sweep) -> Sweep:
        """A sweep with its units, without the labels of those held out."""
        return self._cut(frame, sweep, held_out=False)

    def kept(self, frame: Frame, sweep: Sweep) -> Sweep:
        """A sweep with its units, and the labels of those held out alone."""
        return self._cut(frame, sweep, held_out=True)

    def _cut(self, frame: Frame, sweep: Sweep, held_out: bool) -> Sweep:
        unit = self.partition(sweep.points)
        held = self.held.units(_key(frame), int(unit.max(initial=-1)) + 1)[unit]
        labels = np.where(held == held_out, sweep.labels, IGNORE).astype(np.uint8)
        return replace(sweep, labels=labels, units=unit)

    def judged(self, network: nn.Module, read: Callable[[Frame], Sweep]) -> TrainedHead:
        """The trained head and its verdict; `read` gives a frame's sweep as `kept` leaves it."""
        head = self.part.head
        by = self.held.by if self.judges else "nothing"
        quality = judge(network, head, map(read, self.judges), self.voxel_m, self.whole, by)
        return TrainedHead(head.cpu(), self.partition.kind, self.settings, quality.to_dict())


def _key(frame: Frame) -> Key:
    return frame.scene.id, frame.index
