# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Redundancy removal for scores that are not LiDAL's: the same order, without what lies beside a better unit."""

from __future__ import annotations

import numpy as np
import pytest
from strategy_pools import frame_facts, pool_of, with_budget

from lidal3d.config import Config
from lidal3d.select.history import History
from lidal3d.select.selection import Selection
from lidal3d.strategies import STRATEGIES
from lidal3d.strategies.d2ada import ENTROPY

FAR_M = 15.0
APART = pytest.mark.parametrize("name", ["entropy_apart", "d2ada_apart"])


def chosen(name: str, distance_m: float, history: History | None = None, rule: str = "default") -> Selection:
    changes = {"select": {"min_distance_m": distance_m}, "d2ada": {"rule": rule}}
    config: Config = with_budget("20%").updated(changes)
    source = pool_of(seed=9) if name.startswith("d2ada") else None
    strategy = STRATEGIES[name]
    return strategy.choose(
        pool_of(), config, frame_facts, history or History(), np.random.default_rng(0), source
    )[0]  # fmt: skip


def closest_m(selection: Selection, others: Selection | None = None) -> float:
    """The least distance of two picks of one scene, or of a pick and one of the others."""
    return min(
        float(np.linalg.norm(np.subtract(pick.center_m, other.center_m)))
        for place, pick in enumerate(selection.picks)
        for other in (others.picks if others else selection.picks[:place])
        if other.key.scene == pick.key.scene
    )


@APART
@pytest.mark.parametrize("rule", ["default", "paper"])
def test_no_two_picks_are_near_each_other_or_what_was_labelled_before(name: str, rule: str) -> None:
    plain = chosen(name.removesuffix("_apart"), FAR_M, rule=rule)
    first = chosen(name, FAR_M, rule=rule)
    assert closest_m(plain) < FAR_M <= closest_m(first)
    second = chosen(name, FAR_M, History(rounds=1, labelled=first.picks), rule)
    assert second.picks
    assert closest_m(second) >= FAR_M
    assert closest_m(second, first) >= FAR_M


@APART
def test_at_no_distance_it_is_the_strategy_itself(name: str) -> None:
    plain, apart = chosen(name.removesuffix("_apart"), 0.0), chosen(name, 0.0)
    assert [pick.key for pick in apart.picks] == [pick.key for pick in plain.picks]
    assert [pick.reason for pick in apart.picks] == [pick.reason for pick in plain.picks]


def test_what_stays_out_lies_beside_something_better_or_does_not_fit() -> None:
    pool, distance_m = pool_of(), FAR_M
    selection = chosen("entropy_apart", distance_m)
    table = pool.table
    entropy = table.score(ENTROPY)
    picked = {(pick.key.scene, pick.key.frame, pick.key.unit) for pick in selection.picks}
    left = selection.budget - selection.used
    checked = 0
    for row in np.flatnonzero((table.scores["is_key_frame"] > 0) & np.isfinite(entropy) & (table.points >= 10)):
        scene = table.scenes[table.scene[row]]
        if (scene, int(table.frame[row]), int(table.unit[row])) in picked:
            continue
        beside = [
            pick.scores[ENTROPY]
            for pick in selection.picks
            if pick.key.scene == scene and np.linalg.norm(np.subtract(pick.center_m, table.center_m[row])) < distance_m
        ]
        assert beside or table.points[row] > left
        checked += bool(beside) and max(beside) > entropy[row]
    assert checked > 10
