# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Balanced k-means regions: a sweep in R compact parts of almost equal point count (LiDAL's units, preset `paper`).

Minimise  sum_i |x_i - c_a(i)|^2  over centres c and assignments a, subject to  lower <= |{i: a(i) = k}| <= upper.

For fixed centres the optimum is a power diagram: a(i) = argmin_k |x_i - c_k|^2 + w_k for some prices w
(Aurenhammer, Hoffmann, Aronov: Minkowski-type theorems and least-squares clustering, 1998). The prices are found by
damped Newton steps on the dual, first on a thinned sweep in turn with the centres, then on all points; what little is
out of bounds after that is moved point by point at the least extra cost, so the bounds hold for every input.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from numba import njit

from lidal3d.units.points import finite_xyz

SAMPLE = 6000
SAMPLE_PER_REGION = 100
ROUNDS = 10
FULL_STEPS = 12
BLOCK = 1024
CAUTION = 0.2

Floats = npt.NDArray[np.float64]


def size_bounds(count: int, regions: int, tolerance: float) -> tuple[int, int]:
    """Least and largest size of one of `regions` regions over `count` points.

    int((1-t)·N/R) and int((1+t)·N/R) as in LiDAL's released code, widened where no partition could meet them
    (N = 25, R = 20 gives 1 and 1 there): at least 1, and at least N/R rounded up.
    """
    lower = int((1 - tolerance) * count / regions)
    upper = int((1 + tolerance) * count / regions)
    return max(1, lower), max(upper, -(-count // regions))


@dataclass(frozen=True)
class BalancedKMeans:
    """The `kmeans` partition: `regions` regions, sizes within `size_tolerance` of N/regions; one a point if N is less.

    The same points in the same order give the same ids; another order may move points on the borders.
    """

    regions: int = 20
    size_tolerance: float = 0.05
    kind: str = field(default="kmeans", init=False)

    def __call__(self, points: npt.NDArray[np.float32]) -> npt.NDArray[np.int32]:
        """Unit ids (N,) of points (N, 3+). Raises DataError for coordinates that are not finite."""
        xyz = finite_xyz(points)
        if len(xyz) <= self.regions:
            return np.arange(len(xyz), dtype=np.int32)
        columns = np.ascontiguousarray((xyz - xyz.mean(axis=0)).T)
        lower, upper = size_bounds(len(xyz), self.regions, self.size_tolerance)
        step = max(1, len(xyz) // max(SAMPLE, SAMPLE_PER_REGION * self.regions))
        centers, prices = _fit(np.ascontiguousarray(columns[:, ::step]), self.regions)
        return _assign_within_bounds(columns, centers, prices, lower, upper)


def _fit(sample: Floats, regions: int) -> tuple[Floats, Floats]:
    """Centres (R, 3) and prices (R,) of a thinned sweep (3, n): centres and prices in turn, from balanced halves."""
    assignment = _balanced_halves(sample, regions)
    centers = _centers(sample, assignment, regions)
    prices = np.zeros(regions)
    for _ in range(ROUNDS):
        assignment, prices = _balance(sample, centers, prices, 10, 0.1)
        centers = _centers(sample, assignment, regions)
    _, prices = _balance(sample, centers, prices, 20, 0.02)
    return centers, prices


def _assign_within_bounds(
    columns: Floats, centers: Floats, prices: Floats, lower: int, upper: int
) -> npt.NDArray[np.int32]:
    target = columns.shape[1] / len(centers)
    slack = 0.8 * min(upper / target - 1, 1 - lower / target)
    assignment, prices = _balance(columns, centers, prices, FULL_STEPS, slack)
    _repair(columns, centers, prices, assignment, lower, upper)
    return assignment


def _balanced_halves(sample: Floats, regions: int) -> npt.NDArray[np.int32]:
    """A first balanced assignment: halve along the widest spread, again and again, in proportion to the regions."""
    assignment = np.zeros(sample.shape[1], np.int32)
    pending = [(np.arange(sample.shape[1]), 0, regions)]
    while pending:
        members, first, count = pending.pop()
        if count == 1:
            assignment[members] = first
            continue
        axis = int(np.argmax(sample[:, members].var(axis=1)))
        members = members[np.argsort(sample[axis, members], kind="stable")]
        cut = len(members) * (count // 2) // count
        pending.append((members[:cut], first, count // 2))
        pending.append((members[cut:], first + count // 2, count - count // 2))
    return assignment


def _centers(columns: Floats, assignment: npt.NDArray[np.int32], regions: int) -> Floats:
    sizes = np.maximum(np.bincount(assignment, minlength=regions), 1)
    sums = [np.bincount(assignment, weights=axis, minlength=regions) for axis in columns]
    return np.stack(sums, axis=1) / sizes[:, None]


def _balance(
    columns: Floats, centers: Floats, prices: Floats, steps: int, slack: float
) -> tuple[npt.NDArray[np.int32], Floats]:
    """Ascend the dual  sum_i min_k (|x_i - c_k|^2 + w_k) - N/R sum_k w_k  until all sizes are within `slack` of N/R.

    Returns the assignment and its prices. The dual is concave with gradient (size - N/R) and, as Hessian, minus the
    Laplacian of the border densities: raising w_a by dw moves the points whose margin to b is below dw from a to b.
    """
    target = columns.shape[1] / len(centers)
    width = float((columns * columns).mean()) / len(centers)
    best_dual, best, caution = -np.inf, (np.zeros(0, np.int32), prices), CAUTION
    trial = prices
    slopes = excess = np.zeros(0)
    for _ in range(steps):
        assignment, sizes, density, total = _assign(columns, centers, trial, width)
        dual = total - target * trial.sum()
        if dual > best_dual:
            best_dual, best, caution = dual, (assignment, trial), caution / 4
            excess, slopes = sizes - target, density
            if np.abs(excess).max() <= slack * target:
                break
        else:
            caution = max(6 * caution, CAUTION)
        width *= _width_change(density.sum() * width / columns.shape[1])
        trial = best[1] + _newton_step(slopes, excess, caution)
    return best


def _newton_step(density: Floats, excess: Floats, caution: float) -> Floats:
    """Levenberg-Marquardt step; `caution` times the Laplacian's diagonal keeps it where the densities hold."""
    degree = density.sum(axis=1)
    damping = caution * np.maximum(degree, 0.2 * max(float(degree.mean()), 1e-30))
    return np.linalg.solve(np.diag(degree + damping) - density, excess)


def _width_change(border_share: float) -> float:
    """Factor on the border's width so that about a seventh of all points lie within it."""
    return float(np.clip(0.15 / max(border_share, 1e-9), 0.2, 3.0))


@njit(cache=True, nogil=True)
def _assign(columns, centers, prices, width):  # type: ignore[no-untyped-def]
    """Power-diagram assignment (N,), sizes (R,), border densities (R, R) in points per unit of price, summed cost."""
    count, regions = columns.shape[1], len(centers)
    assignment = np.zeros(count, np.int32)
    sizes = np.zeros(regions)
    density = np.zeros((regions, regions))
    total = 0.0
    best = np.empty(BLOCK)
    second = np.empty(BLOCK)
    first_id = np.empty(BLOCK, np.int64)
    second_id = np.empty(BLOCK, np.int64)
    for start in range(0, count, BLOCK):
        length = min(BLOCK, count - start)
        best[:] = np.inf
        second[:] = np.inf
        first_id[:] = 0
        second_id[:] = 0
        x = columns[0, start : start + length]
        y = columns[1, start : start + length]
        z = columns[2, start : start + length]
        for k in range(regions):
            cx, cy, cz, price = centers[k, 0], centers[k, 1], centers[k, 2], prices[k]
            for i in range(length):
                cost = (x[i] - cx) ** 2 + (y[i] - cy) ** 2 + (z[i] - cz) ** 2 + price
                first = cost < best[i]
                runner_up = cost < second[i]
                second_id[i] = first_id[i] if first else (k if runner_up else second_id[i])
                second[i] = best[i] if first else (cost if runner_up else second[i])
                first_id[i] = k if first else first_id[i]
                best[i] = cost if first else best[i]
        for i in range(length):
            a, b = first_id[i], second_id[i]
            assignment[start + i] = a
            sizes[a] += 1
            total += best[i]
            if second[i] - best[i] < width:
                density[a, b] += 0.5 / width
                density[b, a] += 0.5 / width
    return assignment, sizes, density, total


@njit(cache=True, nogil=True)
def _repair(columns, centers, prices, assignment, lower, upper):  # type: ignore[no-untyped-def]
    """Move points out of regions above `upper`, then into regions below `lower`, each time at the least extra cost."""
    regions = len(centers)
    sizes = np.zeros(regions, np.int64)
    for i in range(len(assignment)):
        sizes[assignment[i]] += 1
    for a in range(regions):
        while sizes[a] > upper:
            _move(columns, centers, prices, assignment, sizes, a, -1, sizes[a] - upper, lower, upper)
    for b in range(regions):
        while sizes[b] < lower:
            _move(columns, centers, prices, assignment, sizes, -1, b, lower - sizes[b], lower, upper)


@njit(cache=True, nogil=True)
def _move(columns, centers, prices, assignment, sizes, source, sink, wanted, lower, upper):  # type: ignore[no-untyped-def]
    """Move up to `wanted` points from `source` (-1: any region above `lower`) to `sink` (-1: any below `upper`)."""
    count = len(assignment)
    extra = np.full(count, np.inf)
    goal = np.full(count, -1, np.int64)
    for i in range(count):
        a = assignment[i]
        if a == sink or (source >= 0 and a != source) or (source < 0 and sizes[a] <= lower):
            continue
        own = _cost(columns, centers, prices, i, a)
        for b in range(len(centers)):
            if b != a and (b == sink or (sink < 0 and sizes[b] < upper)):
                cost = _cost(columns, centers, prices, i, b) - own
                if goal[i] < 0 or cost < extra[i]:
                    extra[i] = cost
                    goal[i] = b
    moved = 0
    for i in np.argsort(extra, kind="mergesort"):
        a, b = assignment[i], goal[i]
        if moved == wanted or b < 0:
            break
        if sizes[b] < upper and sizes[a] > lower:
            assignment[i] = b
            sizes[a] -= 1
            sizes[b] += 1
            moved += 1


@njit(cache=True, nogil=True, inline="always")
def _cost(columns, centers, prices, i, k):  # type: ignore[no-untyped-def]
    x, y, z = columns[0, i] - centers[k, 0], columns[1, i] - centers[k, 1], columns[2, i] - centers[k, 2]
    return x * x + y * y + z * z + prices[k]
