# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""From taps to units: means over a unit's points of the features that stand for them, and its loss over those labelled.

A point takes the features of the voxel around it at the tap's resolution. A whole frame is the mean over all voxels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lidal3d.learn.loss_prediction.taps import Tap
from lidal3d.learn.points import Mixing
from lidal3d.scene.labels import IGNORE


@dataclass(frozen=True)
class BatchUnits:
    """The U units of a batch.

    Attributes:
        element: (P,) int64, the element (finest voxel, pixel) that each of their points lies in.
        unit: (P,) int64, the unit of each point, 0 … U − 1; every unit has one.
        label: (P,) int64 train ids, 255 for none.
        weight: (P,) float32, how much the label counts.
        frame: (U,) int64, which sweep or picture of the batch each unit lies in, on the CPU.
    """

    element: Tensor
    unit: Tensor
    label: Tensor
    weight: Tensor
    frame: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.frame)


class FrameUnits(NamedTuple):
    """The units of one frame of a batch.

    Attributes:
        unit: (P,) unit of each of its points, −1 for none.
        label: (P,) train ids, 255 for none.
        weight: (P,) of the labels, or None where all are 1.
    """

    unit: npt.NDArray[np.integer]
    label: npt.NDArray[np.uint8]
    weight: npt.NDArray[np.float32] | None = None

    @property
    def labelled(self) -> npt.NDArray[np.bool_]:
        """(P,) whether a point has a label that counts."""
        known = self.label != IGNORE
        return known if self.weight is None else known & (self.weight > 0)


def batch_units(frames: Sequence[FrameUnits], element: Tensor) -> BatchUnits:
    """The units of frames that have a labelled point.

    Args:
        frames: of a batch, with P points in all.
        element: (P,) the element that each point lies in.
    """
    parts, owners, count = [], [], 0
    for number, frame in enumerate(frames):
        unit, found = _numbered(frame, count)
        parts.append(unit)
        owners.append(np.full(found, number))
        count += found
    unit = np.concatenate(parts)
    kept, device = unit >= 0, element.device
    label = np.concatenate([np.where(frame.labelled, frame.label, IGNORE) for frame in frames])
    weight = np.concatenate([np.ones(len(f.label), np.float32) if f.weight is None else f.weight for f in frames])
    return BatchUnits(
        element[torch.from_numpy(kept).to(device)],
        torch.from_numpy(unit[kept]).to(device),
        torch.from_numpy(label[kept].astype(np.int64)).to(device),
        torch.from_numpy(weight[kept]).to(device),
        np.concatenate(owners),
    )


def _numbered(frame: FrameUnits, first: int) -> tuple[npt.NDArray[np.int64], int]:
    """(P,) a number from `first` for each unit with a labelled point, −1 for the points of the others; and how many."""
    known = np.unique(frame.unit[frame.labelled & (frame.unit >= 0)])
    # The last place, which −1 finds too, stays −1.
    place = np.full(int(frame.unit.max(initial=-1)) + 2, -1)
    place[known] = first + np.arange(len(known))
    return place[frame.unit], len(known)


def pooled(tap: Tap, units: BatchUnits, whole: bool = False) -> Tensor:
    """(U, C) float32: the mean over each unit's points, or over the tap's own rows where units are `whole` frames."""
    values = tap.values.float()
    if whole:
        place = torch.full((int(units.frame.max()) + 1 if len(units) else 0,), -1, device=values.device)
        place[torch.from_numpy(units.frame).to(values.device)] = torch.arange(len(units), device=values.device)
        inside = (tap.owner >= 0) & (tap.owner < len(place))
        unit = place[tap.owner[inside]]
        rows = torch.arange(len(values), device=values.device)[inside][unit >= 0]
        return mean_mixing(unit[unit >= 0], rows, len(units), len(values))(values)
    return mean_mixing(units.unit, tap.row[units.element], len(units), len(values))(values)


def mean_mixing(unit: Tensor, row: Tensor, units: int, rows: int) -> Mixing:
    """The matrix of means over points: unit (P,) and row (P,) of each; (rows, C) becomes (units, C)."""
    pair, count = torch.unique(unit * rows + row, return_counts=True)
    of_unit = torch.div(pair, max(rows, 1), rounding_mode="floor")
    total = torch.bincount(unit, minlength=units)
    entries = torch.bincount(of_unit, minlength=units)
    values = count.float() / total[of_unit].float()
    return Mixing(pair - of_unit * rows, values, torch.cumsum(entries, 0) - entries, rows)


def unit_losses(logits: Tensor, units: BatchUnits) -> Tensor:
    """l of each unit (U,): the weighted mean cross-entropy over its labelled points, nats; NaN where it has none.

    Args:
        logits: (E, C).
    """
    losses = -torch.log_softmax(logits.float(), dim=1)
    known = units.label != IGNORE
    unit, weight = units.unit[known], units.weight[known]
    each = losses[units.element[known], units.label[known]]
    sums = torch.zeros(2, len(units), device=logits.device).index_add_(1, unit, torch.stack([each * weight, weight]))
    return sums[0] / sums[1]
