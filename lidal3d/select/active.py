# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""From scored units to a queue for people: candidates, ranking score, budget, greedy choice, reasons."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from lidal3d.errors import DataError, UsageError
from lidal3d.scores.table import ScoreTable, concatenate
from lidal3d.select.budget import Budget, Costs, absolute_limit, parse_budget, percent_limit, unit_costs
from lidal3d.select.columns import near_any
from lidal3d.select.greedy import Choice, Pool, choose
from lidal3d.select.history import History, is_labelled, is_picked
from lidal3d.select.lidal_score import lidal_score
from lidal3d.select.reason import reason
from lidal3d.select.selection import Pick, Selection, UnitKey
from lidal3d.settings.select import SelectConfig

FrameFacts = Callable[[str, int], tuple[str, int]]
STRATEGY = "lidal"


class NothingToChoose(DataError):
    """No unit of the pool can be chosen."""


def in_order(table: ScoreTable) -> ScoreTable:
    """The table in the order of (scene, frame, unit), with the column `lidal` where its parts are there.

    Nothing after this depends on the order in which rows or scenes came.
    """
    ordered = concatenate([table])
    parts = ("coverage", "divergence", "entropy_unmatched", "entropy")
    if "lidal" in ordered.scores or any(name not in ordered.scores for name in parts):
        return ordered
    return ordered.with_scores(lidal=lidal_score(*(ordered.score(name) for name in parts)))


def select_units(
    table: ScoreTable, config: SelectConfig, frame_facts: FrameFacts, history: History | None = None
) -> Selection:
    """Choose what a person should label.

    Args:
        table: from `in_order`.
        frame_facts: (scene, frame index) -> (frame name, timestamp in ns).
        history: earlier rounds: what people labelled is never chosen again and, with `earlier_rounds`, nothing near it
            is. With rule "paper", what the last round pseudo-labelled isn't chosen either (alternating schedule).

    Raises:
        DataError: no unit can be chosen, or a needed score column is missing.
        UsageError: a budget that makes no sense or that the pool can't take.
    """
    history = history or History()
    rows = candidate_rows(table, config, history)
    budget = parse_budget(config.budget)
    costs = costs_of_rows(table, rows, budget, config)
    limit = budget_limit(budget, costs, table, rows, rounded=config.rule == "paper")
    pool = pool_of_rows(table, rows, costs, table.score(config.score)[rows], table.score("entropy")[rows])
    refuse_frames_in_paper(config.rule, budget)
    choice = choose(pool, limit, config.distance_m(table.kind), rule=config.rule, frame_fee=costs.frame_fee)
    better = np.searchsorted(np.sort(-pool.score), -pool.score[choice.rows], side="right")
    share = dict(zip(choice.rows.tolist(), (better / len(rows)).tolist(), strict=True))

    def why(row: int, scores: dict[str, float]) -> str:
        return reason(scores, config.score, share[row], table.metadata.get("classes", ()), table.kind)

    picks = picks_of(choice, table, rows, costs, frame_facts, why)
    return Selection(picks, STRATEGY, budget.currency, limit / costs.steps, choice.used / costs.steps)


def key_frame_rows(table: ScoreTable) -> npt.NDArray[np.bool_]:
    """(R,) whether a unit lies in a key frame; all do where the table doesn't say."""
    return table.scores["is_key_frame"] > 0 if "is_key_frame" in table.scores else np.ones(len(table), bool)


def candidate_rows(table: ScoreTable, config: SelectConfig, history: History) -> npt.NDArray[np.int64]:
    """Rows that can be chosen. Raises NothingToChoose, with the numbers, when there are none."""
    usable = key_frame_rows(table) & np.isfinite(table.score(config.score)) & (table.points >= config.min_points)
    labelled = is_labelled(table, history)
    free = usable & ~labelled
    if config.rule == "paper":
        free &= ~is_picked(table, history.pseudo)
    if config.earlier_rounds and history.labelled:
        free &= ~_near_earlier(table, history.labelled, config.distance_m(table.kind))
    if not free.any():
        raise NothingToChoose(
            f"nothing to choose from: {len(table)} units scored, {usable.sum()} of them in key frames with a known "
            f"'{config.score}' and at least {config.min_points} points (select.min_points), "
            f"{(usable & labelled).sum()} of those labelled already, the rest nearer to them than "
            f"{config.distance_m(table.kind):g} m (select.min_distance_m)"
        )
    return np.flatnonzero(free)


