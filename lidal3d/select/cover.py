# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""How well units are covered by those chosen so far, kept up to date no sooner than has to be.

A unit is one vector or several. Distances only ever shrink: what was true of a unit before the last choices is an upper
bound now. So chosen units wait until one matrix product can tell all others of many, and rules look again only at the
units that their bounds let through. The answers are those of a cover that is brought up to date after every choice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lidal3d.select.nearest import BLOCK, Float32, Float64, Nearest

Int64 = npt.NDArray[np.int64]
WAITING = 1280  # vectors of chosen units that are told to all others at once


@dataclass(frozen=True)
class VectorSet:
    """P vectors of N units.

    Attributes:
        vectors: (P, E) float32, finite.
        first: (N + 1,) the vectors of unit n are first[n] to first[n + 1].
    """

    vectors: Float32
    first: Int64

    def __len__(self) -> int:
        return len(self.first) - 1

    def rows(self, unit: int) -> range:
        """Which vectors are a unit's."""
        return range(int(self.first[unit]), int(self.first[unit + 1]))

    def of_unit(self, unit: int) -> Float32:
        """(K, E) a unit's vectors."""
        return self.vectors[self.first[unit] : self.first[unit + 1]]

    @property
    def counts(self) -> Int64:
        """(N,) how many vectors each unit has."""
        return np.diff(self.first)

    @property
    def unit(self) -> Int64:
        """(P,) the unit of each vector."""
        return np.repeat(np.arange(len(self)), self.counts)


class Cover:
    """The squared distance of every vector of N units to the nearest one that is chosen; infinite before any is.

    Args:
        sets: of the same N units, compared each within itself; a unit may have no vector in some of them.
        block: as `Nearest`.
    """

    def __init__(self, sets: Sequence[VectorSet], block: int = BLOCK) -> None:
        self.sets = tuple(sets)
        self.nearest = [Nearest(one.vectors, block=block) for one in sets]
        self.chosen = 0
        self._waiting = [_Waiting(one) for one in self.sets]
        self._room = max(1, WAITING // max(int(one.counts.max(initial=1)) for one in sets))

    @property
    def waiting(self) -> int:
        """How many chosen units wait to be told to the others."""
        return len(self._waiting[0].units)

    @property
    def is_full(self) -> bool:
        """Whether as many units wait as should: few in the beginning, when each changes much."""
        return self.waiting >= min(self._room, max(1, self.chosen // 4))

    def choose(self, unit: int) -> None:
        """Cover what a unit covers."""
        for waiting in self._waiting:
            waiting.add(unit)
        self.chosen += 1

    def cover(self, vectors: Sequence[Float32]) -> None:
        """Cover vectors (J, E) of each set that are no unit's: of units that people labelled, say."""
        for nearest, some in zip(self.nearest, vectors, strict=True):
            for first in range(0, len(some), WAITING):
                nearest.tell(some[first : first + WAITING])
        self.chosen += max(map(len, vectors))

    def settle(self) -> None:
        """Tell all vectors of the units that wait."""
        for nearest, waiting in zip(self.nearest, self._waiting, strict=True):
            nearest.tell(waiting.vectors())
            waiting.clear()

    def squared(self, place: int, row: int) -> float:
        """The squared distance of one vector of a set, up to date."""
        known = float(self.nearest[place].squared[row])
        return min(known, self.nearest[place].between(row, self._waiting[place].vectors()))

    def value(self, place: int, squared: Float64) -> Float64:
        """What squared distances in a set are worth: a rising function, 0 at 0."""
        return squared

    def unit_values(self) -> Float64:
        """(N,) the worth of each unit's farthest vector, added up over the sets, as of the last `settle`."""
        total = np.zeros(len(self.sets[0]))
        for place, one in enumerate(self.sets):
            has = np.flatnonzero(one.counts)
            if len(has):
                total[has] += np.maximum.reduceat(self.value(place, self.nearest[place].squared), one.first[has])
        return total

    def unit_value(self, unit: int) -> float:
        """The same of one unit, up to date."""
        total = 0.0
        for place, one in enumerate(self.sets):
            squared = np.array([self.squared(place, row) for row in one.rows(unit)])
            total += float(self.value(place, squared).max(initial=0.0))
        return total


class _Waiting:
    """The vectors of the units that wait, in one array."""

    def __init__(self, vectors: VectorSet) -> None:
        self._set = vectors
        self._held = np.empty((0, vectors.vectors.shape[1]), np.float32)
        self._count = 0
        self.units: list[int] = []

    def add(self, unit: int) -> None:
        some = self._set.of_unit(unit)
        if self._count + len(some) > len(self._held):
            grown = np.empty((2 * (self._count + len(some)), self._held.shape[1]), np.float32)
            grown[: self._count] = self.vectors()
            self._held = grown
        self._held[self._count : self._count + len(some)] = some
        self._count += len(some)
        self.units.append(unit)

    def vectors(self) -> Float32:
        return self._held[: self._count]

    def clear(self) -> None:
        self._count, self.units = 0, []
