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

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from numba import njit

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

BLOCK = 1 << 21  # pairs of one matrix product: 8 MiB
MANY = 1 << 26  # pairs from which on it's worth finding how many axes do best
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
        self._widths = tuple(widths or (every, every // 2, every // 4, every // 8) if every >= 32 else (every,))
        self.width, self._block = self._widths[0], block
        self._mean = _mean(self.vectors)
        # Products are of vectors no longer than 1, which float32 can hold: a power of two changes no digit.
        longest = np.sqrt(_squared_lengths(self.vectors, self._mean, 1.0).max(initial=0))
        self._scale = float(2.0 ** -np.ceil(np.log2(longest))) if longest else 1.0
        self._length = _squared_lengths(self.vectors, self._mean, self._scale)
        self._axes: Float64 | None = None
        self._screen: Float32 | None = None

    def tell(self, others: Float32) -> None:
        """Take the distances to further vectors (J, D) into account."""
        if not len(others) or not len(self.vectors):
            return
        others = np.ascontiguousarray(others, np.float32)
        if len(self._widths) > 1 and len(self.vectors) * len(others) >= MANY:
            self._look_at(self._best_width(others))
        bounded, longest = _with_lengths(
            self._bounded(others, self.width), _squared_lengths(others, self._mean, self._scale)
        )
        rows = max(1, self._block // len(others))
        product = np.empty((min(rows, len(self.vectors)), len(others)), np.float32)
        for first in range(0, len(self.vectors), rows):
            part = slice(first, first + rows)
            own = self._own(part)
            found = np.matmul(own, bounded.T, out=product[: len(own)])
            half = self._half(self._length[part], longest)
            _shorten(found, half, self._scale**2, self.vectors[part], others, self.squared[part])

    def between(self, row: int, others: Float32) -> float:
        """The squared distance of one vector to the nearest of (J, D)."""
        return float(_least(self.vectors[row], others))

    def _half(self, length: Float64, longest: float) -> Float64:
        """½ ‖x‖² less what float32 may do to a product of such lengths: products below this − ½ squared rule out."""
        # With a margin for how the vectors themselves were rounded.
        error = 1.1 * (self.width + 20) * 2.0**-24
        return 0.5 * length - error * (np.sqrt(length) * longest + 0.5 * longest * longest)

    def _own(self, part: slice) -> Float32:
        """(n, c) of some vectors: what `_bounded` gives, and a one for the others' length."""
        return _with_one(self._bounded(self.vectors[part], self.width)) if self._screen is None else self._screen[part]

    def _bounded(self, vectors: Float32, width: int) -> Float32:
        """(n, c) scaled coordinates about the mean whose products are no less than those of the vectors."""
        if width == self.vectors.shape[1]:
            return vectors * np.float32(self._scale) - self._mean * np.float32(self._scale)
        if self._axes is None:
            self._axes = principal_axes(self.vectors, self._mean)
        centered = (vectors.astype(np.float64) - self._mean) * self._scale
        turned = centered @ self._axes[:, :width]
        rest = (centered * centered).sum(axis=1) - (turned * turned).sum(axis=1)
        return np.concatenate([turned, np.sqrt(np.maximum(rest, 0))[:, None]], axis=1).astype(np.float32)

    def _best_width(self, others: Float32) -> int:
        """The width that costs least for some of the pairs, in axes; another than the last only if clearly better."""
        rows = np.arange(0, len(self.vectors), max(1, len(self.vectors) // _PROBE))
        if np.isinf(self.squared[rows]).all():
            return self.width
        probe = others[:: max(1, len(others) // 256)]
        length = _squared_lengths(probe, self._mean, self._scale)
        cost = {}
        for width in self._widths:
            bounded, longest = _with_lengths(self._bounded(probe, width), length)
            product = _with_one(self._bounded(self.vectors[rows], width)) @ bounded.T
            bar = self._half(self._length[rows], longest) - 0.5 * self._scale**2 * self.squared[rows]
            cost[width] = width + COMPUTED * float((product >= bar[:, None]).mean())
        best = min(cost, key=lambda width: cost[width])
        return best if cost[best] < 0.75 * cost[self.width] else self.width

    def _look_at(self, width: int) -> None:
        """Turn all vectors to another number of axes."""
        if width == self.width:
            return
        self.width, self._screen = width, None
        if width < self.vectors.shape[1]:
            screen = np.empty((len(self.vectors), width + 2), np.float32)
            for first in range(0, len(self.vectors), _CHUNK):
                screen[first : first + _CHUNK] = self._own(slice(first, first + _CHUNK))
            self._screen = screen


def principal_axes(vectors: Float32, mean: Float32) -> Float64:
    """(D, D) orthonormal columns, the widest first, of an even sample of the vectors about a mean."""
    sample = vectors[:: max(1, len(vectors) // _SAMPLE)].astype(np.float64) - mean
    return np.linalg.eigh(sample.T @ sample)[1][:, ::-1]


def _mean(vectors: Float32) -> Float32:
    total = np.zeros(vectors.shape[1])
    for first in range(0, len(vectors), _CHUNK):
        total += vectors[first : first + _CHUNK].sum(axis=0, dtype=np.float64)
    return (total / max(len(vectors), 1)).astype(np.float32)


def _squared_lengths(vectors: Float32, mean: Float32, scale: float) -> Float64:
    """(P,) ‖x − mean‖² of scaled vectors."""
    result = np.empty(len(vectors))
    for first in range(0, len(vectors), _CHUNK):
        part = slice(first, first + _CHUNK)
        result[part] = (((vectors[part].astype(np.float64) - mean) * scale) ** 2).sum(axis=1)
    return result


def _with_one(own: Float32) -> Float32:
    return np.concatenate([own, np.ones((len(own), 1), np.float32)], axis=1)


def _with_lengths(others: Float32, squared_length: Float64) -> tuple[Float32, float]:
    """The others' coordinates with −½ ‖y‖², which meets the one of `_with_one`; and the length of the longest."""
    column = (-0.5 * squared_length[:, None]).astype(np.float32)
    return np.concatenate([others, column], axis=1), float(np.sqrt(squared_length.max()))


@njit(cache=True, nogil=True)
def _shorten(product, half, weight, vectors, others, squared):  # type: ignore[no-untyped-def]
    """Lower squared distances (n,) to those of the pairs that a product (n, J) doesn't rule out."""
    for i in range(len(product)):
        bar = half[i] - 0.5 * weight * squared[i]
        for first in range(0, product.shape[1], _GROUP):
            group = product[i, first : first + _GROUP]
            if _largest(group) < bar:
                continue
            for j in range(len(group)):
                if group[j] >= bar:
                    found = squared_distance(vectors[i], others[first + j])
                    if found < squared[i]:
                        squared[i] = found
                        bar = half[i] - 0.5 * weight * found


@njit(cache=True, nogil=True, fastmath=True)
def _largest(values):  # type: ignore[no-untyped-def]
    most = values[0]
    for value in values:
        most = max(most, value)
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