def _near_earlier(table: ScoreTable, picks: Sequence[Pick], distance_m: float) -> npt.NDArray[np.bool_]:
    places = {scene: place for place, scene in enumerate(table.scenes)}
    known = [pick for pick in picks if pick.key.scene in places]
    scene = np.array([places[pick.key.scene] for pick in known], np.int32)
    center_m = np.array([pick.center_m for pick in known], np.float64).reshape(-1, 3)
    return near_any(table.scene, table.center_m, scene, center_m, distance_m)


def costs_of_rows(table: ScoreTable, rows: npt.NDArray[np.int64], budget: Budget, config: SelectConfig) -> Costs:
    """Costs of the units in `rows`. Raises UsageError where boxes are counted that are none."""
    if budget.currency == "boxes" and table.boxes is None:
        raise UsageError(f"a budget in boxes needs scored boxes, the table has {table.kind}; give it in regions")
    return unit_costs(budget.currency, table.points[rows], config.seconds_per_unit, config.seconds_per_1000_points)


def budget_limit(
    budget: Budget, costs: Costs, table: ScoreTable, rows: npt.NDArray[np.int64], *, rounded: bool, strict: bool = True
) -> int:
    """The budget in steps of its currency.

    Args:
        rounded: a percentage to the nearest point (LiDAL's code) instead of down.
        strict: refuse an amount that all of `rows` together don't cost.
    """
    if budget.percent:
        return percent_limit(budget, int(table.points[key_frame_rows(table)].sum()), rounded=rounded)
    return absolute_limit(budget, costs, frame_numbers(table, rows) if strict else None)


def refuse_frames_in_paper(rule: str, budget: Budget) -> None:
    """The released loop has no notion of a frame that is paid once."""
    if rule == "paper" and budget.currency == "frames":
        raise UsageError("the rule 'paper' counts points, regions or seconds; for frames take the rule 'default'")


def frame_numbers(table: ScoreTable, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
    """A number for each row's frame: 0, 1, … over scenes and frames."""
    both = table.scene[rows].astype(np.int64) << 32 | table.frame[rows].astype(np.int64)
    return np.unique(both, return_inverse=True)[1].astype(np.int32)


def pool_of_rows(
    table: ScoreTable,
    rows: npt.NDArray[np.int64],
    costs: Costs,
    score: npt.NDArray[np.float64],
    preference: npt.NDArray[np.float64],
    group: npt.NDArray[np.int32] | None = None,
) -> Pool:
    """The greedy choice's input for some rows; a unit's number is its row in the whole table."""
    return Pool(
        score=np.ascontiguousarray(score, np.float64),
        preference=np.ascontiguousarray(preference, np.float64),
        scene=table.scene[rows].astype(np.int32),
        frame=frame_numbers(table, rows),
        center_m=np.ascontiguousarray(table.center_m[rows], np.float64),
        number=rows.astype(np.int64),
        cost=costs.unit,
        group=np.zeros(len(rows), np.int32) if group is None else group,
    )


def picks_of(
    choice: Choice,
    table: ScoreTable,
    rows: npt.NDArray[np.int64],
    costs: Costs,
    frame_facts: FrameFacts,
    why: Callable[[int, dict[str, float]], str],
) -> tuple[Pick, ...]:
    """The chosen units as picks, rank 1 first; the first of a frame pays the frame's fee.

    Args:
        why: (row of the pool, the unit's scores) -> the reason.
    """
    suppressed: dict[int, list[UnitKey]] = {}
    for row in np.flatnonzero(choice.suppressor >= 0):
        suppressed.setdefault(int(choice.suppressor[row]), []).append(unit_key(table, int(rows[row])))
    paid: set[tuple[str, int]] = set()
    picks = []
    for rank, row in enumerate(choice.rows.tolist(), start=1):
        key = unit_key(table, int(rows[row]))
        scores = {name: float(column[rows[row]]) for name, column in table.scores.items()}
        fee = 0 if (key.scene, key.frame) in paid else costs.frame_fee
        paid.add((key.scene, key.frame))
        name, timestamp_ns = frame_facts(key.scene, key.frame)
        picks.append(
            Pick(
                rank=rank,
                key=key,
                frame_name=name,
                timestamp_ns=timestamp_ns,
                kind=table.kind,
                points=int(table.points[rows[row]]),
                cost=(int(costs.unit[row]) + fee) / costs.steps,
                center_m=tuple(table.center_m[rows[row]].tolist()),
                scores=scores,
                reason=why(row, scores),
                suppressed=tuple(suppressed.get(row, ())),
                box=None if table.boxes is None else tuple(table.boxes[rows[row]].tolist()),
            )
        )
    return tuple(picks)


def unit_key(table: ScoreTable, row: int) -> UnitKey:
    """The key of a row."""
    return UnitKey(table.scenes[table.scene[row]], int(table.frame[row]), int(table.unit[row]))
