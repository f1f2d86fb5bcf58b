# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Strata of difficulty: a pool sorted by a loss and cut into parts, one for each round.

PT4AL (Yi et al., ECCV 2022) sorts by the loss of a pretext task, hardest first, and cuts by number. The released code
sorts the losses as text: what prints as 9.99e-05 stands above 4.4, so that its first part is mostly the easiest.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
Order = Literal["desc", "asc", "repo_lexicographic"]


def by_difficulty(loss: Float64, order: Order) -> Int64:
    """(K,) places in the order that strata are cut in; of equal losses the first comes first.

    Args:
        loss: (K,) finite.
        order: desc: the largest loss first; asc: the smallest; repo_lexicographic: the last as text first, as the
            released code does.
    """
    if order == "repo_lexicographic":
        text = [repr(float(value)) for value in loss]
        return np.array(sorted(range(len(text)), key=text.__getitem__, reverse=True), np.int64)
    return np.argsort(-loss if order == "desc" else loss, kind="stable").astype(np.int64)


def cut(cost: Int64, strata: int) -> Int64:
    """(K,) the stratum of each item of a sorted pool: I parts of equal cost, in order.

    An item belongs where the middle of its cost lies. Items of equal cost, also of none, give strata whose sizes differ
    by one at most; an item that costs more than a stratum leaves one empty.

    Args:
        cost: (K,) at least 0, in the order of the pool.
        strata: I.
    """
    weight = cost if cost.any() else np.ones_like(cost)
    twice_the_middle = 2 * weight.cumsum() - weight
    return np.minimum(twice_the_middle * strata // max(2 * int(weight.sum()), 1), strata - 1)


def evenly(count: int, picks: int) -> Int64:
    """(count,) all places below `count`: first `picks` of them equally far apart, from the first; then the rest.

    PT4AL's first cycle: every (count / picks)-th item, which needs no model.
    """
    picks = max(1, min(picks, count))
    first = np.arange(picks, dtype=np.int64) * count // picks
    return np.concatenate([first, np.setdiff1d(np.arange(count, dtype=np.int64), first)]) if count else first[:0]


def normalised_confidence(logits: npt.NDArray[np.floating]) -> Float64:
    """(K,) max_c softmax(z / ‖z‖)_c of logits (K, C), as PT4AL's released code has it.

    Logits of length one lose how sure the model is, but not of what: the ranking differs from plain softmax's.
    """
    wide = np.asarray(logits, np.float64)
    short = wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-12)
    return np.asarray(1 / np.exp(short - short.max(axis=1, keepdims=True)).sum(axis=1), np.float64)


def pseudo_logits(probabilities: npt.NDArray[np.floating]) -> Float64:
    """(K, C) log p less its mean over classes: logits but for what softmax forgets, taken to be of mean 0.

    For units, whose probabilities are means over points, no logits exist; these stand in for them.
    """
    logs = np.log(np.maximum(np.asarray(probabilities, np.float64), 1e-7))
    return np.asarray(logs - logs.mean(axis=1, keepdims=True), np.float64)


def apart_in_time(
    order: Int64, scene: npt.NDArray[np.integer], time_ns: Int64, gap_ns: int, labelled: npt.NDArray[np.bool_]
) -> npt.NDArray[np.bool_]:
    """(J,) whether an item of an order is at least a gap from all kept before it, and from what is labelled.

    Times of one sweep or picture don't count: its regions may all be taken.

    Args:
        order: (J,) items.
        scene, time_ns: (K,) of each item.
        gap_ns: the least time between two in one scene.
        labelled: (K,) items that are labelled already, in the order or not.
    """
    kept = np.zeros(len(order), bool)
    near: dict[tuple[int, int], set[int]] = {}
    width = max(gap_ns, 1)

    def put(item: int) -> None:
        near.setdefault((int(scene[item]), int(time_ns[item]) // width), set()).add(int(time_ns[item]))

    for item in np.flatnonzero(labelled).tolist():
        put(item)
    for place, item in enumerate(order.tolist()):
        here, now = int(scene[item]), int(time_ns[item])
        around = (near.get((here, now // width + step), set()) for step in (-1, 0, 1))
        if all(other == now or abs(other - now) >= gap_ns for times in around for other in times):
            kept[place] = True
            put(item)
    return kept
