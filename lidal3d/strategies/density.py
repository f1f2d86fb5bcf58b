# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Information density: what is uncertain and common, not an outlier.

Settles and Craven, "An Analysis of Active Learning Strategies for Sequence Labeling Tasks", EMNLP 2008:
A(u) · density(u)^β with the entropy as A. Sweeps less than 5 s apart don't count as each other's density (ours).
"""

from __future__ import annotations

import numpy as np

from lidal3d.scores.density import density, near_in_time
from lidal3d.select.active import frame_numbers
from lidal3d.select.selection import Selection
from lidal3d.strategies.spend import Float64, buy, candidates, why_by_score
from lidal3d.strategies.strategy import Ask, Strategy

BETA = 1.0
APART_NS = 5_000_000_000
BASE = "softmax_entropy"


def information_density(ask: Ask) -> Selection:
    """Largest entropy times density first."""
    table, features = ask.pool.table, ask.pool.feature_rows
    some = candidates(ask, {BASE: table.score(BASE), "features": features})
    common = pool_density(ask)
    score = table.score(BASE)[some.rows] * common[some.rows] ** BETA
    column = np.full(len(table), np.nan)
    column[some.rows] = score
    table = table.with_scores(density=common, information_density=column)
    return buy(ask, some, score, why_by_score(ask, "information_density", score), table)


def pool_density(ask: Ask) -> Float64:
    """(R,) the density of every unit with known features in the whole pool, labelled or not; NaN for the others."""
    table, features = ask.pool.table, ask.pool.feature_rows
    result = np.full(len(table), np.nan)
    known = np.flatnonzero(np.isfinite(features).all(axis=1))
    frame = frame_numbers(table, known)
    first_row = known[np.unique(frame, return_index=True)[1]]
    scene = table.scene[first_row]
    facts = [ask.frame_facts(table.scenes[s], int(f))[1] for s, f in zip(scene, table.frame[first_row], strict=True)]
    first, last = near_in_time(scene, np.array(facts, np.int64), APART_NS)
    result[known] = density(features[known], frame, first, last)
    return result


DENSITY = Strategy(
    "density", "Settles and Craven, EMNLP 2008", "the largest entropy times the mean likeness to the rest of the pool",
    information_density, frozenset({"features"}), (BASE,),
)  # fmt: skip
