# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""GEAL, later FreeSel: what people label is to show all that a frozen, general encoder tells apart. No model, no labels.

Xie et al., "Towards Free Data Selection with General-Purpose Models", NeurIPS 2023. Of each image the most attended
patches are clustered; the centres are its patterns. Then units are drawn one after the other: a pattern with chance
D² / Σ D², D being its cosine distance to the nearest pattern of all units before it, and with it its unit.

The released code draws the first unit by chance whatever is labelled; here labelled units' patterns are covered from the
start. On regions the law runs after strange frames, so that no frame may give more than its part (both ours).
"""

from __future__ import annotations

import numpy as np

from lidal3d.select.account import Account
from lidal3d.select.kcenter import farthest_units
from lidal3d.select.patterns import PatternCover, drawn_units, pattern_set
from lidal3d.select.reason import number
from lidal3d.select.selection import Selection
from lidal3d.strategies.spend import Candidates, Int64, buy_in_order, candidates, labelled_rows
from lidal3d.strategies.strategy import Ask, Strategy

PAPER = "Xie et al., NeurIPS 2023"
WHOLE = frozenset({"frame", "image"})


def geal(ask: Ask) -> Selection:
    """Units drawn by the distance of their patterns to all before them, or always the farthest."""
    patterns = ask.pool.pattern_rows
    shown = np.where((np.isfinite(patterns).all(axis=2) & (patterns != 0).any(axis=2)).any(axis=1), 0.0, np.nan)
    some = candidates(ask, {"patterns": shown})
    cover = PatternCover([pattern_set(patterns[some.rows])])
    cover.cover([pattern_set(patterns[labelled_rows(ask, shown[:, None])]).vectors])
    labelled = cover.chosen > 0
    account = Account(some.costs.unit, some.frame, some.costs.frame_fee, some.limit, most_a_frame(ask, some))
    first = sample(ask, cover, account)
    account.lift_cap()
    order = np.concatenate([first, sample(ask, cover, account)])
    distance = dict(zip(order.tolist(), cover.reached, strict=True))

    def why(row: int, scores: dict[str, float]) -> str:
        if not labelled and row == order[0]:
            return "the first, drawn from all: nothing is labelled yet"
        return f"shows what nothing labelled or chosen before it does (cosine distance {number(distance[row])})"

    return buy_in_order(ask, some, order, why)


def sample(ask: Ask, cover: PatternCover, account: Account) -> Int64:
    """Units in order, until nothing fits any more."""
    if ask.config.geal.sampling == "prob":
        return drawn_units(cover, account, ask.rng)
    fits = np.flatnonzero(account.fits())
    first = int(ask.rng.choice(fits)) if len(fits) else 0
    return farthest_units(cover, account, first)[0]


def most_a_frame(ask: Ask, some: Candidates) -> int | None:
    """How many regions of one frame are bought before all others' are; None for whole frames and images."""
    share = ask.config.geal.frame_share
    if ask.pool.table.kind in WHOLE or not share:
        return None
    affordable = some.limit / (some.costs.unit.mean() + some.costs.frame_fee)
    return max(1, int(np.ceil(share * affordable / (some.frame.max() + 1))))


GEAL = Strategy(
    "geal", PAPER + ", FreeSel", "units that show patterns of an encoder's features unlike all labelled or chosen ones",
    geal, frozenset({"patterns"}),
)  # fmt: skip
FREESEL = Strategy(
    "freesel", PAPER, "as geal with the paper's settings: pictures squashed, five patterns, no cap",
    geal, frozenset({"patterns"}),
    settings={"geal": {
        "patterns": 5, "kept": 0.5, "clusters": "euclidean", "cut": "squash", "sampling": "prob", "frame_share": 0,
    }},
)  # fmt: skip
GEAL_V1 = Strategy(
    "geal_v1", PAPER + ", first version of the code", "as freesel with 25 patterns, and always the farthest",
    geal, frozenset({"patterns"}),
    settings={"geal": {
        "patterns": 25, "kept": 0.5, "clusters": "cosine", "cut": "squash", "sampling": "FDS", "frame_share": 0,
    }},
)  # fmt: skip
