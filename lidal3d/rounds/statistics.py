# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Numbers drawn from learning curves: area, labels needed, confidence, and who wins how often. Pure arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]


def area_under_curve(x: npt.ArrayLike, y: npt.ArrayLike) -> float:
    """Mean height of a curve of straight pieces between its first and last x: ∫ y dx / (x_last − x_first).

    NaN for less than two different x.

    >>> area_under_curve([0, 1, 3], [0.0, 1.0, 1.0])
    0.8333333333333334
    """
    x, y = np.asarray(x, float), np.asarray(y, float)
    width = x[-1] - x[0] if len(x) else 0.0
    return float(((y[1:] + y[:-1]) / 2 * np.diff(x)).sum() / width) if width > 0 else float("nan")


def labels_needed(x: npt.ArrayLike, y: npt.ArrayLike, target: float) -> float | None:
    """The least x at which a curve of straight pieces reaches `target`; None where it never does.

    >>> labels_needed([0.0, 1.0, 2.0], [0.0, 0.5, 1.0], 0.75)
    1.5
    """
    x, y = np.asarray(x, float), np.asarray(y, float)
    reached = np.flatnonzero(y >= target)
    if not len(reached):
        return None
    after = int(reached[0])
    if after == 0:
        return float(x[0])
    part = (target - y[after - 1]) / (y[after] - y[after - 1])
    return float(x[after - 1] + part * (x[after] - x[after - 1]))


def mean_and_band(values: npt.ArrayLike, confidence: float = 0.95) -> tuple[float, float]:
    """Mean of S seeds' values and half the width of its confidence interval (Student's t); NaN for one seed."""
    from scipy.stats import t

    values = np.asarray(values, float)
    if len(values) < 2:
        return float(values.mean()) if len(values) else float("nan"), float("nan")
    error = values.std(ddof=1) / np.sqrt(len(values))
    return float(values.mean()), float(t.ppf(0.5 + confidence / 2, len(values) - 1) * error)


Outcomes = Mapping[str, Mapping[tuple[int, int], float]]


def win_matrix(outcomes: Outcomes, names: Sequence[str]) -> tuple[Float64, npt.NDArray[np.int64]]:
    """How often each strategy is above each other, paired by seed and round.

    Args:
        outcomes: strategy -> (seed, round) -> mIoU.
        names: the order of rows and columns.

    Returns:
        wins (S, S), a tie counting one half for both, and pairs (S, S) that both have.
    """
    wins, pairs = np.zeros((len(names), len(names))), np.zeros((len(names), len(names)), np.int64)
    for i, mine in enumerate(names):
        for j, other in enumerate(names):
            if i == j:
                continue
            shared = sorted(outcomes[mine].keys() & outcomes[other].keys())
            differences = np.array([outcomes[mine][key] - outcomes[other][key] for key in shared])
            pairs[i, j] = len(shared)
            wins[i, j] = (differences > 0).sum() + 0.5 * (differences == 0).sum()
    return wins, pairs


def paired_difference(outcomes: Outcomes, mine: str, other: str) -> tuple[float, float]:
    """Mean over seeds of (mine − other), each seed's rounds averaged first, and half its 95 % interval."""
    shared = sorted(outcomes[mine].keys() & outcomes[other].keys())
    seeds = sorted({seed for seed, _ in shared})
    means = [
        np.mean([outcomes[mine][key] - outcomes[other][key] for key in shared if key[0] == seed]) for seed in seeds
    ]
    return mean_and_band(means)
