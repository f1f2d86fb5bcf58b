# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""What a training with a loss head needs of its frames: their units, what is held out, and the verdict at the end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from lidal3d.errors import UsageError
from lidal3d.learn.architecture import Network
from lidal3d.learn.feed import Feed
from lidal3d.learn.feeds import asking_feed
from lidal3d.learn.loss_prediction.ask import Asked, judge
from lidal3d.learn.loss_prediction.head import build_head
from lidal3d.learn.loss_prediction.held_out import HeldOut, Key, hold_out
from lidal3d.learn.loss_prediction.part import LossPart
from lidal3d.learn.loss_prediction.pooling import FrameUnits
from lidal3d.learn.loss_prediction.taps import tappable
from lidal3d.learn.loss_prediction.trained import WHOLE_FRAMES, TrainedHead
from lidal3d.learn.options import Beside
from lidal3d.learn.sampler import Portion
from lidal3d.scene.labels import IGNORE
from lidal3d.scene.scene import Frame
from lidal3d.settings.train import TrainConfig
from lidal3d.units.base import Partition

if TYPE_CHECKING:
    from lidal3d.learn.model import Model

# (frame, points, labels) -> the labels that are trained on, and the unit of each point.
Cut = Callable[
    [Frame, npt.NDArray[np.float32], npt.NDArray[np.uint8]], tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32]]
]
# (frame) -> points, labels, weights.
Read = Callable[[Frame], tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8], npt.NDArray[np.float32] | None]]
# A verdict is no better for more.
MOST_FRAMES_JUDGED = 100


@dataclass(frozen=True)
class HeadTraining:
    """The training of a loss head.

    Attributes:
        part: what is learnt.
        partition: cuts frames into units.
        settings: of the units, for the record.
        held: which of them judge.
        judges: the frames in which they lie, each once.
        feed: of frames as they are.
    """

    part: LossPart
    partition: Partition
    settings: dict[str, object] | None
    held: HeldOut
    judges: tuple[Frame, ...]
    feed: Feed

    @classmethod
    def of(
        cls,
        beside: Beside,
        frames: Sequence[Frame],
        config: TrainConfig,
        network: Network,
        feed: Feed,
        initial: Model | None,
    ) -> HeadTraining | None:
        """The training that is asked for, or None; the head goes on from that of `initial` where it has the same shape.

        Raises:
            UsageError: steps hold a single whole frame, or the network has no taps.
        """
        settings, partition = beside.learning_loss, beside.partition
        if settings is None or partition is None:
            return None
        whole = partition.kind in WHOLE_FRAMES
        if whole and config.batch < 2 and not feed.fills:
            raise UsageError(
                f"train.batch is {config.batch}, but a loss head for whole frames learns from pairs of them; "
                "--set train.batch=2 or more"
            )
        head = build_head(tappable(network).tap_channels(), settings.hidden, config.seed)
        before = None if initial is None or initial.loss_head is None else initial.loss_head.head
        if before is not None and (before.channels, before.hidden) == (head.channels, head.hidden):
            head.load_state_dict(before.state_dict())
        keys = {_key(frame): frame for frame in frames}
        held = hold_out(keys, settings.held_out, whole)
        part = LossPart(head, settings, config.steps, config.seed, whole)
        judges = _spread([frame for key, frame in sorted(keys.items()) if held.share or key in held.frames])
        return cls(part, partition, beside.units, held, judges, asking_feed(network.architecture, config.voxel_m))

    def trained_on(self, frames: Sequence[Frame]) -> list[Frame]:
        """The frames that are not held out whole."""
        return [frame for frame in frames if _key(frame) not in self.held.frames]

    def left_of(self, portions: Sequence[Portion], frames: Sequence[Frame]) -> list[Portion]:
        """The portions of the frames that are not held out."""
        first, left = 0, []
        for portion in portions:
            kept = self.trained_on(frames[first : first + portion.frames])
            left.append(replace(portion, frames=len(kept)))
            first += portion.frames
        return left

    def cut(
        self, frame: Frame, points: npt.NDArray[np.float32], labels: npt.NDArray[np.uint8]
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32]]:
        """Labels (N,) without those held out, and the unit (N,) of each point."""
        unit, held = self._units(frame, points)
        return np.where(held, np.uint8(IGNORE), labels), unit

    def _units(
        self, frame: Frame, points: npt.NDArray[np.float32]
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.bool_]]:
        """(N,) the unit of each point, and whether it is held out."""
        unit = self.partition(points)
        return unit, self.held.units(_key(frame), int(unit.max(initial=-1)) + 1)[unit]

    def judged(self, network: Network, read: Read) -> TrainedHead:
        """The trained head and its verdict on what was held out."""
        head, kind = self.part.head, self.partition.kind
        by = self.held.by if self.judges else "nothing"
        asked = (self._asked(frame, read) for frame in self.judges)
        quality = judge(network, head, self.feed, asked, kind in WHOLE_FRAMES, by)
        return TrainedHead(head.cpu(), kind, self.settings, quality.to_dict())

    def _asked(self, frame: Frame, read: Read) -> Asked:
        """A whole frame, as frames are scored, with the labels of what is held out alone."""
        points, labels, weights = read(frame)
        unit, held = self._units(frame, points)
        return Asked(points, FrameUnits(unit, np.where(held, labels, np.uint8(IGNORE)), weights))


def _key(frame: Frame) -> Key:
    return frame.scene.id, frame.index


def _spread(frames: Sequence[Frame]) -> tuple[Frame, ...]:
    """At most MOST_FRAMES_JUDGED of them, evenly spread."""
    places = np.linspace(0, len(frames) - 1, min(len(frames), MOST_FRAMES_JUDGED)).astype(int)
    return tuple(frames[place] for place in places)
