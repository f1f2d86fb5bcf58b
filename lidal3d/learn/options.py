# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""What a training learns beside its labels, as the settings ask for it; imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lidal3d.config import Config
from lidal3d.scene.scene import Frame
from lidal3d.settings.learning_loss import LearningLossConfig
from lidal3d.settings.tod import TodConfig
from lidal3d.units import make_partition
from lidal3d.units.base import Partition


@dataclass(frozen=True)
class Beside:
    """What is learnt beside the labels.

    Attributes:
        learning_loss: a loss head, or None.
        partition: cuts sweeps into the units whose losses it predicts.
        units: the partition's settings, for the record.
        consistency: with a mean teacher, or None.
        joint: all settings, where Barlow Twins is learnt beside the labels, or None.
        unlabelled: the frames that the last two also look at, whatever is labelled in them.
    """

    learning_loss: LearningLossConfig | None = None
    partition: Partition | None = None
    units: dict[str, Any] | None = None
    consistency: TodConfig | None = None
    joint: Config | None = None
    unlabelled: Sequence[Frame] = ()

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain values, for the record; empty where nothing is learnt beside the labels."""
        told: dict[str, Any] = {}
        if self.learning_loss is not None:
            told["learning_loss"] = {**self.learning_loss.model_dump(), "units": self.units}
        if self.consistency is not None:
            told["tod"] = {**self.consistency.model_dump(), "frames": len(self.unlabelled)}
        if self.joint is not None:
            groups = ("joint", "barlow", "pretrain", "units")
            told["joint"] = {
                **{name: getattr(self.joint, name).model_dump() for name in groups},
                "frames": len(self.unlabelled),
            }
        return told


NOTHING_BESIDE = Beside()


def beside(config: Config, frames: Sequence[Frame]) -> Beside:
    """What `config` asks to be learnt beside the labels; `frames` are all there are, labelled or not.

    Raises:
        UsageError: a loss head for units that no single sweep tells.
    """
    head, teacher, joint = config.learning_loss.weight > 0, config.tod.weight > 0, config.joint.weight > 0
    return Beside(
        config.learning_loss if head else None,
        make_partition(config.units) if head else None,
        config.units.model_dump() if head else None,
        config.tod if teacher else None,
        config if joint else None,
        tuple(frames) if teacher or joint else (),
    )
