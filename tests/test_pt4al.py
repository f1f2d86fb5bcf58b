# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""PT4AL: strata of difficulty, what is asked in each round, and what happens at their ends."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from experiments import tiny
from hypothesis import given, settings
from hypothesis import strategies as st
from strategy_pools import TENTH, frame_facts, pool_of, with_budget, with_columns, without

from lidal3d.config import Config
from lidal3d.errors import DataError, UsageError
from lidal3d.rounds.experiment import run_experiment
from lidal3d.select.history import History
from lidal3d.select.manifest import read_manifest
from lidal3d.select.selection import Selection
from lidal3d.select.strata import apart_in_time, by_difficulty, cut, evenly, normalised_confidence, pseudo_logits
from lidal3d.strategies import STRATEGIES, UnitPool
from lidal3d.strategies.pt4al import affordable

FOUR = TENTH.updated({"select": {"budget": "9:regions"}, "pt4al": {"strata": 4}})


def run(
    pool: UnitPool, config: Config = FOUR, rounds: int = 0, name: str = "pt4al", facts=frame_facts, **history
) -> Selection:
    known = History(rounds=rounds, **history)
    return STRATEGIES[name].choose(pool, config, facts, known, np.random.default_rng(0))[0]


def rows_of(selection: Selection, pool: UnitPool) -> list[int]:
    table = pool.table
    names = zip(table.scene.tolist(), table.frame.tolist(), table.unit.tolist(), strict=True)
    row = {(table.scenes[scene], frame, unit): place for place, (scene, frame, unit) in enumerate(names)}
    return [row[pick.key.scene, pick.key.frame, pick.key.unit] for pick in selection.picks]


def able_rows(pool: UnitPool) -> np.ndarray:
    return np.flatnonzero(pool.table.scores["is_key_frame"] > 0)


def expected_strata(pool: UnitPool, strata: int, reverse: bool = True) -> list[list[int]]:
    """Lists of rows, each by difficulty, cut by number."""
    loss = pool.table.scores["pretext_loss"]
    rows = sorted(able_rows(pool).tolist(), key=lambda row: loss[row], reverse=reverse)
    return [[int(row) for row in part] for part in np.array_split(rows, strata)]


# --- strata --------------------------------------------------------------------------------------------------------


def test_losses_are_sorted_as_numbers() -> None:
    loss = np.array([1e-5, 4.4, 9.99e-05, 0.3, 12.0])
    assert by_difficulty(loss, "desc").tolist() == [4, 1, 3, 2, 0]
    assert by_difficulty(loss, "asc").tolist() == [0, 2, 3, 1, 4]


def test_the_released_order_puts_what_prints_with_an_exponent_first() -> None:
    """As text: "9.99e-05" > "4.4" > "1e-05" > "12.0" > "0.3": of the five the second easiest comes out as the hardest."""
    loss = np.array([1e-5, 4.4, 9.99e-05, 0.3, 12.0])
    assert by_difficulty(loss, "repo_lexicographic").tolist() == [2, 1, 0, 4, 3]
    rng = np.random.default_rng(0)
    # As in the released files: a twelfth of the losses below 1e-4.
    many = np.concatenate([rng.uniform(1e-6, 1e-4, 400), 1e-4 + rng.exponential(0.4, 4600)])
    first = by_difficulty(many, "repo_lexicographic")[:500]
    lines = sorted((str(value) for value in many.tolist()), reverse=True)[:500]
    assert [str(value) for value in many[first].tolist()] == lines
    assert np.mean(many[first] < 1e-4) > 0.5
    assert not (many[by_difficulty(many, "desc")[:500]] < 1e-4).any()


def test_equal_losses_stay_in_the_order_of_the_pool() -> None:
    for order in ("desc", "asc", "repo_lexicographic"):
        assert by_difficulty(np.full(7, 0.25), order).tolist() == list(range(7))


@given(st.integers(0, 300), st.integers(1, 12), st.integers(0, 5))
def test_equal_costs_give_strata_of_equal_size_that_cover_the_pool(count: int, strata: int, cost: int) -> None:
    part = cut(np.full(count, cost, np.int64), strata)
    assert len(part) == count
    assert (np.diff(part) >= 0).all()
    sizes = np.bincount(part, minlength=strata)
    assert len(sizes) == strata
    assert sizes.max() - sizes.min() <= 1


@given(st.lists(st.integers(1, 50), min_size=1, max_size=80), st.integers(1, 8))
def test_strata_cost_alike(costs: list[int], strata: int) -> None:
    part = cut(np.array(costs), strata)
    spent = np.bincount(part, weights=costs, minlength=strata)
    assert spent.sum() == sum(costs)
    assert (np.abs(spent - sum(costs) / strata) <= max(costs)).all()


