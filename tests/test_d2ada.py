# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""D2ADA's rules: schedule, class budgets, two parts of one budget, and what it refuses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategy_pools import TENTH, frame_facts, pool_of, with_budget

from lidal3d.config import Config
from lidal3d.errors import DataError, UsageError
from lidal3d.select.history import History
from lidal3d.select.selection import Selection
from lidal3d.strategies import STRATEGIES, UnitPool
from lidal3d.strategies.d2ada import density_share
from lidal3d.strategies.domains import domains, logs_of
from lidal3d.strategies.strategy import Ask

REGIONS = TENTH.updated({"select": {"budget": "40:regions"}})
DRAWN = "commoner here"


def run(
    pool: UnitPool, source: UnitPool | None, config: Config = REGIONS, rounds: int = 0, name: str = "d2ada", **history
) -> Selection:
    known = History(rounds=rounds, **history)
    return STRATEGIES[name].choose(pool, config, frame_facts, known, np.random.default_rng(0), source)[0]


def ask_of(pool: UnitPool, source: UnitPool) -> Ask:
    return Ask("d2ada", pool, REGIONS, frame_facts, History(), np.random.default_rng(0), source)


def by_density(selection: Selection) -> int:
    return sum(DRAWN in pick.reason for pick in selection.picks)


