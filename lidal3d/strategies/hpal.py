# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""HPAL: unsure at all scales, and not beside its like.

"Hierarchical Point-based Active Learning for Semi-supervised Point Cloud Semantic Segmentation", ICCV 2023. The smallest
hierarchical margin comes first; a candidate is passed over where something chosen in the same sweep is both near and
alike in feature (cosine above 0.8). HPAL buys points and takes 0.2 m for near; for units it is their least distance in
`select.min_distance_m`. What is passed over comes last, so that the budget is spent.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lidal3d.scores.density import unit_vectors
from lidal3d.select.account import Account
from lidal3d.select.selection import Selection
from lidal3d.strategies.spend import Float64, Int64, buy_in_order, candidates, why_by_score
from lidal3d.strategies.strategy import Ask, Strategy

SCORE = "hierarchical_margin"
ALIKE = 0.8


def hpal(ask: Ask) -> Selection:
    """Smallest margin first, without near and like ones."""
    table, features = ask.pool.table, ask.pool.feature_rows
    some = candidates(ask, {SCORE: table.score(SCORE), "features": features})
    score = -table.score(SCORE)[some.rows]
    order = np.argsort(-score, kind="stable")
    center_m, directions = table.center_m[some.rows], unit_vectors(features[some.rows])
    kept = unlike(order, some.frame, center_m, directions, ask.config.select.distance_m(table.kind), some.account())
    order = np.concatenate([order[kept], order[~kept]])
    return buy_in_order(ask, some, order, why_by_score(ask, SCORE, score))


def unlike(
    order: Int64,
    frame: npt.NDArray[np.integer],
    center_m: Float64,
    directions: Float64,
    distance_m: float,
    account: Account,
) -> npt.NDArray[np.bool_]:
    """(J,) which of the candidates, in their order, have nothing kept before them in their frame both near and alike.

    Args:
        order: (J,) candidates.
        frame: (K,) of each candidate.
        center_m: (K, 3).
        directions: (K, D) features of length 1.
        distance_m: nearer is near.
        account: candidates beyond the budget are neither kept nor compared with.
    """
    kept = np.zeros(len(order), bool)
    in_frame: dict[int, list[int]] = {}
    for place, row in enumerate(order.tolist()):
        if not account.fits_row(row):
            continue
        others = in_frame.setdefault(int(frame[row]), [])
        near = np.linalg.norm(center_m[others] - center_m[row], axis=1) < distance_m
        if not (near & (directions[others] @ directions[row] > ALIKE)).any():
            account.take(row)
            others.append(row)
            kept[place] = True
    return kept


HPAL = Strategy(
    "hpal", "HPAL, ICCV 2023", "the smallest margin over four scales, passing over near and like units",
    hpal, frozenset({"features"}), (SCORE,),
)  # fmt: skip
