# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""PT4AL: the loss of a pretext task sorts the pool by difficulty, and each round asks in its own part of it.

Yi et al., "PT4AL: Using Self-Supervised Pretext Tasks for Active Learning", ECCV 2022. The pool, hardest first, is cut
into as many strata as there are rounds. The first round has no model: it takes every k-th unit of the first stratum.
Round i takes the units of stratum i of whose class the model is least sure. What a round can't spend in its stratum goes
to the next ones, and after the last stratum comes the first one's rest (both ours; the paper's rounds end with its strata).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from lidal3d.select.active import costs_of_rows, key_frame_rows
from lidal3d.select.budget import parse_budget
from lidal3d.select.history import is_labelled
from lidal3d.select.reason import number
from lidal3d.select.selection import Selection
from lidal3d.select.strata import apart_in_time, by_difficulty, cut, evenly, normalised_confidence, pseudo_logits
from lidal3d.strategies.combine import range_of
from lidal3d.strategies.spend import Candidates, Float64, Int64, Why, buy_in_order, candidates
from lidal3d.strategies.strategy import Ask, Strategy

PAPER = "Yi et al., ECCV 2022"
LOSS = "pretext_loss"
PAPERS_ROUNDS = 10
WHOLE = frozenset({"frame", "image"})
Inside = Callable[[Int64], Int64]  # candidates of one stratum, by difficulty -> the same in the order of asking


def pt4al(ask: Ask) -> Selection:
    """The first round as `pt4al_start`; then the least confidence within the round's stratum."""
    return pt4al_start(ask) if ask.history.rounds == 0 else _later(ask)


def pt4al_start(ask: Ask) -> Selection:
    """Evenly spaced units of the stratum, by difficulty."""
    some = candidates(ask, {LOSS: ask.pool.table.score(LOSS)})
    spaced = np.zeros(len(some), bool)

    def inside(places: Int64) -> Int64:
        picks = affordable(some.costs.unit[places] + some.costs.frame_fee, some.limit)
        order = places[evenly(len(places), picks)]
        spaced[order[:picks]] = True
        return order

    def what(row: int) -> str:
        return "one of the evenly spaced ones" if spaced[row] else "for what these left of the budget, the next"

    return _by_strata(ask, some, inside, what)


def affordable(cost: Int64, limit: int) -> int:
    """How many evenly spaced items of a stratum, at least one, a budget buys; cost (n,) of each by difficulty."""
    picks = len(cost)
    while picks > 1:
        spent = int(cost[evenly(len(cost), picks)[:picks]].sum())
        if spent <= limit:
            break
        picks = max(1, min(picks - 1, picks * limit // spent))
    return picks


def _later(ask: Ask) -> Selection:
    probabilities = ask.pool.probability_rows
    some = candidates(ask, {LOSS: ask.pool.table.score(LOSS), "probabilities": probabilities})
    sure = confidence(probabilities[some.rows], ask.config.pt4al.rule)

    def inside(places: Int64) -> Int64:
        return places[np.argsort(sure[places], kind="stable")]

    return _by_strata(ask, some, inside, lambda row: f"the model is not sure of its class ({number(sure[row])})")


def confidence(probabilities: npt.NDArray[np.floating], rule: str) -> Float64:
    """(K,) how sure the model is of units of mean probabilities (K, C): the top-1, or the released code's."""
    if rule == "paper":
        return normalised_confidence(pseudo_logits(probabilities))
    return np.asarray(probabilities.max(axis=1), np.float64)


def _by_strata(ask: Ask, some: Candidates, inside: Inside, what: Callable[[int], str]) -> Selection:
    """Buy in the round's stratum, then in those that follow; within each what is too near in time comes last."""
    loss, strata = ask.pool.table.score(LOSS)[some.rows], number_of_strata(ask)
    turn = (strata_of_pool(ask)[some.rows] - ask.history.rounds) % strata
    difficulty = by_difficulty(loss, ask.config.pt4al.order)
    order = np.concatenate([inside(difficulty[turn[difficulty] == one]) for one in range(strata)])
    near = ~_apart(ask, some, order)
    order = order[np.lexsort((near, turn[order]))]
    return buy_in_order(ask, some, order, _why(ask, loss, turn, what))


def number_of_strata(ask: Ask) -> int:
    """I."""
    return ask.config.pt4al.strata or PAPERS_ROUNDS


def strata_of_pool(ask: Ask) -> Int64:
    """(R,) the stratum of each unit of the pool that could ever be asked, −1 of the others: the same in every round."""
    table, settings = ask.pool.table, ask.config.pt4al
    loss = table.score(LOSS)
    able = key_frame_rows(table) & np.isfinite(loss) & (table.points >= ask.config.select.min_points)
    rows = np.flatnonzero(able)
    cost = costs_of_rows(table, rows, parse_budget(ask.config.select.budget), ask.config.select).unit
    group = range_of(ask, rows) if settings.range_strata else np.zeros(len(rows), np.int64)
    order = by_difficulty(loss[rows], settings.order)
    result = np.full(len(table), -1, np.int64)
    for one in np.unique(group).tolist():
        part = order[group[order] == one]
        result[rows[part]] = cut(cost[part], number_of_strata(ask))
    return result


def _apart(ask: Ask, some: Candidates, order: Int64) -> npt.NDArray[np.bool_]:
    """(J,) whether a whole frame or image is far enough in time from those before it; regions always are."""
    table, gap_ns = ask.pool.table, round(1e9 * ask.config.pt4al.min_gap_s)
    if table.kind not in WHOLE or not gap_ns:
        return np.ones(len(order), bool)
    names = [(table.scenes[scene], int(frame)) for scene, frame in zip(table.scene, table.frame, strict=True)]
    time_ns = np.array([ask.frame_facts(*name)[1] for name in names], np.int64)
    return apart_in_time(some.rows[order], table.scene, time_ns, gap_ns, is_labelled(table, ask.history))


def _why(ask: Ask, loss: Float64, turn: Int64, what: Callable[[int], str]) -> Why:
    strata, rounds = number_of_strata(ask), ask.history.rounds
    alike = "; all losses are equal, so that strata follow the drive" if loss.min() == loss.max() else ""

    def why(row: int, scores: dict[str, float]) -> str:
        place = (int(turn[row]) + rounds) % strata + 1
        spilt = "; the round's own stratum was too small" if turn[row] else ""
        return f"{what(row)} in stratum {place} of {strata} by pretext loss ({number(loss[row])}){spilt}{alike}"

    return why


PT4AL = Strategy(
    "pt4al", PAPER, "round by round what the model is least sure of in the next stratum of difficulty by a pretext task",
    pt4al, frozenset({"pretext", "probabilities"}), (LOSS,),
)  # fmt: skip
PT4AL_START = Strategy(
    "pt4al_start", PAPER + ", its first round", "without a model: evenly spaced units of a stratum of difficulty",
    pt4al_start, frozenset({"pretext"}), (LOSS,),
)  # fmt: skip
