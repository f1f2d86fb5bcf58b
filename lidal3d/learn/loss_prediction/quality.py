# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""How well predicted losses order true ones: what a strategy must know before it trusts them. Needs no torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]
FEWEST_UNITS = 5
MOST_UNITS = 4000
ROWS_AT_ONCE = 256


@dataclass(frozen=True)
class Quality:
    """What held-out units say of a loss head.

    Attributes:
        units: how many were held out.
        accuracy: share of their pairs that the predictions order as the losses do; None below FEWEST_UNITS.
        spearman: rank correlation of the two; None as before, or where either is constant.
        by: what was held out: "frames" (runs of neighbouring sweeps) or "units".
    """

    units: int
    accuracy: float | None
    spearman: float | None
    by: str

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for a model's header."""
        return asdict(self)


def quality_of(predicted: Floats, losses: Floats, by: str) -> Quality:
    """The quality of predictions (U,) for units whose losses (U,) are known, both finite."""
    if len(predicted) < FEWEST_UNITS:
        return Quality(len(predicted), None, None, by)
    return Quality(len(predicted), ranking_accuracy(predicted, losses), spearman(predicted, losses), by)


def ranking_accuracy(predicted: Floats, losses: Floats) -> float | None:
    """Share of the pairs of different loss that are predicted in their order; half of a pair predicted equal counts.

    Of more than MOST_UNITS units as many are looked at, evenly spread. None where all losses are equal.

    >>> ranking_accuracy(np.array([0.1, 0.5, 0.2]), np.array([1.0, 2.0, 3.0]))
    0.6666666666666666
    """
    if len(predicted) > MOST_UNITS:
        some = np.linspace(0, len(predicted) - 1, MOST_UNITS).astype(int)
        predicted, losses = predicted[some], losses[some]
    right = pairs = 0.0
    for first in range(0, len(losses), ROWS_AT_ONCE):
        rows = slice(first, first + ROWS_AT_ONCE)
        greater = losses[rows, None] > losses[None, :]
        pairs += greater.sum()
        right += (greater & (predicted[rows, None] > predicted[None, :])).sum()
        right += 0.5 * (greater & (predicted[rows, None] == predicted[None, :])).sum()
    return float(right / pairs) if pairs else None


def spearman(one: Floats, other: Floats) -> float | None:
    """Rank correlation, ties by their mean rank; None where either is constant."""
    a, b = _ranks(one), _ranks(other)
    a, b = a - a.mean(), b - b.mean()
    size = np.sqrt((a * a).sum() * (b * b).sum())
    return float((a * b).sum() / size) if size > 0 else None


def _ranks(values: Floats) -> npt.NDArray[np.float64]:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[place]
