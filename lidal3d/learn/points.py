# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Between points and voxels, for networks with a point branch (SPVCNN; Tang et al., ECCV 2020).

One point a voxel of the finest level, the mean of those that fell into it, as in LiDAL's networks. To voxels: the mean
of a voxel's points. To points: trilinear between the centres of the eight voxels around, over those that are occupied.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from lidal3d.learn.sparse import Level
from lidal3d.learn.voxels import CELL_LIMIT, pack, unpack


@dataclass(eq=False)
class Mixing:
    """A sparse matrix: row r of the result is Σ values[e] × row columns[e], over the entries e of row r.

    Attributes:
        columns: (E,) int64, entries ordered by row.
        values: (E,) float32.
        starts: (rows,) int64, where each row's entries begin.
        width: rows of what is mixed.
    """

    columns: Tensor
    values: Tensor
    starts: Tensor
    width: int

    @cached_property
    def transposed(self) -> Mixing:
        """From the result back: what gradients use."""
        ends = torch.cat([self.starts[1:], self.starts.new_tensor([len(self.columns)])])
        rows = torch.repeat_interleave(torch.arange(len(self.starts), device=self.starts.device), ends - self.starts)
        order = torch.argsort(self.columns, stable=True)
        sizes = torch.bincount(self.columns, minlength=self.width)
        return Mixing(rows[order], self.values[order], torch.cumsum(sizes, 0) - sizes, len(self.starts))

    def __call__(self, features: Tensor) -> Tensor:
        """(width, C) to (rows, C), differentiable."""
        result: Tensor = _Mix.apply(features, self)
        return result

    def product(self, features: Tensor) -> Tensor:
        """The same without a gradient."""
        values = self.values.to(features.dtype)
        return functional.embedding_bag(
            self.columns, features.contiguous(), self.starts, mode="sum", per_sample_weights=values
        )


class _Mix(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, mixing: Mixing) -> Tensor:
        ctx.mixing = mixing
        return mixing.product(features)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return ctx.mixing.transposed.product(grad), None


def parents(fine: Level, levels: int) -> tuple[Tensor, Level]:
    """For every voxel (V,) of `fine` the row of the voxel around it `levels` coarser, and that level."""
    rows = torch.arange(len(fine), device=fine.keys.device)
    level = fine
    for _ in range(levels):
        parent = torch.empty_like(level.down.inputs)
        parent[level.down.inputs] = level.down.outputs
        rows, level = parent[rows], level.coarser
    return rows, level


def to_voxels(fine: Level, levels: int) -> Mixing:
    """Means over the points (one a voxel of `fine`) of each voxel of the level `levels` coarser."""
    rows, level = parents(fine, levels)
    order = torch.argsort(rows, stable=True)
    sizes = torch.bincount(rows, minlength=len(level))
    values = torch.repeat_interleave(1.0 / sizes, sizes)
    return Mixing(order, values, torch.cumsum(sizes, 0) - sizes, len(fine))


def to_points(fine: Level, levels: int, offset: Tensor) -> Mixing:
    """Trilinear values at points from the voxels of the level `levels` coarser; weights of occupied ones sum to 1.

    Args:
        fine: the finest level.
        levels: how much coarser the voxels are that give their values.
        offset: (V, 3) where each voxel's point lies, from the voxel's centre, in voxels of `fine`.
    """
    level = parents(fine, levels)[1]
    cells, batch = unpack(fine.keys)
    # In voxels of the coarser level, from the centre of its cell 0.
    place = (cells + 0.5 + offset.detach().double()) / 2**levels - 0.5
    low = torch.floor(place)
    part = place - low
    found, weights = [], []
    for corner in range(8):
        step = torch.tensor([corner >> 2 & 1, corner >> 1 & 1, corner & 1], device=low.device)
        key = pack((low.long() + step).clamp(-CELL_LIMIT, CELL_LIMIT), batch)
        row = torch.searchsorted(level.keys, key).clamp_(max=len(level) - 1)
        found.append(torch.where(level.keys[row] == key, row, -1))
        weights.append(torch.where(step == 1, part, 1 - part).prod(dim=1))
    rows, share = torch.stack(found, dim=1), torch.stack(weights, dim=1)
    return _normalised(rows, share, len(level))


def _normalised(rows: Tensor, share: Tensor, width: int) -> Mixing:
    # The voxel that a point lies in is one of the eight and weighs an eighth or more: the sum is never zero.
    share = torch.where(rows >= 0, share, 0.0)
    share = share / share.sum(dim=1, keepdim=True)
    used = rows >= 0
    sizes = used.sum(dim=1)
    return Mixing(rows[used], share[used].float(), torch.cumsum(sizes, 0) - sizes, width)
