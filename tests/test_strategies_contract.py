# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""One contract for all strategies: what holds whatever is asked for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from strategy_pools import (
    TENTH,
    frame_facts,
    pool_of,
    rows_of_arrays,
    shuffled,
    with_budget,
    with_columns,
    without,
)

from lidal3d.config import Config
from lidal3d.errors import DataError, LidalError, UsageError
from lidal3d.scores.columns import NAMES
from lidal3d.select.budget import CURRENCIES
from lidal3d.select.history import History
from lidal3d.select.selection import Selection
from lidal3d.strategies import STRATEGIES, Strategy, UnitPool
from lidal3d.strategies.kinds import kinds_in_words
from lidal3d.strategies.pool import ARRAYS
from lidal3d.strategies.strategy import SIGNALS

ALL = pytest.mark.parametrize("strategy", STRATEGIES.values(), ids=STRATEGIES.keys())
# Part of these is drawn from units without any score.
PARTLY_RANDOM = ("portfolio", "lidal_validated")
# These leave money that would buy a unit: near units, a scene's cap, or whole frames.
THRIFTY = ("lidal", "lidal_human", "lidal_divergence", "lidal_entropy", "lidal_validated", "lidal_by_track",
           "entropy_scene_cap", "random_frames", "cdal", "d2ada_frames", "d2ada_apart",
           "entropy_apart")  # fmt: skip


def run(
    strategy: Strategy, pool: UnitPool, config: Config = TENTH, history: History | None = None, seed: int = 0
) -> tuple[Selection, Selection]:
    source = pool_of(seed=9) if "source" in strategy.needs else None
    return strategy.choose(pool, config, frame_facts, history or History(), np.random.default_rng(seed), source)


def rows_of(selection: Selection, pool: UnitPool) -> list[int]:
    table = pool.table
    place = {
        (table.scenes[table.scene[row]], int(table.frame[row]), int(table.unit[row])): row for row in range(len(table))
    }
    return [place[pick.key.scene, pick.key.frame, pick.key.unit] for pick in selection.picks]


# --- budget --------------------------------------------------------------------------------------------------------


@ALL
@pytest.mark.parametrize("budget", ["10%", "5%", "700:points", "11:regions", "7:frames", "250.5:seconds"])
def test_the_budget_is_kept_and_the_account_is_right(strategy: Strategy, budget: str) -> None:
    currency = budget.partition(":")[2] or "points"
    pool, config = pool_of(), with_budget(budget)
    if currency not in strategy.currencies:
        with pytest.raises(UsageError, match=f"can't spend {currency}"):
            run(strategy, pool, config)
        return
    selection, _ = run(strategy, pool, config)
    rows = np.array(rows_of(selection, pool))
    key_points = pool.table.points[pool.table.scores["is_key_frame"] > 0].sum()
    points = pool.table.points[rows]
    spent = {
        "points": points.sum(),
        "regions": len(rows),
        "frames": len({(pick.key.scene, pick.key.frame) for pick in selection.picks}),
        "seconds": sum(np.rint(20_000 + 10 * points)) / 1000,
    }
    limit = key_points * int(budget[:-1]) // 100 if budget.endswith("%") else float(budget.partition(":")[0])
    assert selection.currency == currency
    assert selection.budget == limit
    assert selection.used == pytest.approx(spent[currency])
    assert sum(pick.cost for pick in selection.picks) == pytest.approx(selection.used)
    assert 0 < selection.used <= selection.budget


@ALL
def test_nothing_that_fits_is_left_out(strategy: Strategy) -> None:
    if strategy.name in THRIFTY:
        pytest.skip("leaves money over by its rule")
    pool = pool_of()
    selection, _ = run(strategy, pool)
    free = (pool.table.scores["is_key_frame"] > 0) & ~np.isin(np.arange(len(pool)), rows_of(selection, pool))
    assert pool.table.points[free].min() > selection.budget - selection.used


@ALL
def test_more_than_the_pool_is_refused_with_both_numbers(strategy: Strategy) -> None:
    with pytest.raises(UsageError, match=r"pool has .* points, 9999999 requested"):
        run(strategy, pool_of(), with_budget("9999999:points"))


@ALL
def test_the_whole_pool_can_be_bought(strategy: Strategy) -> None:
    pool = pool_of(units=64)
    selection, _ = run(strategy, pool, with_budget("100%"))
    assert selection.used <= selection.budget
    if strategy.name not in THRIFTY:
        assert len(selection.picks) == (pool.table.scores["is_key_frame"] > 0).sum()


# --- who can be chosen ---------------------------------------------------------------------------------------------


@ALL
def test_an_empty_pool_has_nothing_to_choose_from(strategy: Strategy) -> None:
    pool = pool_of()
    none = np.empty(0, np.int64)
    empty = UnitPool(pool.table.take(none), **rows_of_arrays(pool, none))
    with pytest.raises(DataError, match="nothing to choose from: 0 units"):
        run(strategy, empty)
    with pytest.raises(DataError, match="nothing to choose from: 0 units"):
        run(strategy, replace(empty, table=replace(empty.table, scenes=())))


