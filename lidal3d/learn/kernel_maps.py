# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Kernel maps: which input voxel meets which output voxel under which of a kernel's K weights.

A map is built once a level from the sorted keys and shared by every layer of that level: on a CPU by walking the
columns of cells side by side, elsewhere by binary search.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from lidal3d.learn.neighbours import find_neighbours, list_pairs
from lidal3d.learn.voxels import coarser, step, unique

NEIGHBOURS = tuple((dx, dy, dz) for dx in (-1, 0, 1) for dy in (-1, 0, 1) for dz in (-1, 0, 1))
CENTRE = 13
# The lowest cells of the four columns of neighbours that come before a cell in the order of keys.
COLUMN_STEPS = np.array([step(-1, -1, -1), step(-1, 0, -1), step(-1, 1, -1), step(0, -1, -1)])


@dataclass(eq=False)
class KernelMap:
    """P pairs (input row, output row), grouped by weight.

    Attributes:
        inputs: (P,) int64 input rows; the first counts[0] pairs use weight 0, the next counts[1] weight 1, …
        outputs: (P,) int64 output rows, ascending within a weight, as `inputs` are.
        counts: K numbers of pairs.
        rows: how many output rows there are.
        rows_in: how many input rows.
        identity: the weight whose pairs are all (i, i), or -1.
    """

    inputs: Tensor
    outputs: Tensor
    counts: list[int]
    rows: int
    rows_in: int
    identity: int = -1
    _transposed: KernelMap | None = field(default=None, repr=False)

    @property
    def transposed(self) -> KernelMap:
        """The same pairs from output to input, grouped by weight alike: what gradients and inverse layers use."""
        if self._transposed is None:
            back = KernelMap(self.outputs, self.inputs, self.counts, self.rows_in, self.rows, self.identity)
            self._transposed, back._transposed = back, self
        return self._transposed

    @cached_property
    def by_output(self) -> Tensor:
        """(P,) int64, the pairs ordered by output row."""
        return torch.argsort(self.outputs, stable=True)

    @cached_property
    def starts(self) -> Tensor:
        """(rows,) int64, where each output row's run begins in `by_output`."""
        sizes = torch.bincount(self.outputs, minlength=self.rows)
        return torch.cumsum(sizes, 0) - sizes


def identity_map(keys: Tensor) -> KernelMap:
    """The 1×1×1 map: one weight, each voxel with itself."""
    everyone = torch.arange(len(keys), device=keys.device)
    return KernelMap(everyone, everyone, [len(keys)], len(keys), len(keys), identity=0)


def submanifold_map(keys: Tensor) -> KernelMap:
    """The 3×3×3 map among occupied voxels, weights in the order of NEIGHBOURS.

    Args:
        keys: (V,) int64, sorted and unique.
    """
    return walked_submanifold_map(keys) if keys.device.type == "cpu" else searched_submanifold_map(keys)


def walked_submanifold_map(keys: Tensor) -> KernelMap:
    """`submanifold_map` by one walk over the keys."""
    sorted_keys = keys.numpy()
    neighbours, counts = find_neighbours(sorted_keys, COLUMN_STEPS)
    inputs, outputs = map(torch.from_numpy, list_pairs(neighbours, counts))
    return KernelMap(inputs, outputs, counts.tolist(), len(keys), len(keys), identity=CENTRE)


def searched_submanifold_map(keys: Tensor) -> KernelMap:
    """`submanifold_map` in torch operations alone."""
    pairs = _half_of_pairs(keys)
    everyone = torch.arange(len(keys), device=keys.device)
    inputs = [p[0] for p in pairs] + [everyone] + [p[1] for p in reversed(pairs)]
    outputs = [p[1] for p in pairs] + [everyone] + [p[0] for p in reversed(pairs)]
    counts = [len(rows) for rows in inputs]
    return KernelMap(torch.cat(inputs), torch.cat(outputs), counts, len(keys), len(keys), identity=CENTRE)


def _half_of_pairs(keys: Tensor) -> list[tuple[Tensor, Tensor]]:
    """(input rows, output rows) of the 13 neighbours before the centre; the other 13 are these swapped."""
    pairs = []
    padded = torch.cat([keys, keys.new_full((3,), -1)])
    for column in COLUMN_STEPS.tolist():
        wanted = keys + column
        # The three cells of a column are neighbours in the sorted keys too: one search finds all of them.
        place = torch.searchsorted(keys, wanted)
        for dz in range(3):
            found = padded[place] == wanted + dz if dz else padded[place] == wanted
            outputs = found.nonzero().squeeze(1)
            pairs.append((place[outputs], outputs))
            place = place + found
    outputs = (keys[1:] - keys[:-1] == 1).nonzero().squeeze(1) + 1
    pairs.append((outputs - 1, outputs))
    return pairs


def strided_map(keys: Tensor) -> tuple[Tensor, KernelMap]:
    """Keys of the level twice as coarse, and the 2×2×2 stride 2 map to it (weight 4x + 2y + z of the child's place).

    Its transposed is the inverse (upsampling) layer's map.
    """
    parents, child = coarser(keys)
    coarse = unique(parents)
    inputs = torch.argsort(child, stable=True)
    outputs = coarse.point_voxel[inputs]
    counts = torch.bincount(child, minlength=8).tolist()
    down = KernelMap(inputs, outputs, counts, len(coarse), len(keys))
    return coarse.keys, down
