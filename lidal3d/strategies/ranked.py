# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""One score column, the most uncertain first, nothing else: the classical baselines.

A unit's score is the mean over its points. LiDAL's released baselines of this kind rank by zeros, and its margin by the
largest: those defects are not repeated.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lidal3d.select.selection import Selection
from lidal3d.strategies.spend import Candidates, Float64, buy, candidates, why_by_score
from lidal3d.strategies.strategy import OURS, Ask, Strategy

Rule = Callable[[Ask], Selection]


def by_column(column: str, *, smallest_first: bool = False, apart: bool = False) -> Rule:
    """The rule "largest (or smallest) value of a score column first", with or without redundancy removal."""

    def rule(ask: Ask) -> Selection:
        some, score = scored_candidates(ask, column, smallest_first=smallest_first, apart=apart)
        return buy(ask, some, score, why_by_score(ask, column, score))

    return rule


def scored_candidates(
    ask: Ask, column: str, *, smallest_first: bool = False, apart: bool = False
) -> tuple[Candidates, Float64]:
    """The candidates whose score is known, and their scores (K,), negative where the smallest comes first."""
    values = ask.pool.table.score(column)
    some = candidates(ask, {column: values}, apart=apart)
    return some, np.negative(values[some.rows]) if smallest_first else values[some.rows]


def _ranked(name: str, paper: str, asks: str, column: str, *needs: str, smallest_first: bool = False) -> Strategy:
    rule = by_column(column, smallest_first=smallest_first)
    return Strategy(name, paper, asks, rule, frozenset(needs), (column,))


LEAST_CONFIDENCE = _ranked(
    "least_confidence", "Lewis and Gale, SIGIR 1994", "the least mean probability of the likeliest class",
    "least_confidence",
)  # fmt: skip
MARGIN = _ranked(
    "margin", "Scheffer et al., IDA 2001", "the smallest mean lead of the likeliest class over the second", "margin",
    smallest_first=True,
)  # fmt: skip
ENTROPY = _ranked("entropy", "Shannon, 1948", "the largest mean entropy of a point's prediction", "softmax_entropy")
ENTROPY_APART = Strategy(
    "entropy_apart", OURS + ", with LiDAL's redundancy removal", "as entropy, no two units near each other",
    by_column("softmax_entropy", apart=True), columns=("softmax_entropy",),
)  # fmt: skip
SEGMENT_ENTROPY = _ranked(
    "segment_entropy", "a baseline in the code of ReDAL and LiDAL",
    "the largest entropy of the histogram of predicted classes in a unit", "segment_entropy",
)  # fmt: skip
MC_ENTROPY = _ranked(
    "mc_entropy", "Gal et al., ICML 2017", "the largest entropy of the mean of the members", "consensus_entropy",
    "members",
)  # fmt: skip
BALD = _ranked(
    "bald", "Houlsby et al., 2011; Gal et al., ICML 2017", "the largest mutual information of class and member",
    "bald", "members",
)  # fmt: skip
VOTE_ENTROPY = _ranked(
    "vote_entropy", "Dagan and Engelson, ICML 1995", "the largest entropy of the members' votes", "vote_entropy",
    "members",
)  # fmt: skip
INTERFRAME_ENTROPY = _ranked(
    "interframe_entropy", OURS + ", an ablation of LiDAL", "the largest entropy of the mean over neighbouring frames",
    "entropy", "poses",
)  # fmt: skip
TRUE_LOSS = _ranked(
    "true_loss", OURS + ", an upper reference", "the largest loss, which only an oracle knows", "true_loss", "labels"
)