@ALL
def test_a_pool_of_one_unit_gives_that_unit(strategy: Strategy) -> None:
    pool = pool_of(units=1)
    selection, pseudo = run(strategy, pool, with_budget("100%"))
    assert rows_of(selection, pool) == [0]
    assert not pseudo.picks


@ALL
def test_only_key_frames_are_asked_about(strategy: Strategy) -> None:
    pool = pool_of()
    for selection in run(strategy, pool, with_budget("50%")):
        assert (pool.table.scores["is_key_frame"][rows_of(selection, pool)] == 1).all()


@ALL
def test_what_is_labelled_is_never_chosen_again(strategy: Strategy) -> None:
    pool, history, seen = pool_of(), History(labelled_frames=frozenset({("a", 0), ("c", 7)})), set()
    for round_ in range(3):
        selection, pseudo = run(strategy, pool, with_budget("12%"), history, seed=round_)
        keys = {pick.key for pick in selection.picks}
        assert keys
        assert not keys & seen
        assert not {pick.key for pick in pseudo.picks} & (keys | seen)
        assert not {("a", 0), ("c", 7)} & {(key.scene, key.frame) for key in keys}
        seen |= keys
        history = replace(history, labelled=(*history.labelled, *selection.picks), pseudo=pseudo.picks)


@ALL
def test_units_with_unknown_scores_or_features_are_left_out(strategy: Strategy) -> None:
    if strategy.name in PARTLY_RANDOM or not (strategy.columns or strategy.needs):
        pytest.skip("chooses without scores")
    pool, unknown = pool_of(), np.arange(240) % 3 == 0
    columns = {name: np.where(unknown, np.nan, pool.table.scores[name]) for name in strategy.columns}
    pool = with_columns(pool, **columns)
    hide = tuple(ARRAYS)
    pool = replace(pool, **{name: getattr(pool, name).copy() for name in hide})
    for name in hide:
        getattr(pool, name)[unknown] = np.nan
    selection, _ = run(strategy, pool)
    assert selection.picks
    assert not unknown[rows_of(selection, pool)].any()
    nothing = with_columns(pool, **{name: np.full(240, np.nan) for name in strategy.columns})
    nothing = replace(nothing, **{name: getattr(pool, name) * np.nan for name in hide})
    with pytest.raises(DataError, match="nothing to choose from: 240 units"):
        run(strategy, nothing)


# --- the same answer -----------------------------------------------------------------------------------------------


@ALL
def test_equal_seeds_give_equal_answers_whatever_the_order_of_the_rows(strategy: Strategy) -> None:
    pool = pool_of(seed=4)
    history = History(labelled_frames=frozenset({("b", 2)}))
    answer = run(strategy, pool, history=history)
    # As text: an unknown score is NaN, which isn't equal to itself.
    assert repr(run(strategy, pool, history=history)) == repr(answer)
    assert repr(run(strategy, shuffled(pool), history=history)) == repr(answer)


@ALL
def test_the_pool_is_left_as_it_was(strategy: Strategy) -> None:
    pool, same = pool_of(seed=5), pool_of(seed=5)
    run(strategy, pool)
    assert list(pool.table.scores) == list(same.table.scores)
    for name, column in same.table.scores.items():
        assert np.array_equal(pool.table.scores[name], column, equal_nan=True)
    assert np.array_equal(pool.features, same.features)
    assert np.array_equal(pool.probabilities, same.probabilities)


@ALL
def test_equal_scores_features_and_predictions_still_give_one_answer(strategy: Strategy) -> None:
    pool = pool_of()
    pool = with_columns(pool, **{name: np.full(240, 0.5) for name in strategy.columns})
    alike = UnitPool(pool.table, **rows_of_arrays(pool, np.zeros(240, np.int64)))
    selection, _ = run(strategy, alike)
    assert selection.picks
    assert repr(run(strategy, shuffled(alike))) == repr(run(strategy, alike))


def test_ties_go_by_scene_frame_and_unit() -> None:
    pool = with_columns(pool_of(), margin=np.full(240, 0.5))
    selection, _ = run(STRATEGIES["margin"], shuffled(pool), with_budget("12:regions"))
    keys = [(pick.key.scene, pick.key.frame, pick.key.unit) for pick in selection.picks]
    assert keys == [("a", 0, unit) for unit in range(8)] + [("a", 2, unit) for unit in range(4)]


# --- what is said --------------------------------------------------------------------------------------------------


