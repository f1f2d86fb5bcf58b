# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""How far many vectors are from the nearest of those chosen so far: exact, though most pairs are only ruled out.

Vectors are turned to their principal axes once, about their mean. With z the first m coordinates and r the length of
what they leave out,

    ‖x − y‖²  ≥  ‖x‖² + ‖y‖² − 2 (⟨z_x, z_y⟩ + r_x r_y),

which one float32 matrix product bounds for a block of pairs. Only pairs that could come nearer than what a vector has
are computed, in float64: so block sizes, threads, BLAS and m change how long it takes, never the result.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from numba import get_num_threads, njit

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

BLOCK = 1 << 21  # pairs of one matrix product: 8 MiB
MANY = 1 << 26  # pairs from which on it's worth finding how many axes do best
FEW = 1 << 18  # pairs that aren't worth a second thread
COMPUTED = 4500  # what the distance of one pair costs, in axes of a matrix product
_SAMPLE, _PROBE, _CHUNK, _GROUP = 20_000, 1024, 8192, 64


class Nearest:
    """Squared distances of P vectors to the nearest of those told so far.

    Args:
        vectors: (P, D), finite; not copied.
        widths: numbers of principal axes that pairs may be ruled out by; D is all of them. None: by D.
        block: pairs of one matrix product.

    Attributes:
        squared: (P,) float64, infinite before anything is told.
        width: how many axes the last vectors were compared on.
    """

    def __init__(self, vectors: Float32, widths: Sequence[int] | None = None, block: int = BLOCK) -> None:
        self.vectors = np.ascontiguousarray(vectors, np.float32)
        self.squared = np.full(len(vectors), np.inf)
        every = self.vectors.shape[1]
        # One less than a half and so on: with the length of the rest, whole cache lines.
        fewer = [every // part - 1 for part in (2, 4, 8)] if every >= 32 else []
        self._widths = tuple(widths or (every, *fewer))
        self._block = block
        # Products are of vectors no longer than 1, which float32 can hold: a power of two changes no digit.
        longest = np.sqrt(_squared_lengths(self.vectors, None, 1.0).max(initial=0))
        self._scale = float(2.0 ** -np.ceil(np.log2(longest))) if longest else 1.0
        self._mean, self._axes = np.zeros(every, np.float32), np.empty((every, 0))
        self.width, self._screen = every, np.empty((0, 0), np.float32)
        self._length = self._lengths(self.vectors, every)

    def tell(self, others: Float32) -> None:
        """Take the distances to further vectors (J, D) into account."""
        if not len(others) or not len(self.vectors):
            return
        others = np.ascontiguousarray(others, np.float32)
        if len(self._widths) > 1 and len(self.vectors) * len(others) >= MANY:
            self._look_at(self._best_width(others))
        bounded, length = self._bounded(others, self.width), self._lengths(others, self.width)
        # Own vectors as they lie in memory are not scaled: the others are, twice.
        bounded *= np.float32(1.0 if self._screen.size else self._scale)
        rows = max(1, self._block // len(others))
        product = np.empty((min(rows, len(self.vectors)), len(others)), np.float32)
        own = self._screen if self._screen.size else self.vectors
        for first in range(0, len(self.vectors), rows):
            part = slice(first, first + rows)
            found = np.matmul(own[part], bounded.T, out=product[: len(own[part])])
            half = _half(self._length[part], length, self.width)
            self._shorten(found, (0.5 * length).astype(np.float32), half, part, others)

    def _shorten(self, product: Float32, offset: Float32, half: Float64, part: slice, others: Float32) -> None:
        """Lower the squared distances of a part by what its products don't rule out, each thread some of its rows."""

        def share(rows: slice) -> None:
            own, squared = self.vectors[part][rows], self.squared[part][rows]
            _shorten(product[rows], offset, half[rows], self._scale**2, own, others, squared)

        threads = get_num_threads()
        if product.size < FEW or threads == 1:
            share(slice(0, len(product)))
            return
        step = -(-len(product) // threads)
        shares = [slice(first, first + step) for first in range(0, len(product), step)]
        list(_pool(threads, os.getpid()).map(share, shares))

    def between(self, row: int, others: Float32) -> float:
        """The squared distance of one vector to the nearest of (J, D)."""
        return float(_least(self.vectors[row], others))

    def _bounded(self, vectors: Float32, width: int) -> Float32:
        """(n, c) scaled coordinates whose products are no less than those of the vectors, about the mean if narrow."""
        if width == vectors.shape[1]:
            return vectors * np.float32(self._scale)
        mean, axes = self._about()
        centered = (vectors.astype(np.float64) - mean) * self._scale
        turned = centered @ axes[:, :width]
        rest = (centered * centered).sum(axis=1) - (turned * turned).sum(axis=1)
        return np.concatenate([turned, np.sqrt(np.maximum(rest, 0))[:, None]], axis=1).astype(np.float32)

    def _lengths(self, vectors: Float32, width: int) -> Float64:
        """(n,) the squared lengths of what `_bounded` stands for."""
        return _squared_lengths(vectors, None if width == vectors.shape[1] else self._about()[0], self._scale)

    def _about(self) -> tuple[Float32, Float64]:
        """The mean, and the principal axes about it, found when first asked for."""
        if not self._axes.size:
            self._mean = _mean(self.vectors)
            self._axes = principal_axes(self.vectors, self._mean)
        return self._mean, self._axes

    def _best_width(self, others: Float32) -> int:
        """The width that costs least for some of the pairs, in axes; another than the last only if clearly better."""
        rows = np.arange(0, len(self.vectors), max(1, len(self.vectors) // _PROBE))
        if np.isinf(self.squared[rows]).all():
            return self.width
        some, probe = self.vectors[rows], others[:: max(1, len(others) // 256)]
        cost = {}
        for width in self._widths:
            length = self._lengths(probe, width)
            half = _half(self._lengths(some, width), length, width)
            product = self._bounded(some, width) @ self._bounded(probe, width).T - 0.5 * length
            bar = half - 0.5 * self._scale**2 * self.squared[rows]
            cost[width] = width + COMPUTED * float((product >= bar[:, None]).mean())
        best = min(cost, key=lambda width: cost[width])
        return best if cost[best] < 0.75 * cost[self.width] else self.width

    def _look_at(self, width: int) -> None:
        """Turn all vectors to another number of axes."""
        if width == self.width:
            return
        self.width, self._screen = width, np.empty((0, 0), np.float32)
        self._length = self._lengths(self.vectors, width)
        if width < self.vectors.shape[1]:
            self._screen = np.empty((len(self.vectors), width + 1), np.float32)
            for first in range(0, len(self.vectors), _CHUNK):
                part = slice(first, first + _CHUNK)
                self._screen[part] = self._bounded(self.vectors[part], width)


@lru_cache(maxsize=1)
def _pool(threads: int, process: int) -> ThreadPoolExecutor:
    """Threads of this process: a fork has none of its parent's."""
    return ThreadPoolExecutor(threads)


def _half(own: Float64, others: Float64, width: int) -> Float64:
    """½ ‖x‖² (n,) less what float32 may do to x·y − ½ ‖y‖²: what is below this − ½ squared rules a pair out.

    Args:
        own, others: squared lengths, scaled.
        width: of the vectors in the product.
    """
    longest = float(np.sqrt(others.max(initial=0)))
    # With a margin for how the vectors themselves were rounded.
    error = 1.1 * (width + 20) * 2.0**-24
    half: Float64 = 0.5 * own - error * (np.sqrt(own) * longest + 0.5 * longest * longest)
    return half


def principal_axes(vectors: Float32, mean: Float32) -> Float64:
    """(D, D) orthonormal columns, the widest first, of an even sample of the vectors about a mean."""
    sample = vectors[:: max(1, len(vectors) // _SAMPLE)].astype(np.float64) - mean
    return np.ascontiguousarray(np.linalg.eigh(sample.T @ sample)[1][:, ::-1])


def _mean(vectors: Float32) -> Float32:
    total = np.zeros(vectors.shape[1])
    for first in range(0, len(vectors), _CHUNK):
        total += vectors[first : first + _CHUNK].sum(axis=0, dtype=np.float64)
    return (total / max(len(vectors), 1)).astype(np.float32)


def _squared_lengths(vectors: Float32, mean: Float32 | None, scale: float) -> Float64:
    """(P,) ‖x − mean‖² of scaled vectors."""
    result = np.empty(len(vectors))
    for first in range(0, len(vectors), _CHUNK):
        part = slice(first, first + _CHUNK)
        wide = vectors[part].astype(np.float64)
        wide = (wide if mean is None else wide - mean) * scale
        result[part] = np.einsum("pd,pd->p", wide, wide)
    return result


@njit(cache=True, nogil=True)
def _shorten(product, offset, half, weight, vectors, others, squared):  # type: ignore[no-untyped-def]
    """Lower squared distances (n,) to those of the pairs that a product (n, J) doesn't rule out."""
    for i in range(len(product)):
        bar = half[i] - 0.5 * weight * squared[i]
        for first in range(0, product.shape[1], _GROUP):
            group = product[i, first : first + _GROUP]
            less = offset[first : first + _GROUP]
            if _largest(group, less) < bar:
                continue
            for j in range(len(group)):
                if group[j] - less[j] >= bar:
                    found = squared_distance(vectors[i], others[first + j])
                    if found < squared[i]:
                        squared[i] = found
                        bar = half[i] - 0.5 * weight * found


@njit(cache=True, nogil=True, fastmath=True)
def _largest(values, less):  # type: ignore[no-untyped-def]
    most = values[0] - less[0]
    for i in range(1, len(values)):
        most = max(most, values[i] - less[i])
    return most


@njit(cache=True, nogil=True)
def _least(vector, others):  # type: ignore[no-untyped-def]
    least = np.inf
    for j in range(len(others)):
        least = min(least, squared_distance(vector, others[j]))
    return least


@njit(cache=True, nogil=True, fastmath=True)
def squared_distance(x, y):  # type: ignore[no-untyped-def]
    """‖x − y‖² in float64; where all coordinates lie on a grid (`patterns.unit_vectors`), exact in any order of sums."""
    total = 0.0
    for i in range(len(x)):
        step = np.float64(x[i]) - np.float64(y[i])
        total += step * step
    return total
