# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Features standardised and reduced to their principal components, a block of rows at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
Part = tuple[Float32, Int64]  # rows (N, D), and the stratum of each (N,)

_ROWS = 16384
_NOTHING = 1e-9  # a share of the variance that is rounding


@dataclass(frozen=True)
class Projection:
    """x -> (x − mean) / deviation of its stratum, times the P principal axes.

    Attributes:
        mean, deviation: (S, D) of every stratum.
        axes: (D, P); P is 0 where the features don't differ.
    """

    mean: Float64
    deviation: Float64
    axes: Float64

    @classmethod
    def of(cls, parts: Sequence[Part], dimensions: int) -> Projection:
        """Fit to the rows of several parts together.

        Args:
            parts: rows, and the stratum of each, from 0: each stratum is standardised on its own.
            dimensions: how many axes at most; those along which nothing varies are left out.
        """
        strata = 1 + max(int(stratum.max(initial=0)) for _, stratum in parts)
        mean, deviation = _moments(parts, strata)
        plain = cls(mean, deviation, np.eye(mean.shape[1]))
        scatter = np.zeros((mean.shape[1], mean.shape[1]))
        for rows, stratum in _blocks(parts):
            block = plain._standardised(rows, stratum)
            scatter += block.T @ block
        values, vectors = np.linalg.eigh(scatter)
        kept = [place for place in np.argsort(-values, kind="stable")[:dimensions] if values[place] > 0]
        kept = [place for place in kept if values[place] > _NOTHING * values.max()]
        axes = vectors[:, kept]
        # An axis has no direction: the one in which its largest entry is positive.
        largest = np.abs(axes).argmax(axis=0)
        return cls(mean, deviation, axes * np.where(axes[largest, np.arange(len(kept))] < 0, -1.0, 1.0))

    def __call__(self, part: Part) -> Float32:
        """(N, P) float32."""
        result = np.empty((len(part[0]), self.axes.shape[1]), np.float32)
        first = 0
        for rows, stratum in _blocks([part]):
            result[first : first + len(rows)] = self._standardised(rows, stratum) @ self.axes
            first += len(rows)
        return result

    def _standardised(self, rows: Float32, stratum: Int64) -> Float64:
        return (rows - self.mean[stratum]) / self.deviation[stratum]


def _moments(parts: Sequence[Part], strata: int) -> tuple[Float64, Float64]:
    """Mean and standard deviation (S, D); the deviation is 1 where nothing varies."""
    dimensions = parts[0][0].shape[1]
    count, total = np.zeros(strata), np.zeros((strata, dimensions))
    for rows, stratum in _blocks(parts):
        count += np.bincount(stratum, minlength=strata)
        for number in np.unique(stratum):
            total[number] += rows[stratum == number].sum(axis=0, dtype=np.float64)
    mean = total / np.maximum(count, 1)[:, None]
    squares = np.zeros_like(total)
    for rows, stratum in _blocks(parts):
        for number in np.unique(stratum):
            squares[number] += np.square(rows[stratum == number] - mean[number]).sum(axis=0)
    deviation = np.sqrt(squares / np.maximum(count, 1)[:, None])
    rounding = _NOTHING * np.maximum(np.abs(mean), 1e-30)
    return mean, np.where(deviation > rounding, deviation, 1.0)


def _blocks(parts: Sequence[Part]) -> Iterator[Part]:
    for rows, stratum in parts:
        for first in range(0, len(rows), _ROWS):
            yield rows[first : first + _ROWS], stratum[first : first + _ROWS]
