# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""The ranking loss of Learning Loss (Yoo and Kweon, CVPR 2019) and the pairs that it compares.

    ℓ(i, j) = max(0, −s (l̂_i − l̂_j) + ξ),   s = sign(l_i − l_j),   l without gradient

The loss l of the target network shrinks while it trains, so its value cannot be regressed: only its order is learnt.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


def pair_losses(predicted: Tensor, losses: Tensor, pairs: Tensor, margin: float, released_ties: bool = False) -> Tensor:
    """ℓ of each pair (P,).

    Args:
        predicted: l̂ (U,), known up to a constant.
        losses: l (U,); no gradient goes through them.
        pairs: (P, 2) int64 rows i, j.
        margin: ξ.
        released_ties: let s be −1 where l_i = l_j, as the released reproduction does; else such a pair costs nothing.
    """
    first, second = pairs[:, 0], pairs[:, 1]
    difference = losses.detach()[first] - losses.detach()[second]
    sign = torch.where(difference > 0, 1.0, -1.0) if released_ties else torch.sign(difference)
    hinge = torch.relu(margin - sign * (predicted[first] - predicted[second]))
    return hinge if released_ties else hinge * (sign != 0)


def disjoint_pairs(order: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """(⌊B/2⌋, 2): of B units in an order, the k-th with the (B−1−k)-th; the middle one of an odd number stays alone.

    >>> disjoint_pairs(np.array([4, 2, 7, 9, 1])).tolist()
    [[4, 1], [2, 9]]
    """
    half = len(order) // 2
    return np.stack([order[:half], order[::-1][:half]], axis=1)


def pairs_across(frame: npt.NDArray[np.int64], rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Disjoint pairs of units at random, of different frames as long as no frame has more units than all others.

    Units of one frame share its road, its weather and its batch statistics: comparing them teaches little of other
    frames. Where one frame has more than half of the units, what is left of it is paired within the frame.

    Args:
        frame: (U,) which frame each unit lies in.
        rng: draws.

    Returns:
        (⌊U/2⌋, 2) int64.
    """
    drawn = rng.permutation(len(frame))
    shuffled_frame = rng.permutation(int(frame.max()) + 1)[frame] if len(frame) else frame
    # An odd one out is left out of the largest frame: no frame loses its partners to it.
    if len(drawn) % 2:
        largest = np.bincount(shuffled_frame).argmax()
        drawn = np.delete(drawn, np.flatnonzero(shuffled_frame[drawn] == largest)[0])
    by_frame = drawn[np.argsort(shuffled_frame[drawn], kind="stable")]
    half = len(by_frame) // 2
    # In runs of frames, the k-th and the (k + half)-th are of one frame only where its run is longer than half.
    return disjoint_pairs(np.concatenate([by_frame[:half], by_frame[half:][::-1]]))
