# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""CDAL: frames in which the same class is confused with other things than in the frames before.

Agarwal et al., "Contextual Diversity for Active Learning", ECCV 2020, the core-set variant. A frame's confusion of class
c is the mean prediction of its units predicted as c, weighted by their entropy,

    P_i^c = Σ_{r: ŷ_r = c} w_r p_r,   w_r ∝ H(p_r)

and two frames are as far apart as the classes they share are confused differently,

    d(i, j) = Σ_{c ∈ C_i ∩ C_j} ½ KL(P_i^c ‖ P_j^c) + ½ KL(P_j^c ‖ P_i^c).

k-center on d chooses frames. The released code draws its first frame by chance, whatever is labelled; here labelled
frames count. `cdal_units` is this package's: each unit is its own context, so single units can be bought.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lidal3d.scores.entropy import entropy
from lidal3d.select.active import frame_numbers
from lidal3d.select.distances import EPSILON, Distances, divergence, nearest_divergence
from lidal3d.select.history import is_labelled
from lidal3d.select.kcenter import farthest_first
from lidal3d.select.selection import Selection
from lidal3d.strategies.spend import buy_frames, buy_in_order, candidates, frame_account, labelled_rows
from lidal3d.strategies.strategy import OURS, Ask, Strategy

PAPER = "Agarwal et al., ECCV 2020"
FAR = 1e300  # nothing is labelled or chosen yet


def cdal(ask: Ask) -> Selection:
    """k-center on the contextual diversity of frames, bought whole."""
    probabilities = ask.pool.probability_rows
    some = candidates(ask, {"probabilities": probabilities}, min_points=1)
    finite = np.flatnonzero(np.isfinite(probabilities).all(axis=1))
    frame = frame_numbers(ask.pool.table, np.arange(len(ask.pool)))
    mean, present = confusion(probabilities[finite], frame[finite], int(frame.max()) + 1)
    bought = frame[some.rows[np.unique(some.frame, return_index=True)[1]]]  # candidate frame -> frame of the pool
    labelled = np.unique(frame[is_labelled(ask.pool.table, ask.history)])
    pairs = contextual_diversity(mean, present)
    nearest = np.full(len(bought), FAR)
    nearest[int(ask.rng.integers(len(bought)))] = 2 * FAR  # the first, where nothing is labelled
    for other in labelled.tolist():
        nearest = np.minimum(nearest, pairs(other)[bought])
    order, _ = farthest_first(lambda row: pairs(int(bought[row]))[bought], nearest, frame_account(some))
    sentence = "its frame shows classes in other confusions than all frames before it"
    return buy_frames(ask, some, order, lambda row, scores: sentence)


def cdal_units(ask: Ask) -> Selection:
    """k-center on the symmetric KL of the units' mean probabilities."""
    every = ask.pool.probability_rows
    some = candidates(ask, {"probabilities": every})
    nearest = np.minimum(nearest_divergence(every[some.rows], every[labelled_rows(ask, every)]), FAR)
    start = int(ask.rng.integers(len(some)))
    nearest[start] *= 1 + (nearest[start] == FAR)  # the first, where nothing is labelled
    order, reached = farthest_first(divergence(every[some.rows]), nearest, some.account())
    return buy_in_order(
        ask, some, order,
        lambda row, scores: "predicted like nothing labelled or chosen before it"
        + (f" (divergence {reached[row]:.3g})" if reached[row] < FAR else ""),
    )  # fmt: skip


def confusion(
    probabilities: npt.NDArray[np.floating], frame: npt.NDArray[np.integer], frames: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """P (F, C, C), row c of a frame being P^c, and (F, C) whether the frame has a unit predicted as c.

    Where all units of a class are certain, they weigh alike.
    """
    classes = probabilities.shape[1]
    place = frame.astype(np.int64) * classes + probabilities.argmax(axis=1)
    weight = entropy(probabilities) + EPSILON**2
    sums = np.zeros((frames * classes, classes))
    np.add.at(sums, place, weight[:, None] * probabilities)
    total = np.bincount(place, weights=weight, minlength=frames * classes)
    mean = sums / np.where(total > 0, total, 1)[:, None]
    return mean.reshape(frames, classes, classes), (total > 0).reshape(frames, classes)


def contextual_diversity(mean: npt.NDArray[np.float64], present: npt.NDArray[np.bool_]) -> Distances:
    """d of one frame to all frames (F,), over the classes that both have."""
    p = mean + EPSILON
    log_p = np.log(p)

    def distances(frame: int) -> npt.NDArray[np.float64]:
        # Only the rows of the frame's own classes: most frames have few.
        own = np.flatnonzero(present[frame])
        each = 0.5 * ((p[:, own] - p[frame, own]) * (log_p[:, own] - log_p[frame, own])).sum(axis=2)
        return (each * present[:, own]).sum(axis=1)

    return distances


CDAL = Strategy("cdal", PAPER, "frames that confuse their classes with other things than the frames before",
                cdal, frozenset({"probabilities"}))  # fmt: skip
CDAL_UNITS = Strategy(
    "cdal_units", OURS + ", after CDAL", "units predicted unlike all labelled or chosen ones",
    cdal_units, frozenset({"probabilities"}),
)  # fmt: skip
