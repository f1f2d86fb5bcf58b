# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""From taps to units: means over a unit's points of the features that stand for them, and its loss over those labelled.

A point takes the features of the voxel around it at the tap's resolution. A whole frame is the mean over all voxels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lidal3d.learn.batch import Sweep
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
        whole: the units are whole frames.
    """

    element: Tensor
    unit: Tensor
    label: Tensor
    weight: Tensor
    frame: npt.NDArray[np.int64]
    whole: bool = False

    def __len__(self) -> int:
        return len(self.frame)


def batch_units(sweeps: Sequence[Sweep], element: Tensor, whole: bool = False) -> BatchUnits | None:
    """The units of sweeps that have a labelled point; None where the sweeps aren't cut into units.

    Args:
        sweeps: of a batch, with N points in all.
        element: (N,) the element that each point lies in.
        whole: their units are whole frames.
    """
    if any(sweep.units is None for sweep in sweeps):
        return None
    parts, frames, count = [], [], 0
    for number, sweep in enumerate(sweeps):
        unit, found = _numbered(sweep, count)
        parts.append(unit)
        frames.append(np.full(found, number))
        count += found
    unit = np.concatenate(parts)
    kept, device = unit >= 0, element.device
    label = np.concatenate([_labels(sweep) for sweep in sweeps])[kept].astype(np.int64)
    weight = np.concatenate([_weights(sweep) for sweep in sweeps])[kept]
    return BatchUnits(
        element[torch.from_numpy(kept).to(device)],
        torch.from_numpy(unit[kept]).to(device),
        torch.from_numpy(label).to(device),
        torch.from_numpy(weight).to(device),
        np.concatenate(frames),
        whole,
    )


def _numbered(sweep: Sweep, first: int) -> tuple[npt.NDArray[np.int64], int]:
    """(N,) a number from `first` for each unit with a labelled point, −1 for the points of the others; and how many."""
    assert sweep.units is not None
    labelled = (_labels(sweep) != IGNORE) & (sweep.units >= 0)
    known = np.unique(sweep.units[labelled])
    # The last place, which −1 finds too, stays −1.
    place = np.full(int(sweep.units.max(initial=-1)) + 2, -1)
    place[known] = first + np.arange(len(known))
    return place[sweep.units], len(known)


def _labels(sweep: Sweep) -> npt.NDArray[np.uint8]:
    return sweep.labels if sweep.weights is None else np.where(sweep.weights > 0, sweep.labels, IGNORE)


def _weights(sweep: Sweep) -> npt.NDArray[np.float32]:
    return np.ones(len(sweep.labels), np.float32) if sweep.weights is None else sweep.weights


def pooled(tap: Tap, units: BatchUnits) -> Tensor:
    """(U, C) float32: the mean over each unit's points, or over the tap's own rows where units are whole frames."""
    values = tap.values.float()
    if units.whole:
        place = torch.full((int(units.frame.max()) + 1 if len(units) else 0,), -1, device=values.device)
        place[torch.from_numpy(units.frame).to(values.device)] = torch.arange(len(units), device=values.device)
        inside = tap.owner < len(place)
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
