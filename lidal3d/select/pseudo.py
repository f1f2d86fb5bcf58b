# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Pseudo-labels: units on which all views agree, so that the predicted label can be taken for the true one.

LiDAL's released code takes the smallest divergences that aren't exactly 0, keeps the *lower* entropy of two units too
close, knows no threshold and no class, and passes over what the round before pseudo-labelled (alternating schedule):
rule "paper". Rule "default" wants most of a unit seen in other frames, bounds divergence and entropy, and gives no
class more than a share of the budget. With either, a unit that a person labelled or is asked about now is never taken.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lidal3d.config import Config
from lidal3d.scores.table import ScoreTable
from lidal3d.select.active import (
    FrameFacts,
    budget_limit,
    costs_of_rows,
    key_frame_rows,
    picks_of,
    pool_of_rows,
    refuse_frames_in_paper,
)
from lidal3d.select.budget import parse_budget
from lidal3d.select.greedy import choose
from lidal3d.select.history import History, is_labelled, is_picked
from lidal3d.select.reason import pseudo_reason
from lidal3d.select.selection import Selection

STRATEGY = "lidal pseudo"
OFF = ("0", "0%")


def select_pseudo(
    table: ScoreTable,
    config: Config,
    frame_facts: FrameFacts,
    selection: Selection,
    history: History | None = None,
) -> Selection:
    """Choose units whose prediction becomes their label.

    Args:
        table: from `in_order`.
        frame_facts: (scene, frame index) -> (frame name, timestamp in ns).
        selection: what people are asked about now.
        history: earlier rounds.

    Returns:
        The selection, smallest divergence first; empty when `pseudo.budget` is 0. A pool smaller than the budget is no
        error: trusting less is safe.

    Raises:
        UsageError: a budget that makes no sense.
        DataError: a needed score column is missing.
    """
    if is_off(config):
        return nothing()
    budget = parse_budget(config.pseudo.budget)
    refuse_frames_in_paper(config.pseudo.rule, budget)
    rows = pseudo_rows(table, config, selection, history or History())
    costs = costs_of_rows(table, rows, budget, config.select)
    paper = config.pseudo.rule == "paper"
    limit = budget_limit(budget, costs, table, rows, rounded=paper, strict=False)
    group = predicted_groups(table, rows)
    share = np.full(int(group.max(initial=0)) + 1, max(1, int(config.pseudo.max_class_share * limit)), np.int64)
    divergence, entropy = table.score(config.pseudo.score)[rows], table.score("entropy")[rows]
    choice = choose(
        pool_of_rows(table, rows, costs, -divergence, -entropy, group),
        limit,
        config.select.distance_m(table.kind),
        rule=config.pseudo.rule,
        frame_fee=costs.frame_fee,
        group_limits=share,
    )
    classes = table.metadata.get("classes", ())
    picks = picks_of(
        choice, table, rows, costs, frame_facts, lambda _, scores: pseudo_reason(scores, config.pseudo.score, classes)
    )
    return Selection(picks, STRATEGY, budget.currency, limit / costs.steps, choice.used / costs.steps)


def is_off(config: Config) -> bool:
    """Whether pseudo-labels are turned off."""
    return config.pseudo.budget.replace(" ", "") in OFF


def nothing() -> Selection:
    """The selection where pseudo-labels are turned off."""
    return Selection((), STRATEGY, "points", 0.0, 0.0)


def pseudo_rows(table: ScoreTable, config: Config, selection: Selection, history: History) -> npt.NDArray[np.int64]:
    """Rows that may be pseudo-labelled."""
    rules = config.pseudo
    divergence = table.score(rules.score)
    trusted = (divergence <= rules.max_divergence) & (table.score("entropy") <= rules.max_entropy)
    trusted &= key_frame_rows(table) & (table.points >= config.select.min_points)
    if rules.rule == "paper":
        # The released code knows units without any match only by their divergence of exactly 0.
        trusted &= (divergence != 0) & ~is_picked(table, history.pseudo)
    else:
        coverage = table.score("coverage")
        trusted &= (coverage > 0) & (coverage >= rules.min_coverage)
    return np.flatnonzero(trusted & ~is_picked(table, selection.picks) & ~is_labelled(table, history))


def predicted_groups(table: ScoreTable, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
    """Each row's predicted class, 0 for all where the table doesn't say."""
    if "predicted_class" not in table.scores:
        return np.zeros(len(rows), np.int32)
    predicted = table.score("predicted_class")[rows]
    return np.where(np.isfinite(predicted), predicted, 0).astype(np.int32)
