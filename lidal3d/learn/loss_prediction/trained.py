# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""A loss head that was trained: what it is for, and how well it orders units that it has not learnt from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from lidal3d.learn.batch import Sweep, network_input
from lidal3d.learn.loss_prediction.head import LossHead, ask_losses, build_head
from lidal3d.learn.loss_prediction.pooling import batch_units, unit_losses
from lidal3d.learn.loss_prediction.quality import Quality, quality_of
from lidal3d.learn.loss_prediction.taps import tappable
from lidal3d.learn.sparse import Level
from lidal3d.learn.threads import own_threads


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


def judge(network: nn.Module, head: LossHead, sweeps: Iterable[Sweep], voxel_m: float, whole: bool, by: str) -> Quality:
    """How well a head orders the units of sweeps in which only those held out have labels.

    The network is asked in evaluation mode about each sweep as it is.
    """
    network.eval()
    head.eval()
    predicted: list[npt.NDArray[np.float32]] = []
    losses: list[npt.NDArray[np.float32]] = []
    for sweep in sweeps:
        said, true = losses_of(network, head, sweep, voxel_m, whole)
        known = np.isfinite(true) & np.isfinite(said)
        predicted.append(said[known])
        losses.append(true[known])
    return quality_of(np.concatenate([np.empty(0), *predicted]), np.concatenate([np.empty(0), *losses]), by)


def losses_of(
    network: nn.Module, head: LossHead, sweep: Sweep, voxel_m: float, whole: bool
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """l̂ and l (U,) of the units of a sweep that have a labelled point, in the order of their numbers."""
    if not len(sweep.points):
        return np.empty(0, np.float32), np.empty(0, np.float32)
    device = next(network.parameters()).device
    with torch.inference_mode(), own_threads():
        data = network_input([torch.from_numpy(sweep.points).to(device)], voxel_m)
        units = batch_units([sweep], data.voxels.point_voxel, whole)
        assert units is not None
        logits, predicted = ask_losses(network, head, data.features, Level(data.voxels.keys), units)
        return predicted.cpu().numpy(), unit_losses(logits, units).cpu().numpy()
