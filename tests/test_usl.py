# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""USL: kernels against brute force, the known picks, and what it does on odd pools."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from strategy_pools import TENTH, frame_facts, pool_of, shuffled, with_budget

from lidal3d.config import Config
from lidal3d.errors import DataError
from lidal3d.select import knn
from lidal3d.select.history import History
from lidal3d.select.kmeans import kmeans
from lidal3d.select.knn import Times, nearest_squared
from lidal3d.select.selection import Selection
from lidal3d.select.usl import LEAST_SQUARED, Repulsion, regularised, repelled, unit_rows, usl, utility
from lidal3d.strategies import STRATEGIES, UnitPool

LINE = np.array([0, 0.06, -0.06, 0.90, 0.85, 0.95, 1.10, 1.14, 1.06])[:, None]
LINE_CLUSTER = np.array([0] * 6 + [1] * 3)
PAPER = Repulsion(iterations=10, weight=0.5, momentum=0.9, power=0.5, paper_scale=True)


def run(pool: UnitPool, config: Config = TENTH, history: History | None = None, seed: int = 0) -> Selection:
    rng = np.random.default_rng(seed)
    return STRATEGIES["usl"].choose(pool, config, frame_facts, history or History(), rng)[0]


def keys_of(selection: Selection) -> list[tuple[str, int, int]]:
    return [(pick.key.scene, pick.key.frame, pick.key.unit) for pick in selection.picks]


