# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Pattern-level sampling: units whose patterns lie far from all patterns of the units chosen before.

The distance of two patterns is the cosine one, δ(p, q) = 1 − p̂·q̂ = ½ ‖p̂ − q̂‖², and with S all that is chosen

    D(p) = min over s ∈ S, q ∈ P_s of δ(p, q).

`prob` draws a pattern with chance D(p)² / Σ D² and takes its unit (the law of k-means++); `FDS` takes the unit of the
pattern with the largest D: that is k-center (`kcenter.farthest_units`) on patterns. Several sets of patterns (of a camera
and of a LiDAR, say) have a D each; their D² are added up, each in parts of its own sum after the first unit.

Xie et al., "Towards Free Data Selection with General-Purpose Models", NeurIPS 2023 (FreeSel, formerly GEAL).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from lidal3d.select.account import Account
from lidal3d.select.cover import Cover, Int64, VectorSet
from lidal3d.select.nearest import BLOCK, Float32, Float64

_CHUNK = 4096
_GRID = 2.0**25  # coordinates of unit vectors are whole 2^-25: no sum of their differences' squares is ever rounded
_MISSES = 32  # draws of one batch that may fail before the bounds are made tight again


def pattern_set(patterns: npt.NDArray[np.floating]) -> VectorSet:
    """Unit vectors of (N, K, E) or (N, E), read in pieces; what isn't finite (padding) or has no length is no pattern."""
    stacked = patterns if patterns.ndim == 3 else patterns[:, None]
    counts = [_is_pattern(np.asarray(stacked[part])).sum(axis=1) for part in _pieces(stacked)]
    first = np.concatenate([[0], *counts]).astype(np.int64).cumsum()
    vectors = np.empty((first[-1], stacked.shape[2]), np.float32)
    for part in _pieces(stacked):
        some = np.asarray(stacked[part])
        vectors[first[part.start] : first[min(part.stop, len(stacked))]] = unit_vectors(some[_is_pattern(some)])
    return VectorSet(vectors, first)


def unit_vectors(vectors: npt.NDArray[np.floating]) -> Float32:
    """Vectors (P, E), none of length 0, at length 1; equal ones stay equal."""
    wide = vectors.astype(np.float64)
    wide /= np.abs(wide).max(axis=1, keepdims=True, initial=0)  # so that no square is too small or too large
    wide /= np.sqrt((wide * wide).sum(axis=1, keepdims=True))
    return (np.rint(wide * _GRID) / _GRID).astype(np.float32)


def _is_pattern(vectors: npt.NDArray[np.floating]) -> npt.NDArray[np.bool_]:
    return np.isfinite(vectors).all(axis=-1) & (vectors != 0).any(axis=-1)


def _pieces(stacked: npt.NDArray) -> Iterable[slice]:
    return (slice(first, first + _CHUNK) for first in range(0, len(stacked), _CHUNK))


class PatternCover(Cover):
    """D² of all patterns, in parts of their set's sum after the first unit.

    Attributes:
        reached: of each chosen unit the largest D of its patterns before it was chosen.
    """

    def __init__(self, sets: Sequence[VectorSet], block: int = BLOCK) -> None:
        super().__init__(sets, block)
        self.reached: list[float] = []
        self._scale = [0.0] * len(self.sets)

    def choose(self, unit: int) -> None:
        self.reached.append(self._distance(unit))
        super().choose(unit)

    def settle(self) -> None:
        super().settle()
        for place, nearest in enumerate(self.nearest):
            if self.chosen and not self._scale[place]:
                self._scale[place] = float((cosine_distance(nearest.squared) ** 2).sum()) or 1.0

    def value(self, place: int, squared: Float64) -> Float64:
        """D² in parts of the sum."""
        return cosine_distance(squared) ** 2 / (self._scale[place] or 1.0)

    def _distance(self, unit: int) -> float:
        squared = [self.squared(place, row) for place, one in enumerate(self.sets) for row in one.rows(unit)]
        return float(cosine_distance(np.array(squared)).max(initial=0.0))


def cosine_distance(squared: Float64) -> Float64:
    """δ of unit vectors at a squared distance; as large as can be (2) where there is nothing to be near to."""
    return np.minimum(0.5 * squared, 2.0)


def drawn_units(cover: PatternCover, account: Account, rng: np.random.Generator) -> Int64:
    """`prob`: units in the order they are drawn, until nothing fits the account any more.

    Draws follow the D² of a moment ago, which are upper bounds, and count with the chance D² now : D² then. What counts
    follows the law of now exactly, so all patterns have to be brought up to date only once in many draws.

    Args:
        cover: nothing chosen, or what people labelled.
        account: of the N units; those without patterns are drawn only where all that fits is at distance 0.
        rng: where nothing is chosen yet, the first unit is any.
    """
    order: list[int] = []

    def take(unit: int) -> None:
        order.append(unit)
        account.take(unit)
        cover.choose(unit)

    if not cover.chosen and (fits := account.fits()).any():
        shown = fits & (sum(one.counts for one in cover.sets) > 0)
        take(int(rng.choice(np.flatnonzero(shown if shown.any() else fits))))
    owner = np.concatenate([one.unit for one in cover.sets])
    start = np.cumsum([0] + [len(one.vectors) for one in cover.sets])
    while (fits := account.fits()).any():
        cover.settle()
        values = [cover.value(place, nearest.squared) for place, nearest in enumerate(cover.nearest)]
        bound = np.where(fits[owner], np.concatenate(values), 0.0)
        if not bound.any():  # all that is left repeats what is covered, and goes on doing so
            take(int(rng.choice(np.flatnonzero(fits))))
            continue
        total, misses = bound.cumsum(), 0
        last = int(np.flatnonzero(bound)[-1])
        while misses < _MISSES and not (cover.waiting and cover.is_full):
            # A product rounded up to the whole sum would point past the last pattern with a chance.
            row = min(int(np.searchsorted(total, rng.random() * total[-1], side="right")), last)
            place = int(np.searchsorted(start, row, side="right")) - 1
            if account.fits_row(int(owner[row])) and _counts(cover, place, row - start[place], bound[row], rng):
                take(int(owner[row]))
            else:
                misses += 1
    return np.array(order, np.int64)


def _counts(cover: PatternCover, place: int, row: int, bound: float, rng: np.random.Generator) -> bool:
    """Whether a draw counts: with the chance that its value now has in the value it was drawn by."""
    now = float(cover.value(place, np.array(cover.squared(place, int(row)))))
    return bool(rng.random() * bound < now)
