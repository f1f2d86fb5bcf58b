# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""LiDAL's two point scores (Hu et al., ECCV 2022, section 3.2), as equations and as the fused kernel that runs them.

For a point with probabilities P_0 and the probabilities P_j of its nearest neighbours in the frames j ∈ M where one
lies within the radius:

    divergence  D = 1/|M| · Σ_{j ∈ M} KL(P_0 + ε ‖ P_j + ε)        0 where M is empty
    entropy     E = H( (P_0 + Σ_{j ∈ M} P_j) / (1 + |M|) )          nats
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt

from lidal3d.interframe.match import UNMATCHED
from lidal3d.interframe.simd import LANES, prefetch, score_point

# Points ahead whose rows are asked for: far enough to hide memory latency, near enough to stay in the first cache.
_PREFETCH_AHEAD = 2
_MOST_NEIGHBOURS = 48  # InterframeConfig.half_window admits no more, nor an epsilon whose 48th power is 0


@dataclass(frozen=True)
class PointScores:
    """Scores of the N points of a sweep, in the sweep's own order.

    Attributes:
        divergence: (N,) float32 mean KL to the matched neighbours, nats; 0 where matches is 0.
        entropy: (N,) float32 entropy of the mean distribution, nats.
        matches: (N,) uint8 number of neighbour frames with a match.
        confidence: (N,) float32 largest probability of the mean distribution.
        predicted: (N,) uint8 its class.
    """

    divergence: npt.NDArray[np.float32]
    entropy: npt.NDArray[np.float32]
    matches: npt.NDArray[np.uint8]
    confidence: npt.NDArray[np.float32]
    predicted: npt.NDArray[np.uint8]


def divergence(own: npt.NDArray[np.floating], other: npt.NDArray[np.floating], epsilon: float = 1e-5) -> npt.NDArray:
    """KL(own + ε ‖ other + ε) along the last axis, nats, with the terms −p + q that are 0 in sum for rows that sum to 1."""
    p, q = own + epsilon, other + epsilon
    return (p * np.log(p / q) - p + q).sum(axis=-1)


def entropy(probabilities: npt.NDArray[np.floating]) -> npt.NDArray:
    """H(P) = −Σ_c P_c ln P_c along the last axis, nats, with 0 ln 0 = 0."""
    return -(probabilities * np.log(np.where(probabilities > 0, probabilities, 1.0))).sum(axis=-1)


def score_points(
    own: npt.NDArray[np.floating],
    neighbours: Sequence[npt.NDArray[np.floating]],
    places: npt.NDArray[np.int32],
    order: npt.NDArray[np.int32],
    classes: int,
    epsilon: float,
) -> PointScores:
    """Score all points of a sweep against its neighbours.

    Args:
        own: flat rows of `classes` probabilities, in the sweep's grid order, as `pack_rows` makes them.
        neighbours: J such arrays of the same type, J at most 48.
        places: (J, N) match of each point, in grid order, or −1.
        order: (N,) original index of each place in grid order.
        classes: C.
        epsilon: ε of the divergence.
    """
    n = len(order)
    scores = PointScores(
        divergence=np.empty(n, np.float32),
        entropy=np.empty(n, np.float32),
        matches=np.empty(n, np.uint8),
        confidence=np.empty(n, np.float32),
        predicted=np.empty(n, np.uint8),
    )
    # numba has no float16; its bits travel as uint16 and are widened in the kernel.
    like = own[:0].view(np.uint16) if own.dtype == np.float16 else own[:0]
    addresses = np.array([rows.ctypes.data for rows in neighbours], dtype=np.int64)
    _score_points(
        like, own.ctypes.data, addresses, places, order, classes, epsilon,
        scores.divergence, scores.entropy, scores.matches, scores.confidence, scores.predicted,
    )  # fmt: skip
    return scores


def pack_rows(probabilities: npt.NDArray[np.floating], order: npt.NDArray[np.int32]) -> npt.NDArray[np.floating]:
    """Rows (N, C) in the given order, flat, with the padding that the kernel may read."""
    packed: npt.NDArray[np.floating] = np.zeros(probabilities.size + LANES, probabilities.dtype)
    rows = packed[: probabilities.size].reshape(probabilities.shape)
    np.take(probabilities, order, axis=0, out=rows, mode="clip")
    return packed


@numba.njit(cache=True, nogil=True)
def _score_points(  # type: ignore[no-untyped-def]
    like, own_address, addresses, places, order, classes, epsilon,
    divergence_out, entropy_out, matches_out, confidence_out, predicted_out,
):  # fmt: skip
    neighbours, n = places.shape
    row_bytes = classes * like.itemsize
    rows = np.empty((_PREFETCH_AHEAD + 1, _MOST_NEIGHBOURS), np.int64)
    counts = np.zeros(_PREFETCH_AHEAD + 1, np.int64)
    result = np.empty(4, np.float64)
    for ahead in range(n + _PREFETCH_AHEAD):
        if ahead < n:
            slot = ahead % (_PREFETCH_AHEAD + 1)
            count = 0
            for j in range(neighbours):
                place = places[j, ahead]
                if place != UNMATCHED:
                    rows[slot, count] = addresses[j] + place * row_bytes
                    prefetch(rows[slot, count])
                    count += 1
            counts[slot] = count
        point = ahead - _PREFETCH_AHEAD
        if point >= 0:
            slot = point % (_PREFETCH_AHEAD + 1)
            score_point(like, own_address + point * row_bytes, rows[slot], counts[slot], classes, epsilon, result)
            target = order[point]
            divergence_out[target] = max(result[0], 0.0) / max(counts[slot], 1)
            entropy_out[target] = max(result[1], 0.0)
            matches_out[target] = counts[slot]
            confidence_out[target] = result[2]
            predicted_out[target] = np.uint8(result[3])