# --- neighbours ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("window_ns", [None, 0, 3])
def test_nearest_neighbours_are_exact(window_ns: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(knn, "_ROWS", 16)
    monkeypatch.setattr(knn, "_OTHERS", 24)
    rng = np.random.default_rng(0)
    x, drive, ns = rng.normal(size=(70, 4)), rng.integers(0, 3, 70), rng.integers(0, 20, 70)
    x[7], x[30] = x[3], x[3]
    times = None if window_ns is None else Times(drive, ns, window_ns)
    found = nearest_squared(x, 5, times)
    for i in range(70):
        distance = ((x - x[i]) ** 2).sum(axis=1)
        if window_ns is not None:
            near = (drive == drive[i]) & (abs(ns - ns[i]) <= window_ns)
            distance[near] = np.inf
        distance[i] = 0
        assert found[i] == pytest.approx(np.sort(distance)[:5], abs=1e-12)
        assert found[i, 0] == 0


def test_a_row_with_too_few_neighbours_has_infinite_ones() -> None:
    x = np.arange(4.0)[:, None]
    found = nearest_squared(x, 3, Times(np.array([0, 0, 0, 1]), np.zeros(4, np.int64), 10))
    assert found[0].tolist() == [0, 9, np.inf]
    assert found[3].tolist() == [0, 1, 4]


def test_a_parked_car_is_not_dense() -> None:
    rng = np.random.default_rng(0)
    spread = unit_rows(rng.normal(size=(60, 6)))
    parked = unit_rows(spread[:1] + rng.normal(0, 1e-3, (40, 6)))
    features = np.concatenate([spread, parked])
    drive = np.concatenate([np.arange(60), np.full(40, 60)])
    times = Times(drive, np.arange(100, dtype=np.int64), 50)
    naive, repaired = utility(features, 10), utility(features, 10, times)
    assert naive[60:].min() > 100 * naive[1:60].max()
    assert repaired[60:].max() < 10 * repaired[1:60].max()


# --- utility and regulariser -----------------------------------------------------------------------------------------


def test_the_known_line() -> None:
    dense = utility(LINE, 3)
    assert dense[[0, 3, 6]] == pytest.approx([416.67, 600, 937.5], rel=1e-4)
    for weight in (0.0, 0.5, 1.0, 50.0):
        picks, _ = regularised(LINE, dense, LINE_CLUSTER, replace(PAPER, weight=weight))
        assert picks.tolist() == [3, 6]
    heavy = [
        regularised(LINE, dense, LINE_CLUSTER, replace(PAPER, weight=100, iterations=t))[0][0] for t in range(1, 11)
    ]
    assert heavy == [3] * 6 + [0] * 4


def reference(
    z: np.ndarray, value: np.ndarray, cluster: np.ndarray, rule: Repulsion, fixed: np.ndarray | None
) -> list[int]:
    """The regulariser, pair by pair."""

    def pressure_of(i: int, picks: list[np.ndarray]) -> float:
        squared = sorted(float(((z[i] - s) ** 2).sum()) for s in picks)
        forces = [max(d, LEAST_SQUARED) ** -rule.power for d in squared if d < rule.horizon]
        return sum(forces[: rule.nearest] if rule.nearest else forces)

    def median(values: list[float] | np.ndarray) -> float:
        above = [v for v in values if v > 0]
        return float(np.median(above)) if above else 1.0

    standing = [pressure_of(i, [] if fixed is None else list(fixed)) for i in range(len(z))]
    pressure, picks = list(standing), []
    for _ in range(rule.iterations):
        of_value, of_pressure = (1.0, 1.0) if rule.paper_scale else (median(value), median(pressure))
        score = [value[i] / of_value - rule.weight * pressure[i] / of_pressure for i in range(len(z))]
        picks = [max((i for i in range(len(z)) if cluster[i] == c), key=lambda i: (score[i], -i))
                 for c in sorted(set(cluster.tolist()))]  # fmt: skip
        for i in range(len(z)):
            others = [z[s] for s in picks if cluster[s] != cluster[i]]
            pressure[i] = rule.momentum * pressure[i] + (1 - rule.momentum) * (pressure_of(i, others) + standing[i])
    return picks


@pytest.mark.parametrize("paper_scale", [False, True])
@pytest.mark.parametrize("nearest", [0, 2])
@pytest.mark.parametrize("labelled", [0, 4])
def test_the_regulariser_agrees_with_brute_force(paper_scale: bool, nearest: int, labelled: int) -> None:
    rng = np.random.default_rng(labelled)
    z, cluster = unit_rows(rng.normal(size=(60, 3))), rng.integers(0, 7, 60)
    fixed = unit_rows(rng.normal(size=(labelled, 3))) if labelled else None
    rule = Repulsion(4, 1.5, 0.6, 0.7, 1.2, nearest, paper_scale)
    value = rng.gamma(2, 1, 60)
    assert regularised(z, value, cluster, rule, fixed)[0].tolist() == reference(z, value, cluster, rule, fixed)


def test_without_a_regulariser_every_cluster_gives_its_densest() -> None:
    rng = np.random.default_rng(1)
    z, cluster = unit_rows(rng.normal(size=(80, 4))), rng.integers(0, 9, 80)
    value = utility(z, 6)
    for rule in (replace(PAPER, iterations=1), replace(PAPER, weight=0), Repulsion(weight=0)):
        picks = regularised(z, value, cluster, rule)[0]
        assert all(value[pick] == value[cluster == c].max() for c, pick in enumerate(picks))


def test_picks_keep_away_from_what_is_labelled() -> None:
    rng = np.random.default_rng(2)
    centers = np.eye(4)
    z = unit_rows(np.repeat(centers, 25, axis=0) + rng.normal(0, 0.2, (100, 4)))
    cluster = np.repeat(np.arange(4), 25)
    value = np.ones(100)
    fixed = z[[0, 25]]
    picks = regularised(z, value, cluster, Repulsion(iterations=1, weight=1.0), fixed)[0]
    for c in (0, 1):
        distance = ((z[cluster == c] - fixed[c]) ** 2).sum(axis=1)
        assert distance[picks[c] - 25 * c] > np.median(distance)


def test_repulsion_of_a_pick_at_the_same_place_is_finite() -> None:
    z = np.zeros((3, 2))
    assert np.isfinite(repelled(z, z[:1], None, None, PAPER)).all()


def test_median_scaling_makes_the_weight_independent_of_the_features_scale() -> None:
    rng = np.random.default_rng(3)
    z, cluster = rng.normal(size=(50, 3)), rng.integers(0, 5, 50)
    rule = Repulsion(iterations=5, weight=1.0, horizon=np.inf)
    small, large = (regularised(s * z, utility(s * z, 5), cluster, rule)[0].tolist() for s in (1.0, 30.0))
    assert small == large
    paper = replace(rule, paper_scale=True)
    small, large = (regularised(s * z, utility(s * z, 5), cluster, paper)[0].tolist() for s in (1.0, 30.0))
    assert small != large


# --- the whole -------------------------------------------------------------------------------------------------------


def test_every_group_is_asked_about_once() -> None:
    rng = np.random.default_rng(4)
    z = unit_rows(np.repeat(np.eye(6), 30, axis=0) + rng.normal(0, 0.05, (180, 6)))
    hits = []
    for seed in range(5):
        picks, _, _ = usl(z, utility(z, 10), 6, np.random.default_rng(seed))
        hits.append(len(set((picks // 30).tolist())))
    # Lloyd's algorithm from random centres may leave two groups in a cluster; k-means++ it isn't.
    assert np.mean(hits) >= 4.5
    assert max(hits) == 6


def test_more_picks_than_units_are_refused_with_both_numbers() -> None:
    with pytest.raises(DataError, match="12 picks of 9 units"):
        usl(LINE, utility(LINE, 3), 12, np.random.default_rng(0))


def test_features_that_are_no_numbers_are_refused() -> None:
    broken = LINE.copy()
    broken[2] = np.nan
    with pytest.raises(DataError, match="1 of 9 units have embeddings that are not finite"):
        unit_rows(broken)


def test_identical_features_still_give_different_units() -> None:
    z = unit_rows(np.ones((40, 3)))
    picks, cluster, _ = usl(z, utility(z, 5), 8, np.random.default_rng(0))
    assert len(set(picks.tolist())) == len(set(cluster.tolist()))
    pool = replace(pool_of(), embeddings=np.ones((240, 5), np.float32))
    assert len(run(pool, with_budget("30:regions")).picks) == 30


def test_given_seeds_are_the_first_centres() -> None:
    x = np.array([[0.0], [1.0], [10.0], [11.0]])
    labels, _ = kmeans(x, 2, np.random.default_rng(0), 0, np.array([0, 1]))
    assert labels.tolist() == [0, 1, 1, 1]


# --- the strategy ----------------------------------------------------------------------------------------------------


def test_units_without_an_embedding_are_left_out() -> None:
    pool = pool_of()
    embeddings = pool.embeddings.copy()
    embeddings[::3] = np.nan
    taken = set(keys_of(run(replace(pool, embeddings=embeddings), with_budget("50:regions"))))
    table = pool.table
    lost = {(table.scenes[table.scene[r]], int(table.frame[r]), int(table.unit[r])) for r in range(0, 240, 3)}
    assert len(taken) == 50
    assert not taken & lost
    with pytest.raises(DataError, match="nothing to choose from"):
        run(replace(pool, embeddings=np.full_like(embeddings, np.nan)))


def test_it_repeats_itself_whatever_the_order() -> None:
    pool = pool_of()
    assert keys_of(run(pool)) == keys_of(run(shuffled(pool)))
    assert keys_of(run(pool)) != keys_of(run(pool, seed=1))


def test_a_second_round_respects_the_first() -> None:
    rng = np.random.default_rng(5)
    pool = pool_of()
    # Twelve places of the space, twenty units each; the first round sees six.
    place = rng.permutation(240) % 12
    pool = replace(pool, embeddings=(4 * np.eye(12)[place] + rng.normal(0, 0.3, (240, 12))).astype(np.float32))
    config = with_budget("6:regions").updated({"usl": {"weight": 2.0}})
    first = run(pool, config)
    row = {key: r for r, key in enumerate(zip(pool.table.scene, pool.table.frame, pool.table.unit, strict=True))}

    def places(selection: Selection) -> set[int]:
        scenes = pool.table.scenes
        return {int(place[row[scenes.index(s), f, u]]) for s, f, u in keys_of(selection)}

    second = run(pool, config, History(labelled=first.picks, rounds=1))
    alone = run(pool, config, seed=0)
    assert not set(keys_of(first)) & set(keys_of(second))
    assert len(places(first) | places(second)) > len(places(first) | places(alone))


def test_cost_counts_where_asked() -> None:
    pool = pool_of()
    dear, cheap = (
        np.mean([p.points for p in run(pool, with_budget("20%").updated({"usl": {"per_cost": flag}})).picks[:25]])
        for flag in (False, True)
    )
    assert cheap < dear - 3


@pytest.mark.parametrize("budget", ["30:regions", "1500:points", "9:frames"])
def test_no_scene_takes_more_than_its_share(budget: str) -> None:
    pool = pool_of()
    config = with_budget(budget).updated({"usl": {"scene_share": 0.4}})
    selection = run(pool, config)
    for scene in "abc":
        spent = sum(pick.cost for pick in selection.picks if pick.key.scene == scene)
        assert spent <= 0.4 * selection.budget + 1e-9


def test_near_copies_are_told_by_drive_and_time() -> None:
    """All cameras of a drive are one drive; a drive alone has shorter windows."""
    from lidal3d.strategies.strategy import Ask
    from lidal3d.strategies.usl import times_of

    pool = pool_of(kind="superpixels").in_order()
    pool = replace(pool, table=replace(pool.table, scenes=("00.image_2", "00.image_3", "01.image_2")))
    ask = Ask("usl", pool, TENTH, frame_facts, History(), np.random.default_rng(0))
    times = times_of(ask, np.arange(240))
    assert times.window_ns == 5_000_000_000
    assert np.array_equal(times.ns, 2_000_000_000 * pool.table.frame.astype(np.int64))
    alone = pool.table.scene == 2
    assert times_of(ask, np.flatnonzero(alone)).window_ns == 4_500_000_000  # of 18 s
    drive = {int(s): set(times.drive[pool.table.scene == s].tolist()) for s in range(3)}
    assert drive[0] == drive[1] != drive[2]
