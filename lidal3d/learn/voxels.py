# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Voxels as sorted int64 keys: batch, x, y and z cell numbers packed side by side, z in the lowest bits.

Keys sort as (batch, x, y, z) do, the next cell along z is the next integer, and a step to a neighbouring cell is one
addition. All of it is plain torch and runs where the keys lie, CPU or GPU.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from lidal3d.errors import DataError

CELL_BITS = 17
BATCH_BITS = 63 - 3 * CELL_BITS
# A multiple of every stride, so that halving a cell's number never crosses the origin's parity.
CELL_ORIGIN = 1 << (CELL_BITS - 1)
CELL_LIMIT = CELL_ORIGIN - 64
MAX_BATCH = 1 << BATCH_BITS
_Y, _X, _BATCH = CELL_BITS, 2 * CELL_BITS, 3 * CELL_BITS
_FIELD = (1 << CELL_BITS) - 1
_HALVED_FIELD = _FIELD >> 1
_HALF_MASK = _HALVED_FIELD | (_HALVED_FIELD << _Y) | (_HALVED_FIELD << _X)
# Halving turns CELL_ORIGIN into half of it: added back, so that cells keep their signs at every level.
_HALF_ORIGIN = (CELL_ORIGIN >> 1) * ((1 << _X) | (1 << _Y) | 1)


@dataclass(frozen=True)
class Voxels:
    """The occupied cells of a batch of sweeps.

    Attributes:
        keys: (V,) int64, sorted, unique.
        point_voxel: (N,) int64, the row in `keys` of every point.
        by_voxel: (N,) int64, the points ordered by voxel.
        starts: (V,) int64, where each voxel's points begin in `by_voxel`.
    """

    keys: Tensor
    point_voxel: Tensor
    by_voxel: Tensor
    starts: Tensor

    def mean(self, point_values: Tensor) -> Tensor:
        """Means (V, K) over the points of each voxel of values (N, K)."""
        return functional.embedding_bag(self.by_voxel, point_values, self.starts, mode="mean")

    def __len__(self) -> int:
        return len(self.keys)


def pack(cells: Tensor, batch: Tensor | int) -> Tensor:
    """Keys (N,) int64 of cell numbers (N, 3), each within ±CELL_LIMIT, and batch numbers."""
    shifted = cells.long() + CELL_ORIGIN
    return (_as_key_field(batch) << _BATCH) | (shifted[:, 0] << _X) | (shifted[:, 1] << _Y) | shifted[:, 2]


def _as_key_field(batch: Tensor | int) -> Tensor | int:
    return batch.long() if isinstance(batch, Tensor) else batch


def unpack(keys: Tensor) -> tuple[Tensor, Tensor]:
    """Cell numbers (N, 3) and batch numbers (N,) of keys; the inverse of `pack`."""
    cells = torch.stack([(keys >> _X) & _FIELD, (keys >> _Y) & _FIELD, keys & _FIELD], dim=1) - CELL_ORIGIN
    return cells, keys >> _BATCH


def step(dx: int, dy: int, dz: int) -> int:
    """What is added to a key to move by whole cells."""
    return (dx << _X) + (dy << _Y) + dz


def coarser(keys: Tensor) -> tuple[Tensor, Tensor]:
    """Keys (V,) of the cells twice as large around `keys`, and which of their 8 children each key is (4x+2y+z)."""
    child = ((keys >> (_X - 2)) & 4) | ((keys >> (_Y - 1)) & 2) | (keys & 1)
    # The shift moves each field's lowest bit into the field below; the mask drops it there. Batches keep their bits.
    batch = (keys >> _BATCH) << _BATCH
    halved = ((keys ^ batch) >> 1) & _HALF_MASK
    return batch | (halved + _HALF_ORIGIN), child


def voxelise(xyz_m: Tensor, voxel_m: float, batch: Tensor | int = 0) -> Voxels:
    """The occupied voxels of points.

    Args:
        xyz_m: (N, 3) float32, metres.
        voxel_m: edge of a voxel, metres.
        batch: which sweep each point belongs to, (N,) or one number for all.

    Raises:
        DataError: a coordinate is not finite or lies further out than ±CELL_LIMIT voxels.
    """
    cells = torch.floor(xyz_m / voxel_m)
    if len(cells) and not bool(cells.abs().max() <= CELL_LIMIT):
        far = int((~(cells.abs() <= CELL_LIMIT)).any(dim=1).sum())
        raise DataError(
            f"{far} of {len(cells)} points are not finite or lie beyond {CELL_LIMIT * voxel_m:.0f} m; "
            "run `lidal3d check` on the drive"
        )
    return unique(pack(cells, batch))


def unique(keys: Tensor) -> Voxels:
    """Sorted unique keys, and each given key's row in them."""
    ordered, order = torch.sort(keys, stable=True)
    first = torch.ones_like(ordered, dtype=torch.bool)
    torch.ne(ordered[1:], ordered[:-1], out=first[1:])
    row = torch.empty_like(order)
    row[order] = torch.cumsum(first, dim=0) - 1
    return Voxels(ordered[first], row, order, first.nonzero().squeeze(1))