@given(st.integers(1, 200), st.integers(1, 250))
def test_evenly_takes_every_kth(count: int, picks: int) -> None:
    order = evenly(count, picks)
    assert sorted(order.tolist()) == list(range(count))
    taken = min(picks, count)
    assert order[:taken].tolist() == [j * count // taken for j in range(taken)]
    assert order[taken:].tolist() == sorted(order[taken:].tolist())


def test_every_fifth_as_in_the_paper() -> None:
    assert evenly(5000, 1000)[:1000].tolist() == list(range(0, 5000, 5))
    assert evenly(0, 3).tolist() == []


def test_the_released_confidence_is_bounded_and_ranks_otherwise() -> None:
    """For 10 classes it lies within [0.1, 0.242]; more of the same logits changes nothing."""
    best = np.zeros((1, 10))
    best[0, 3] = 5
    e = np.exp(1)
    assert normalised_confidence(best)[0] == pytest.approx(e / (e + 9))
    assert normalised_confidence(np.ones((1, 10)))[0] == pytest.approx(0.1)
    z = np.random.default_rng(0).normal(size=(50, 10))
    np.testing.assert_allclose(normalised_confidence(9 * z), normalised_confidence(z))
    short = z / np.sqrt((z**2).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(
        normalised_confidence(z), [(np.exp(row) / np.exp(row).sum()).max() for row in short], atol=1e-12
    )
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    assert np.argsort(p.max(axis=1)).tolist() != np.argsort(normalised_confidence(z)).tolist()


def test_log_probabilities_stand_in_for_logits_of_mean_zero() -> None:
    z = np.random.default_rng(1).normal(size=(20, 6))
    z -= z.mean(axis=1, keepdims=True)
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(pseudo_logits(p), z, atol=1e-9)
    assert np.isfinite(pseudo_logits(np.eye(4))).all()


@given(st.integers(0, 1000), st.integers(0, 6))
@settings(max_examples=50, deadline=None)
def test_apart_in_time_against_trying_all(seed: int, gap: int) -> None:
    rng = np.random.default_rng(seed)
    scene, time, labelled = rng.integers(0, 2, 30), rng.integers(0, 25, 30), rng.random(30) < 0.1
    order = rng.permutation(30)[:20]
    kept = apart_in_time(order, scene, time, gap, labelled)
    taken = np.flatnonzero(labelled).tolist()
    for place, item in enumerate(order.tolist()):
        near = [o for o in taken if scene[o] == scene[item] and 0 < abs(int(time[o] - time[item])) < gap]
        assert kept[place] == (not near)
        if kept[place]:
            taken.append(item)


# --- rounds --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["desc", "asc"])
def test_the_first_round_takes_evenly_spaced_ones_of_the_first_stratum_without_a_model(order: str) -> None:
    pool = pool_of()
    stratum = expected_strata(pool, 4, reverse=order == "desc")[0]
    config = FOUR.updated({"pt4al": {"order": order}})
    wanted = [stratum[j * len(stratum) // 9] for j in range(9)]
    assert rows_of(run(pool, config), pool) == wanted
    for other in (replace(pool, probabilities=np.full((240, 4), np.nan, np.float32)), replace(pool, features=None)):
        assert rows_of(run(other, config), pool) == wanted
    bare = replace(pool, features=None, probabilities=None)
    assert rows_of(run(bare, config, name="pt4al_start"), pool) == wanted
    with pytest.raises(UsageError, match="strategy 'pt4al' needs probabilities"):
        run(bare, config)


def test_even_spacing_reaches_the_end_of_the_stratum_whatever_its_units_cost() -> None:
    """Fewer points in what is harder: spacing by the mean cost of the pool would leave half of the budget to the rest."""
    pool = pool_of()
    loss = pool.table.scores["pretext_loss"]
    rank = np.argsort(np.argsort(-loss))
    pool = replace(pool, table=replace(pool.table, points=(20 + rank).astype(np.int64)))
    config = with_budget("900:points").updated({"pt4al": {"strata": 2}})
    selection = run(pool, config)
    able = able_rows(pool)
    order = able[np.argsort(-loss[able], kind="stable")]
    cost = pool.table.points[order]
    stratum = order[2 * cost.cumsum() - cost < cost.sum()]
    spaced = [row for row, p in zip(rows_of(selection, pool), selection.picks, strict=True) if "evenly" in p.reason]
    n = len(spaced)
    assert n > 3
    assert spaced == [stratum[j * len(stratum) // n] for j in range(n)]
    assert pool.table.points[spaced].sum() > 0.75 * 900  # most of the budget is spaced


@given(st.lists(st.integers(1, 60), min_size=1, max_size=60), st.integers(1, 900))
def test_affordable_is_what_the_budget_buys(cost: list[int], limit: int) -> None:
    picks = affordable(np.array(cost), limit)
    spent = sum(cost[j * len(cost) // picks] for j in range(picks))
    assert picks == 1 or spent <= limit
    if len(set(cost)) == 1:
        assert picks == max(1, min(len(cost), limit // cost[0]))


@pytest.mark.parametrize("rounds", [1, 2, 3])
def test_a_later_round_takes_the_least_sure_of_its_own_stratum(rounds: int) -> None:
    pool = pool_of()
    stratum = expected_strata(pool, 4)[rounds]
    sure = pool.probabilities.max(axis=1)
    wanted = sorted(sorted(stratum), key=lambda row: sure[row])[:9]
    selection = run(pool, rounds=rounds)
    assert rows_of(selection, pool) == wanted
    assert f"in stratum {rounds + 1} of 4 by pretext loss" in selection.picks[0].reason
    paper = run(pool, FOUR.updated({"pt4al": {"rule": "paper"}}), rounds)
    released = normalised_confidence(pseudo_logits(pool.probabilities))
    assert rows_of(paper, pool) == sorted(sorted(stratum), key=lambda row: released[row])[:9]


def test_after_the_last_stratum_comes_what_the_first_has_left() -> None:
    pool, history = pool_of(), History()
    strata, seen = expected_strata(pool, 4), []
    for rounds in range(6):
        selection, _ = STRATEGIES["pt4al"].choose(pool, FOUR, frame_facts, history, np.random.default_rng(0))
        rows = rows_of(selection, pool)
        assert set(rows) <= set(strata[rounds % 4])
        assert not set(rows) & set(seen)
        seen += rows
        history = replace(history, rounds=rounds + 1, labelled=(*history.labelled, *selection.picks))


def test_strata_do_not_move_when_units_are_labelled() -> None:
    pool = pool_of()
    hardest = frozenset((pool.table.scenes[pool.table.scene[r]], int(pool.table.frame[r])) for r in range(0, 240, 40))
    selection = run(pool, rounds=1, labelled_frames=hardest)
    assert set(rows_of(selection, pool)) <= set(expected_strata(pool, 4)[1])


def test_what_a_stratum_cannot_take_goes_to_the_next() -> None:
    pool = pool_of()
    strata = expected_strata(pool, 4)
    budget = len(strata[3]) + 5
    config = FOUR.updated({"select": {"budget": f"{budget}:regions"}})
    selection = run(pool, config, rounds=3)
    rows = rows_of(selection, pool)
    assert set(rows[: len(strata[3])]) == set(strata[3])
    assert set(rows[len(strata[3]) :]) <= set(strata[0])  # the one after the last is the first
    assert "own stratum was too small" in selection.picks[-1].reason
    assert "too small" not in selection.picks[0].reason


def test_strata_are_cut_by_cost() -> None:
    pool = pool_of()
    able = able_rows(pool)
    config = with_budget("200:points").updated({"pt4al": {"strata": 4}})
    order = able[np.argsort(-pool.table.scores["pretext_loss"][able], kind="stable")]
    middle = pool.table.points[order].cumsum() - pool.table.points[order] / 2
    for rounds in range(4):
        low, high = (pool.table.points[able].sum() * k / 4 for k in (rounds, rounds + 1))
        stratum = set(order[(middle >= low) & (middle < high)].tolist())
        selection = run(pool, config, rounds)
        assert set(rows_of(selection, pool)) <= stratum
        assert selection.used <= 200


def test_range_strata_are_cut_apart() -> None:
    """The pretext loss is made to be the distance: without range strata the first stratum is what is far."""
    pool = pool_of()
    range_m = pool.table.scores["range_m"]
    pool = with_columns(pool, pretext_loss=range_m)
    far = [row for row in rows_of(run(pool), pool) if range_m[row] < 40]
    assert not far
    apart = rows_of(run(pool, FOUR.updated({"pt4al": {"range_strata": True}})), pool)
    assert min(range_m[apart]) < 20
    assert max(range_m[apart]) > 40


def test_frames_near_in_time_come_last() -> None:
    """Ten frames a scene, 0.4 s apart; the hardest are neighbours."""
    pool = pool_of(kind="frame")
    first = np.flatnonzero(pool.table.unit == 0)
    pool = UnitPool(pool.table.take(first), pool.features[first], pool.probabilities[first])
    config = Config().updated({"select": {"budget": "3:frames"}, "pt4al": {"strata": 1, "min_gap_s": 1.0}})

    def facts(scene: str, frame: int) -> tuple[str, int]:
        return f"{scene}-{frame:04d}", 400_000_000 * frame

    def gaps(selection: Selection) -> list[int]:
        picks = [(p.key.scene, p.timestamp_ns) for p in selection.picks]
        return [abs(a[1] - b[1]) for i, a in enumerate(picks) for b in picks[:i] if a[0] == b[0]]

    loss = np.where(pool.table.scene == 0, 10.0, 1.0) - 0.01 * pool.table.frame
    sure = np.where(pool.table.scene == 0, 0.3, 0.9)
    probabilities = np.column_stack([sure, *[(1 - sure) / 3] * 3]).astype(np.float32)
    pool = replace(with_columns(pool, pretext_loss=loss), probabilities=probabilities)
    apart = run(pool, config, rounds=1, facts=facts)
    assert [(p.key.scene, p.key.frame) for p in apart.picks] == [("a", 0), ("a", 3), ("a", 6)]
    assert min(gaps(apart)) >= 1e9
    free = run(pool, config.updated({"pt4al": {"min_gap_s": 0}}), rounds=1, facts=facts)
    assert [p.key.frame for p in free.picks] == [0, 2, 3]  # key frames, least sure first
    labelled = run(pool, config, rounds=1, facts=facts, labelled_frames=frozenset({("a", 0)}))
    assert labelled.picks[0].key.frame == 3
    whole = run(pool, config.updated({"select": {"budget": "20:frames"}}), rounds=1, facts=facts)
    assert len(whole.picks) == 20  # the gap doesn't cost the budget


# --- in an experiment ----------------------------------------------------------------------------------------------


def test_an_experiment_has_as_many_strata_as_rounds() -> None:
    rows = {"pt4al": None, "ten": {"strategy": "pt4al", "config": {"pt4al": {"strata": 10}}}}
    experiment = tiny(strategies=rows, rounds=3)
    assert [experiment.settings_of(row).pt4al.strata for row in rows] == [3, 10]


def test_each_round_of_an_experiment_asks_in_its_stratum(tmp_path: Path) -> None:
    small = {"steps": 2, "width": 0.1, "voxel_m": 0.5}
    experiment = tiny(
        strategies=["pt4al"],
        encoders={"masked": {"method": "masked", "config": {"pretrain": small}}},
        full_supervision=False,
    )
    run_experiment(experiment, tmp_path / "out")
    for number in (1, 2):
        picks = read_manifest(tmp_path / f"out/seed-3/pt4al/round-{number}/queue").selection.picks
        assert picks
        assert all(f"in stratum {number} of 2 by pretext loss" in pick.reason for pick in picks)
        assert ("evenly spaced" in picks[0].reason) == (number == 1)
    with pytest.raises(UsageError, match="row 'pt4al': strategy 'pt4al' needs pretext; "):
        run_experiment(tiny(strategies=["pt4al"], full_supervision=False), tmp_path / "none")


# --- bad input -----------------------------------------------------------------------------------------------------


def test_without_a_pretext_loss_it_says_how_one_is_made() -> None:
    for name in ("pt4al", "pt4al_start"):
        with pytest.raises(UsageError, match=f"'{name}' needs the score column 'pretext_loss'; ") as caught:
            run(without(pool_of(), "pretext_loss"), name=name)
        assert "\n" not in str(caught.value)


def test_unknown_losses_are_left_out_and_all_unknown_is_refused() -> None:
    pool = pool_of()
    loss = np.where(np.arange(240) % 3 == 0, np.nan, pool.table.scores["pretext_loss"])
    for rounds in range(3):
        assert not np.isnan(loss[rows_of(run(with_columns(pool, pretext_loss=loss), rounds=rounds), pool)]).any()
    for bad in (np.nan, np.inf):
        with pytest.raises(DataError, match="nothing to choose from: 240 units"):
            run(with_columns(pool, pretext_loss=np.full(240, bad)))


def test_equal_losses_are_said() -> None:
    selection = run(with_columns(pool_of(), pretext_loss=np.full(240, 2.0)))
    assert len(selection.picks) == 9
    assert "all losses are equal" in selection.picks[0].reason


def test_more_strata_than_units_and_a_budget_above_the_pool() -> None:
    pool = pool_of(units=8)
    assert len(run(pool, FOUR.updated({"pt4al": {"strata": 30}, "select": {"budget": "8:regions"}})).picks) == 8
    with pytest.raises(UsageError, match="pool has 8 regions, 9 requested"):
        run(pool)
