# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""LiDAL: where neighbouring frames contradict each other, a person is asked; where they agree, the prediction is taken.

Hu et al., "LiDAL: Inter-frame Uncertainty Based Active Learning for 3D LiDAR Semantic Segmentation", ECCV 2022.
The rules stand in `lidal3d.select`: `active` (section 3.3) and `pseudo`; with preset "paper" they are the released code.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lidal3d.select.active import select_units
from lidal3d.select.pseudo import select_pseudo
from lidal3d.select.selection import Selection
from lidal3d.strategies.strategy import OURS, Ask, Strategy

PAPER = "Hu et al., ECCV 2022"
COLUMNS = ("divergence", "divergence_paper", "entropy", "entropy_unmatched", "coverage")


def pseudo(ask: Ask, selection: Selection) -> Selection:
    """Smallest `pseudo.score` first, within `pseudo.budget`."""
    return select_pseudo(ask.pool.table, ask.config, ask.frame_facts, selection, ask.history)


def _lidal(
    name: str, asks: str, changes: Mapping[str, Any] | None = None, *, paper: str = PAPER, trusts: bool = False
) -> Strategy:
    # Largest `select.score` first; of two units too close the one with more inter-frame entropy stays.
    def rule(ask: Ask) -> Selection:
        settings = ask.config.select.model_copy(update=dict(changes or {}))
        return select_units(ask.pool.table, settings, ask.frame_facts, ask.history)

    return Strategy(name, paper, asks, rule, frozenset({"poses"}), COLUMNS, pseudo=pseudo if trusts else None)


ABLATION = OURS + ", an ablation of LiDAL"
LIDAL = _lidal(
    "lidal", "units on which neighbouring frames contradict each other, no two near each other; and pseudo-labels",
    trusts=True,
)  # fmt: skip
LIDAL_HUMAN = _lidal("lidal_human", "as lidal, without pseudo-labels")
LIDAL_DIVERGENCE = _lidal(
    "lidal_divergence", "as lidal_human by divergence alone: what no neighbour sees is never asked",
    {"score": "divergence"}, paper=ABLATION,
)  # fmt: skip
LIDAL_ENTROPY = _lidal(
    "lidal_entropy", "as lidal_human by the entropy of the mean over frames", {"score": "entropy"}, paper=ABLATION
)
LIDAL_REDUNDANT = _lidal(
    "lidal_redundant", "as lidal_human without redundancy removal", {"min_distance_m": 0.0}, paper=ABLATION
)
