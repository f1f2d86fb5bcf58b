# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Superpixels: connected patches of a picture of much the same colour (SLIC, Achanta et al., TPAMI 2012)."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from numba import njit

from lidal3d.scene.pixels import picture_of

# A patch smaller than this share of a usual one joins its neighbour.
LEAST_SHARE = 0.25


@dataclass(frozen=True)
class Superpixels:
    """The `superpixels` partition: k-means of colour and place about a grid of centres, then connected patches.

    Attributes:
        count: about so many in a picture.
        compactness: how much a distance of one grid step counts, in units of colour.
        rounds: of assigning and moving.
    """

    count: int = 150
    compactness: float = 0.15
    rounds: int = 8
    kind: str = field(default="superpixels", init=False)

    def __call__(self, points: npt.NDArray[np.float32]) -> npt.NDArray[np.int32]:
        """Unit ids (N,) of pixels (N, 5). Raises DataError for what is no whole picture."""
        if not len(points):
            return np.empty(0, np.int32)
        picture = np.ascontiguousarray(picture_of(points))
        height, width = picture.shape[:2]
        step = max(1.0, float(np.sqrt(height * width / self.count)))
        rough = _assign(picture, step, np.float32(self.compactness / step), self.rounds)
        least = max(1, int(LEAST_SHARE * step * step))
        return _connected(rough, least).ravel()


@njit(cache=True, nogil=True)
def _assign(picture, step, place_weight, rounds):  # type: ignore[no-untyped-def]
    """(H, W) the nearest of the centres of a grid, which move to the mean of what is theirs."""
    height, width = picture.shape[:2]
    rows, columns = max(1, round(height / step)), max(1, round(width / step))
    centers = np.empty((rows * columns, 5), np.float32)
    for i in range(rows):
        for j in range(columns):
            v, u = int((i + 0.5) * height / rows), int((j + 0.5) * width / columns)
            centers[i * columns + j, :2] = v, u
            centers[i * columns + j, 2:] = picture[v, u]
    owner = np.zeros((height, width), np.int32)
    reach = int(np.ceil(1.5 * step))
    for _ in range(rounds):
        nearest = np.full((height, width), np.float32(np.inf))
        for k in range(len(centers)):
            v0, u0 = int(centers[k, 0]), int(centers[k, 1])
            for v in range(max(0, v0 - reach), min(height, v0 + reach + 1)):
                for u in range(max(0, u0 - reach), min(width, u0 + reach + 1)):
                    dv, du = np.float32(v) - centers[k, 0], np.float32(u) - centers[k, 1]
                    apart = (dv * dv + du * du) * place_weight * place_weight
                    for c in range(3):
                        d = picture[v, u, c] - centers[k, 2 + c]
                        apart += d * d
                    if apart < nearest[v, u]:
                        nearest[v, u] = apart
                        owner[v, u] = k
        sums, counts = np.zeros((len(centers), 5)), np.zeros(len(centers))
        for v in range(height):
            for u in range(width):
                k = owner[v, u]
                counts[k] += 1
                sums[k, 0] += v
                sums[k, 1] += u
                for c in range(3):
                    sums[k, 2 + c] += picture[v, u, c]
        for k in range(len(centers)):
            if counts[k]:
                for c in range(5):
                    centers[k, c] = sums[k, c] / counts[k]
    return owner


@njit(cache=True, nogil=True)
def _connected(owner, least):  # type: ignore[no-untyped-def]
    """Ids 0 … of the connected patches in the order of their first pixels; small ones join the patch before them."""
    height, width = owner.shape
    ids = np.full((height, width), -1, np.int32)
    queue = np.empty((height * width, 2), np.int32)
    count = 0
    for v0 in range(height):
        for u0 in range(width):
            if ids[v0, u0] >= 0:
                continue
            # The patch above or to the left of the first pixel, found before: what a small one joins.
            joined = ids[v0, u0 - 1] if u0 else (ids[v0 - 1, u0] if v0 else -1)
            queue[0, 0], queue[0, 1] = v0, u0
            ids[v0, u0] = count
            head, tail = 0, 1
            while head < tail:
                v, u = queue[head]
                head += 1
                for dv, du in ((-1, 0), (0, -1), (0, 1), (1, 0)):
                    a, b = v + dv, u + du
                    if 0 <= a < height and 0 <= b < width and ids[a, b] < 0 and owner[a, b] == owner[v0, u0]:
                        ids[a, b] = count
                        queue[tail, 0], queue[tail, 1] = a, b
                        tail += 1
            if tail < least and joined >= 0:
                for i in range(tail):
                    ids[queue[i, 0], queue[i, 1]] = joined
            else:
                count += 1
    return ids
