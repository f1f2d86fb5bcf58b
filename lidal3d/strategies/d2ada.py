# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""D2ADA: first what the target is full of and the source lacks, later what the model is unsure of.

Wu et al., "D2ADA: Dynamic Density-aware Active Domain Adaptation for Semantic Segmentation", ECCV 2022. In round n the
share λ_n = α · 2^(−β(n−1)) of the budget goes to the largest log d_T − log d_S (`lidal3d.scores.density_ratio`), every
class a part of it that grows with its divergence; the rest goes to the largest entropy. The released code counts rounds
from 0, so that its first round spends twice its budget, exceeds every budget by a unit, and hangs on small divergences.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lidal3d.select.reason import number, percent
from lidal3d.select.selection import Selection
from lidal3d.strategies.combine import COUNTED
from lidal3d.strategies.compared import Compared, affordable_of, place_in_class
from lidal3d.strategies.spend import (
    Candidates,
    Float64,
    Int64,
    Why,
    buy_frames,
    buy_in_order,
    candidates,
    far_apart,
    frame_costs,
    why_by_score,
)
from lidal3d.strategies.strategy import Ask, Strategy
from lidal3d.units.boxes import KIND

PAPER = "Wu et al., ECCV 2022"
ENTROPY = "softmax_entropy"
REGIONS_OF_FRAME = 5  # of each class


def density_share(number_of_round: int, alpha: float, beta: float) -> float:
    """λ_n, in [0, 1], of round n = 1, 2, …"""
    return min(1.0, max(0.0, alpha * 2.0 ** (-beta * (number_of_round - 1))))


def d2ada(ask: Ask) -> Selection:
    """λ_n of the budget by density, the rest by entropy."""
    settings = ask.config.d2ada
    return _in_two_parts(ask, density_share(ask.history.rounds + 1, settings.alpha, settings.beta))


def d2ada_density(ask: Ask) -> Selection:
    """All of the budget by density."""
    return _in_two_parts(ask, 1.0)


def d2ada_apart(ask: Ask) -> Selection:
    """As d2ada, no two within `select.min_distance_m`: a sweep is seen again in the next, a superpixel of the paper isn't."""
    settings = ask.config.d2ada
    return _in_two_parts(ask, density_share(ask.history.rounds + 1, settings.alpha, settings.beta), apart=True)


def _in_two_parts(ask: Ask, share: float, *, apart: bool = False) -> Selection:
    some = _candidates(ask, apart)
    found = Compared.of(ask, some)
    money = int(share * some.limit)
    rule = found.released_order if ask.config.d2ada.rule == "paper" else found.order
    first = rule(some, money, far_apart(ask, some, found.ratio))
    entropy = ask.pool.table.score(ENTROPY)[some.rows]
    rest = np.argsort(-entropy, kind="stable")
    rest = rest[~np.isin(rest, first)]
    why = _why(ask, found, some, entropy, set(first.tolist()))
    return buy_in_order(ask, some, np.concatenate([first, rest]), why, found.table)


def _candidates(ask: Ask, apart: bool = False) -> Candidates:
    pool = ask.pool
    entropy = pool.table.score(ENTROPY)
    known: dict[str, npt.NDArray] = {
        ENTROPY: entropy,
        "features": pool.feature_rows,
        "probabilities": pool.probability_rows,
    }
    return candidates(ask, known, apart=apart)


def _why(ask: Ask, found: Compared, some: Candidates, entropy: Float64, first: set[int]) -> Why:
    uncertain = why_by_score(ask, ENTROPY, entropy)
    source = "the source" if ask.source is not None else "what is labelled"
    classes = [*ask.pool.table.metadata.get("classes", ())]
    if ask.pool.table.kind == KIND:
        classes.append("background")  # the last class of boxes, see `lidal3d score --boxes`
    parts = found.weight / found.weight.sum()

    def why(row: int, scores: dict[str, float]) -> str:
        if row not in first:
            return f"the model is unsure: {uncertain(row, scores)}"
        category = int(found.category[row])
        name = f"'{classes[category]}'" if category < len(classes) else f"class {category}"
        pooled = "; too few of this class, compared with all" if found.found.pooled[category] else ""
        return (
            f"commoner here than in {source} (log density ratio {number(found.ratio[row])}); {name} differs by "
            f"{number(found.found.kl[category])} nats and has {percent(parts[category])} of the density budget{pooled}"
        )

    return why


def d2ada_frames(ask: Ask) -> Selection:
    """As d2ada in whole frames: by the positive ratios of a frame's best regions of each class, then by mean entropy."""
    settings, some = ask.config.d2ada, _candidates(ask)
    found, frames = Compared.of(ask, some), int(some.frame.max()) + 1
    novelty = _of_frames(found, some.frame.astype(np.int64), frames)
    entropy = np.bincount(some.frame, weights=ask.pool.table.score(ENTROPY)[some.rows]) / np.bincount(some.frame)
    money = int(density_share(ask.history.rounds + 1, settings.alpha, settings.beta) * some.limit)
    first = affordable_of(np.argsort(-novelty, kind="stable"), frame_costs(some), money)
    rest = np.argsort(-entropy, kind="stable")
    by_density = set(first.tolist())

    def why(row: int, scores: dict[str, float]) -> str:
        frame = int(some.frame[row])
        if frame in by_density:
            return (
                f"its frame has regions that are commoner here than elsewhere (sum of ratios {number(novelty[frame])})"
            )
        return f"the model is unsure of its frame (mean entropy {number(entropy[frame])})"

    return buy_frames(ask, some, np.concatenate([first, rest[~np.isin(rest, first)]]), why)


def _of_frames(found: Compared, frame: Int64, frames: int) -> Float64:
    """(F,) Σ_c w_c Σ over the frame's REGIONS_OF_FRAME best regions of class c of max(ratio, 0)."""
    classes = len(found.weight)
    place = place_in_class(-found.ratio, frame * classes + found.category)
    gain = np.where(place < REGIONS_OF_FRAME, np.maximum(found.ratio, 0), 0) * found.weight[found.category]
    return np.asarray(np.bincount(frame, weights=gain, minlength=frames), np.float64)


_NEEDS = frozenset({"features", "probabilities", "source"})
D2ADA = Strategy(
    "d2ada", PAPER, "what is common here and rare in what is labelled, by class; from round to round more by entropy",
    d2ada, _NEEDS, (ENTROPY,), currencies=COUNTED,
)  # fmt: skip
D2ADA_DENSITY = Strategy(
    "d2ada_density", "this package, an ablation of D2ADA", "as d2ada by density alone in every round",
    d2ada_density, _NEEDS, (ENTROPY,), currencies=COUNTED,
)  # fmt: skip
D2ADA_APART = Strategy(
    "d2ada_apart", "this package, after D2ADA", "as d2ada, no two units near each other", d2ada_apart, _NEEDS, (ENTROPY,),
    currencies=COUNTED,
)  # fmt: skip
D2ADA_FRAMES = Strategy(
    "d2ada_frames", "this package, after D2ADA", "whole frames, by their best regions of each class as d2ada sees them",
    d2ada_frames, _NEEDS, (ENTROPY,),
)  # fmt: skip