def long_pool(seed: int, units: int = 960) -> UnitPool:
    """As `pool_of`, with more than ten frames a scene."""
    pool, row = pool_of(seed=seed, units=units), np.arange(units)
    return replace(pool, table=replace(pool.table, frame=pool.table.frame + (10 * (row // 240)).astype(np.int32)))


def two_classes(seed: int, shift: float, units: int = 960) -> UnitPool:
    """Units of two classes, the second moved by `shift` in all features."""
    pool = long_pool(seed, units)
    second = np.random.default_rng(seed).random(units) < 0.5
    probabilities = np.where(second[:, None], [0.05, 0.9, 0.03, 0.02], [0.9, 0.05, 0.03, 0.02]).astype(np.float32)
    return UnitPool(pool.table, pool.features + np.float32(shift) * second[:, None], probabilities)


# --- schedule ------------------------------------------------------------------------------------------------------


def test_the_schedule_is_the_papers():
    assert [density_share(n, 1, 1) for n in range(1, 6)] == [1, 0.5, 0.25, 0.125, 0.0625]


@given(st.integers(1, 2000), st.floats(0, 9), st.floats(-5, 50))
def test_the_share_is_a_share(n, alpha, beta):
    beta = max(beta, 0)
    assert 0 <= density_share(n, alpha, beta) <= 1
    assert density_share(1, alpha, beta) == min(alpha, 1)


@pytest.mark.parametrize(("rounds", "expected"), [(0, 40), (1, 20), (2, 10), (3, 5), (4, 2)])
@pytest.mark.parametrize("preset", ["default", "paper"])
def test_both_parts_are_the_whole_budget(rounds, expected, preset):
    config = REGIONS.updated({"d2ada": {"rule": preset}})
    selection = run(pool_of(), pool_of(seed=9), config, rounds)
    assert by_density(selection) == expected
    assert len({pick.key for pick in selection.picks}) == len(selection.picks) == 40
    assert selection.used == selection.budget == 40
    entropies = [pick.scores["softmax_entropy"] for pick in selection.picks[expected:]]
    assert entropies == sorted(entropies, reverse=True)


@settings(max_examples=10, deadline=None)
@given(st.integers(30, 4000), st.integers(0, 6), st.booleans())
def test_points_are_never_exceeded_and_nothing_is_bought_twice(points, rounds, paper):
    pool = pool_of(seed=points)
    config = with_budget(f"{points}:points").updated({"d2ada": {"rule": "paper" if paper else "default"}})
    selection = run(pool, pool_of(seed=9), config, rounds)
    assert sum(pick.points for pick in selection.picks) == selection.used <= points
    assert sum(p.points for p in selection.picks if DRAWN in p.reason) <= density_share(rounds + 1, 1, 1) * points
    assert len({pick.key for pick in selection.picks}) == len(selection.picks)


def test_the_ablation_stays_with_density():
    assert by_density(run(pool_of(), pool_of(seed=9), rounds=4, name="d2ada_density")) == 40


def test_alpha_and_beta_are_kept_in_bounds():
    config = REGIONS.updated({"d2ada": {"alpha": 2.0, "beta": 1.0}})
    assert [by_density(run(pool_of(), pool_of(seed=9), config, rounds)) for rounds in (0, 1, 2)] == [40, 40, 20]
    assert by_density(run(pool_of(), pool_of(seed=9), REGIONS.updated({"d2ada": {"alpha": 0.0}}))) == 0


# --- classes -------------------------------------------------------------------------------------------------------


def seconds_of(selection: Selection, pool: UnitPool) -> int:
    table = pool.table
    names = zip(table.scene.tolist(), table.frame.tolist(), table.unit.tolist(), strict=True)
    row = {(table.scenes[scene], frame, unit): place for place, (scene, frame, unit) in enumerate(names)}
    return sum(int(pool.probabilities[row[p.key.scene, p.key.frame, p.key.unit]].argmax()) for p in selection.picks)


def test_the_shifted_class_gets_most_of_the_budget():
    source, target = two_classes(1, 0), two_classes(2, 2.5)
    selection = run(target, source, name="d2ada_density")
    assert seconds_of(selection, target) >= 34
    assert "'person' differs by" in selection.picks[0].reason


def test_without_a_shift_classes_share_alike():
    source, target = two_classes(1, 0), two_classes(2, 0)
    assert 14 <= seconds_of(run(target, source, name="d2ada_density"), target) <= 26


def test_a_class_that_runs_out_leaves_its_part_to_the_others():
    source, target = two_classes(1, 0), two_classes(2, 2.5)
    kept = np.concatenate(
        [np.flatnonzero(target.probabilities[:, 1] < 0.5), np.flatnonzero(target.probabilities[:, 1] > 0.5)[:30]]
    )
    target = UnitPool(
        target.table.take(np.sort(kept)), target.features[np.sort(kept)], target.probabilities[np.sort(kept)]
    )
    selection = run(target, source, REGIONS.updated({"select": {"budget": "90:regions"}}), name="d2ada_density")
    assert len(selection.picks) == by_density(selection) == 90


# --- domains -------------------------------------------------------------------------------------------------------


def test_without_a_source_what_is_labelled_is_the_source():
    pool = two_classes(3, 6, units=960)
    first = np.isin(pool.table.frame, (0, 4)) & (pool.probabilities[:, 1] > 0.5)
    # Frames 0 and 4 are labelled, and in them no unit of the second class is there to be seen.
    kept = np.flatnonzero(~first)
    pool = UnitPool(pool.table.take(kept), pool.features[kept], pool.probabilities[kept])
    labelled = frozenset((scene, frame) for scene in pool.table.scenes for frame in (0, 4))
    selection = run(pool, None, labelled_frames=labelled, name="d2ada_density")
    assert seconds_of(selection, pool) >= 20
    assert not {(pick.key.scene, pick.key.frame) for pick in selection.picks} & labelled
    assert "commoner here than in what is labelled" in selection.picks[0].reason
    # The second class has no labelled unit: densities of all classes stand for its own.
    assert any("too few of this class" in pick.reason for pick in selection.picks)


def test_what_it_lacks_is_refused_in_one_line():
    pool, source, rows = pool_of(), pool_of(seed=9), np.empty(0, np.int64)
    cases = [
        (pool, None, r"needs labelled units to compare with; say what is labelled \(--earlier.*as --source"),
        (pool, replace(source, features=None), "needs features of the source's units; score the source"),
        (
            pool,
            replace(source, features=source.features[:, :4]),
            "source has 4 features a unit, the drive 6; .*same model",
        ),
        (pool, replace(source, features=source.features * np.float32(np.nan)), "needs labelled units to compare with"),
        (pool, UnitPool(source.table.take(rows), source.features[rows], source.probabilities[rows]), "labelled units"),
        (
            pool,
            replace(source, table=replace(source.table, metadata={"classes": ["car"]})),
            r"scored with classes \['car'\], the",
        ),
        (replace(pool, probabilities=np.ones((240, 1), np.float32)), source, "the model has one"),
        (replace(pool, features=None), source, "needs features of the units"),
    ]
    for target, other, words in cases:
        for name in ("d2ada", "d2ada_density", "d2ada_frames"):
            with pytest.raises(UsageError, match=words) as caught:
                run(target, other, name=name)
            assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match="nothing to choose from"):
        run(replace(pool, features=pool.features * np.float32(np.nan)), source)


@pytest.mark.parametrize("preset", ["default", "paper"])
def test_poor_pools_still_give_an_answer(preset):
    config = REGIONS.updated({"d2ada": {"rule": preset}})
    pool, source = pool_of(), pool_of(seed=9)
    alike = replace(pool, features=np.ones((240, 6), np.float32))
    one_class = replace(pool, probabilities=np.tile(np.float32([0.7, 0.1, 0.1, 0.1]), (240, 1)))
    few = replace(source, features=np.where(np.arange(240)[:, None] == 3, source.features, np.float32(np.nan)))
    holes = replace(pool, features=np.where(np.arange(240)[:, None] % 2 == 0, pool.features, np.float32(np.inf)))
    one_frame = UnitPool(pool.table.take(np.arange(8)), pool.features[:8], pool.probabilities[:8])
    for target, other in ((alike, source), (one_class, source), (pool, few), (holes, source), (pool, pool)):
        assert len(run(target, other, config).picks) == 40
    assert run(one_frame, source, config.updated({"select": {"budget": "8:regions"}})).used == 8


def test_frames_are_pools_of_one_unit_a_frame_too():
    pool, source = pool_of(kind="frame"), pool_of(seed=9, kind="frame")
    assert len(run(pool, source).picks) == 40


def test_the_background_of_boxes_has_its_name():
    pool, source = pool_of(kind="box"), pool_of(seed=9, kind="box")
    background = np.tile(np.float32([0.1, 0.1, 0.1, 0.7]), (240, 1))
    metadata = {"classes": ["car", "person", "road"]}
    pool, source = (
        replace(p, table=replace(p.table, metadata=metadata), probabilities=background) for p in (pool, source)
    )
    selection = run(pool, source, name="d2ada_density")
    assert all("'background' differs by" in pick.reason for pick in selection.picks)
    assert not any("class 3" in pick.reason for pick in selection.picks)


@pytest.mark.parametrize("kind", ["superpixels", "image"])
def test_the_cameras_of_a_drive_are_one_log(kind):
    pool = pool_of(kind=kind)
    names = ("0.front", "0.left", "1.front")
    table = replace(pool.table, scenes=names, metadata={"classes": ["car", "person", "road", "pole"]})
    # Nobody knows how far away a third of them is.
    table = table.with_scores(range_m=np.where(np.arange(240) % 3 == 0, np.nan, pool.table.score("range_m")))
    pool = replace(pool, table=table)
    assert logs_of(table).tolist() == ["0", "0", "1"]
    _, target, rows = domains(ask_of(pool, pool_of(seed=9, kind=kind)))
    fold = target.fold[np.argsort(rows)]
    assert set(fold[table.scene[rows] < 2].tolist()) != set(fold[table.scene[rows] == 2].tolist())
    assert len(set(fold[table.scene[rows] < 2].tolist())) == 1
    for strata in (False, True):
        config = REGIONS.updated({"d2ada": {"range_strata": strata}})
        assert len(run(pool, pool_of(seed=9, kind=kind), config).picks) == 40
    assert logs_of(pool_of().table).tolist() == ["a", "b", "c"]


def test_range_strata_need_ranges():
    config = REGIONS.updated({"d2ada": {"range_strata": True}})
    assert len(run(pool_of(), pool_of(seed=9), config).picks) == 40
    pool = pool_of()
    scores = {name: column for name, column in pool.table.scores.items() if name != "range_m"}
    with pytest.raises(DataError, match="no column 'range_m'"):
        run(replace(pool, table=replace(pool.table, scores=scores)), pool_of(seed=9), config)


def test_whole_frames_with_the_most_news_come_first():
    source, pool = long_pool(9), long_pool(2)
    news = (pool.table.scene == 1) & (pool.table.frame == 6)
    features = pool.features.copy()
    features[news | ((pool.table.scene == 2) & (pool.table.frame == 2))] += 2.5
    selection = run(replace(pool, features=features), source, with_budget("2:frames"), name="d2ada_frames")
    assert {(p.key.scene, p.key.frame) for p in selection.picks} == {("b", 6), ("c", 2)}
    late = run(replace(pool, features=features), source, with_budget("2:frames"), rounds=30, name="d2ada_frames")
    assert all("mean entropy" in pick.reason for pick in late.picks)
