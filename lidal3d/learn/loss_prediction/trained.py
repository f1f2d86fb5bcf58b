# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""A loss head that was trained: what it is for, and how well it orders units that it has not learnt from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from lidal3d.learn.loss_prediction.head import LossHead, build_head
from lidal3d.learn.loss_prediction.taps import tappable

WHOLE_FRAMES = ("frame", "image")


@dataclass
class TrainedHead:
    """A loss head with what a model's header tells of it.

    Attributes:
        head: the weights.
        kind: of the units that it was trained on.
        units: all settings of these units, or None.
        held_out: how well it orders units held out, see `Quality`.
    """

    head: LossHead
    kind: str
    units: dict[str, Any] | None
    held_out: dict[str, Any]

    @property
    def whole(self) -> bool:
        """Whether it is for whole frames."""
        return self.kind in WHOLE_FRAMES

    def to_dict(self) -> dict[str, Any]:
        """For the model's header."""
        return {
            "channels": list(self.head.channels),
            "hidden": self.head.hidden,
            "kind": self.kind,
            "units": self.units,
            "held_out": self.held_out,
        }

    @classmethod
    def from_dict(cls, told: dict[str, Any], network: nn.Module) -> TrainedHead:
        """The head that a header tells of, with other weights. Raises KeyError, TypeError, ValueError or UsageError."""
        channels = tuple(int(c) for c in told["channels"])
        if channels != tappable(network).tap_channels():
            raise ValueError(f"a loss head for taps {channels}, the network has {tappable(network).tap_channels()}")
        head = build_head(channels, int(told["hidden"]))
        return cls(head, str(told["kind"]), told["units"], dict(told["held_out"]))