@ALL
def test_picks_are_ranked_named_and_explained(strategy: Strategy) -> None:
    pool = pool_of()
    selection, pseudo = run(strategy, pool)
    assert selection.strategy == strategy.name
    assert pseudo.strategy == f"{strategy.name} pseudo"
    assert bool(pseudo.picks) == (strategy.pseudo is not None)
    assert [pick.rank for pick in selection.picks] == list(range(1, len(selection.picks) + 1))
    assert len({pick.key for pick in selection.picks}) == len(selection.picks)
    assert len({tuple(pick.scores) for pick in selection.picks}) == 1
    for pick, row in zip(selection.picks, rows_of(selection, pool), strict=True):
        assert (pick.frame_name, pick.timestamp_ns) == frame_facts(pick.key.scene, pick.key.frame)
        assert pick.points == pool.table.points[row]
        assert pick.reason
        assert "\n" not in pick.reason
        assert "nan" not in pick.reason


@ALL
def test_what_is_missing_is_refused_in_one_line_that_says_how_to_get_it(strategy: Strategy) -> None:
    pool = pool_of()
    lacking = [
        (name, replace(pool, **{name: None})) for name in ("features", "probabilities") if name in strategy.needs
    ]
    lacking += [(f"column '{column}'", without(pool, column)) for column in strategy.columns]
    for name, poor in lacking:
        with pytest.raises(UsageError, match=f"strategy '{strategy.name}' needs .*{name}") as caught:
            run(strategy, poor)
        assert "\n" not in str(caught.value)
        assert ";" in str(caught.value)


@ALL
def test_what_a_strategy_says_it_needs_is_all_that_it_reads(strategy: Strategy) -> None:
    pool = pool_of()
    shared = {"is_key_frame", "entropy", "divergence", "coverage", "entropy_unmatched", "divergence_paper"}
    if "poses" not in strategy.needs:
        shared = {"is_key_frame"}
    kept = shared | set(strategy.columns)
    table = replace(pool.table, scores={n: v for n, v in pool.table.scores.items() if n in kept})
    small = UnitPool(table, **{name: getattr(pool, name) for name in ARRAYS if name in strategy.needs})
    assert [pick.key for pick in run(strategy, small)[0].picks]


@ALL
def test_another_kind_of_unit_is_refused_or_taken(strategy: Strategy) -> None:
    boxes = pool_of(kind="box")
    if strategy.kinds is None:
        assert run(strategy, boxes)[0].picks[0].kind == "box"
    else:
        with pytest.raises(UsageError, match=f"strategy '{strategy.name}' is for .* not for units of kind 'box'"):
            run(strategy, boxes)


@ALL
def test_its_description_is_whole(strategy: Strategy) -> None:
    assert STRATEGIES[strategy.name] is strategy
    assert strategy.paper
    assert strategy.asks
    assert strategy.needs <= {"features", "probabilities", "members", "labels", "poses", "source", "tracks", *SIGNALS}
    assert set(strategy.currencies) <= set(CURRENCIES)
    members = {"consensus_entropy", "expected_entropy", "bald", "vote_entropy"}
    assert ("members" in strategy.needs) == bool(members & set(strategy.columns))
    assert ("labels" in strategy.needs) == ("true_loss" in strategy.columns)
    interframe = {"divergence", "entropy", "coverage", "entropy_unmatched", "divergence_paper"}
    assert ("poses" in strategy.needs) == bool(interframe & set(strategy.columns))
    tracks = {"track", "track_disagreement"}
    assert ("tracks" in strategy.needs) == bool(tracks & set(strategy.columns))
    signals = {"pretext": "pretext_loss", "loss_head": "predicted_loss", "earlier": "temporal_discrepancy"}
    for need, column in signals.items():
        assert (need in strategy.needs) == (column in strategy.columns)
    known = {*NAMES, *interframe, *tracks, *signals.values(), "predicted_class", "range_m"}
    assert set(strategy.columns) <= known


@ALL
def test_the_documentation_has_its_row(strategy: Strategy, docs_rows: dict[str, str]) -> None:
    row = docs_rows[strategy.name]
    _, _, asks, needs, columns, kinds, budgets, paper, _ = (cell.strip() for cell in row.split("|"))
    assert (asks, paper) == (strategy.asks, strategy.paper)
    assert needs == (", ".join(sorted(strategy.needs)) or "–")
    assert columns == (", ".join(f"`{column}`" for column in strategy.columns) or "–")
    assert kinds == kinds_in_words(strategy.possible_kinds)
    assert budgets == ("all" if strategy.currencies == CURRENCIES else ", ".join(strategy.currencies))


@pytest.fixture(scope="module")
def docs_rows() -> dict[str, str]:

    text = (Path(__file__).parents[1] / "docs" / "strategies.md").read_text(encoding="utf-8")
    table = text.split("\n\n**Needs.**")[0].splitlines()
    return {line.split("`")[1]: line for line in table if line.startswith("| `")}


def test_a_pool_with_features_of_other_units_is_refused() -> None:
    pool = pool_of()
    with pytest.raises(DataError, match=r"features of shape .*239, 6.* for 240 scored units"):
        UnitPool(pool.table, pool.features[1:])


@ALL
def test_a_budget_that_makes_no_sense_is_refused(strategy: Strategy) -> None:
    for budget in ("0%", "12:bananas", "0.001%"):
        with pytest.raises(LidalError):
            run(strategy, pool_of(), with_budget(budget))
