# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Each selection rule against a brute-force oracle written here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategy_pools import TENTH, frame_facts, pool_of, with_budget, with_columns

from lidal3d.errors import DataError, UsageError
from lidal3d.select import distances as near
from lidal3d.select.account import Account
from lidal3d.select.history import History
from lidal3d.select.kcenter import farthest_first
from lidal3d.select.kmeans import _centers, kmeans
from lidal3d.select.kmeanspp import spread
from lidal3d.select.quotas import equal_shares, proportional_shares, strata, within_quotas
from lidal3d.strategies import STRATEGIES, UnitPool
from lidal3d.strategies.annotator import turns
from lidal3d.strategies.badge import residuals
from lidal3d.strategies.cdal import confusion, contextual_diversity
from lidal3d.strategies.combine import equal_quotas, scene_of
from lidal3d.strategies.hpal import unlike
from lidal3d.strategies.portfolio import VALIDATION, portfolio
from lidal3d.strategies.redal import decay
from lidal3d.strategies.strategy import Strategy

SEEDS = st.integers(0, 10_000)


def account_of(rng: np.random.Generator, units: int) -> tuple[Account, np.ndarray, np.ndarray, int, int]:
    cost, frame = rng.integers(0, 9, units), np.sort(rng.integers(0, max(units // 3, 1), units))
    fee, limit = int(rng.integers(0, 3)), int(rng.integers(0, 40))
    return Account(cost, frame, fee, limit), cost, frame, fee, limit


def affordable(chosen: list[int], cost: np.ndarray, frame: np.ndarray, fee: int, limit: int) -> list[int]:
    """By the definition: what can be added without the whole costing more than the limit."""

    def price(rows: list[int]) -> int:
        return int(cost[rows].sum()) + fee * len(set(frame[rows].tolist()))

    return [i for i in range(len(cost)) if i not in chosen and price([*chosen, i]) <= limit]


def explicit(p: np.ndarray, f: np.ndarray) -> np.ndarray:
    """BADGE's gradient embedding, built."""
    a = np.eye(p.shape[1])[p.argmax(axis=1)] - p
    return np.einsum("kc,kd->kcd", a.astype(float), f.astype(float)).reshape(len(p), -1)


def choose(name_or_strategy: str | Strategy, pool: UnitPool, budget: str = "10%", history: History | None = None):
    strategy = STRATEGIES[name_or_strategy] if isinstance(name_or_strategy, str) else name_or_strategy
    rng = np.random.default_rng(0)
    return strategy.choose(pool, with_budget(budget), frame_facts, history or History(), rng)[0]


def rows_of(selection, pool: UnitPool) -> list[int]:
    table = pool.table
    place = {(table.scenes[table.scene[i]], int(table.frame[i]), int(table.unit[i])): i for i in range(len(table))}
    return [place[pick.key.scene, pick.key.frame, pick.key.unit] for pick in selection.picks]


def key_rows(pool: UnitPool) -> np.ndarray:
    return np.flatnonzero(pool.table.scores["is_key_frame"] > 0)


# --- account -------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.integers(1, 12))
def test_an_account_knows_what_still_fits(seed: int, units: int) -> None:
    rng = np.random.default_rng(seed)
    account, cost, frame, fee, limit = account_of(rng, units)
    chosen: list[int] = []
    while True:
        expected = affordable(chosen, cost, frame, fee, limit)
        assert np.flatnonzero(account.fits()).tolist() == expected
        assert [i for i in range(units) if account.fits_row(i)] == expected
        if not expected:
            return
        chosen.append(int(rng.choice(expected)))
        account.take(chosen[-1])


# --- distances -----------------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(SEEDS, st.integers(1, 15), st.integers(0, 9))
def test_distances_are_those_of_all_pairs(seed: int, units: int, others: int) -> None:
    rng = np.random.default_rng(seed)
    f, g = rng.normal(100, 1, (units, 4)).astype(np.float32), rng.normal(100, 1, (others, 4)).astype(np.float32)
    p = rng.dirichlet(np.full(3, 0.3), units).astype(np.float32)
    q = rng.dirichlet(np.full(3, 0.3), others).astype(np.float32)
    wide, built = f.astype(float), explicit(p, f)
    for i in range(units):
        assert near.euclidean(f)(i) == pytest.approx(((wide - wide[i]) ** 2).sum(axis=1))
        assert near.gradient(residuals(p), f)(i) == pytest.approx(
            ((built - built[i]) ** 2).sum(axis=1), rel=1e-5, abs=1e-4
        )
        assert near.divergence(p)(i) == pytest.approx(near.symmetric_kl(p, p[i]), abs=1e-9)
    assert near.gradient_norms(residuals(p), f) == pytest.approx((built**2).sum(axis=1), rel=1e-5)
    nearest = [min((((row - other) ** 2).sum() for other in g.astype(float)), default=np.inf) for row in wide]
    assert near.nearest_euclidean(f, g) == pytest.approx(nearest, rel=1e-9)
    nearest = [min((near.symmetric_kl(row, other) for other in q), default=np.inf) for row in p]
    assert near.nearest_divergence(p, q) == pytest.approx(nearest, abs=1e-9)


def test_many_labelled_units_are_compared_block_by_block() -> None:
    rng = np.random.default_rng(0)
    f, g = rng.normal(size=(1500, 2)), rng.normal(size=(5000, 2))
    expected = np.concatenate([((part[:, None] - g) ** 2).sum(axis=2).min(axis=1) for part in np.split(f, 10)])
    assert near.nearest_euclidean(f, g) == pytest.approx(expected, abs=1e-12)


def test_symmetric_divergence_of_two_confusions() -> None:
    assert near.symmetric_kl(np.array([0.7, 0.2, 0.1]), np.array([0.2, 0.7, 0.1])) == pytest.approx(0.62638, abs=1e-4)


# --- k-center, k-means++ and k-means -------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.integers(1, 25), st.integers(1, 5))
def test_k_center_is_the_naive_farthest_first_walk(seed: int, units: int, labelled: int) -> None:
    rng = np.random.default_rng(seed)
    account, *money = account_of(rng, units)
    f, seen = rng.normal(size=(units, 3)), rng.normal(size=(labelled, 3))
    order, reached = farthest_first(near.euclidean(f), near.nearest_euclidean(f, seen), account)
    expected: list[int] = []
    while fitting := affordable(expected, *money):
        covered = [*seen, *f[expected]]
        far = {i: min(((f[i] - c) ** 2).sum() for c in covered) for i in fitting}
        expected.append(max(far, key=lambda i: (far[i], -i)))
        assert reached[expected[-1]] == pytest.approx(far[expected[-1]])
    assert order.tolist() == expected


def test_coreset_starts_from_what_is_labelled() -> None:
    pool = pool_of(seed=2)
    history = History(labelled_frames=frozenset({("a", 0), ("b", 4)}))
    got = rows_of(choose("coreset", pool, "9:regions", history), pool)
    table, f = pool.table, pool.features.astype(float)
    labelled = ((table.scene == 0) & (table.frame == 0)) | ((table.scene == 1) & (table.frame == 4))
    chosen: list[int] = []
    for _ in range(9):
        covered = f[np.concatenate([np.flatnonzero(labelled), chosen]).astype(int)]
        free = [i for i in key_rows(pool) if not labelled[i] and i not in chosen]
        chosen.append(max(free, key=lambda i: ((covered - f[i]) ** 2).sum(axis=1).min()))
    assert got == chosen


def test_labelled_units_without_features_are_no_place_to_start_from() -> None:
    pool = pool_of(seed=2)
    features = pool.features.copy()
    features[:4] = np.nan
    history = History(labelled_frames=frozenset({("a", 0)}))
    got = rows_of(choose("coreset", replace(pool, features=features), "1:regions", history), pool)
    f = features.astype(float)
    free = [row for row in key_rows(pool) if row >= 8]
    assert got == [max(free, key=lambda row: ((f[4:8] - f[row]) ** 2).sum(axis=1).min())]


def test_where_nothing_is_labelled_coreset_starts_in_the_middle_and_then_goes_far() -> None:
    pool = pool_of(seed=2)
    rows = key_rows(pool)
    f = pool.features[rows].astype(float)
    first = int(((f - f.mean(axis=0)) ** 2).sum(axis=1).argmin())
    second = int(((f - f[first]) ** 2).sum(axis=1).argmax())
    selection = choose("coreset", pool, "2:regions")
    assert rows_of(selection, pool) == [rows[first], rows[second]]
    assert "nothing is labelled" in selection.picks[0].reason


@pytest.mark.parametrize("seed", range(6))
def test_equal_units_have_no_distance_at_all(seed: int) -> None:
    rng = np.random.default_rng(seed)
    p, f = np.tile(rng.dirichlet(np.ones(19)), (41, 1)), np.tile(rng.normal(3, 1, 90 + seed), (41, 1))
    for row in range(0, 41, 5):
        assert not near.gradient(residuals(p), f)(row).any()
        assert not near.euclidean(f)(row).any()
        assert not near.divergence(p)(row).any()


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.integers(1, 25))
def test_badge_draws_as_k_means_plus_plus_on_the_gradients_it_never_builds(seed: int, units: int) -> None:
    rng = np.random.default_rng(seed)
    account, *money = account_of(rng, units)
    p, f = rng.dirichlet(np.full(4, 0.5), units), rng.normal(size=(units, 5))
    g = explicit(p, f)
    first = int((g**2).sum(axis=1).argmax())
    order = spread(first, near.gradient(residuals(p), f), account, np.random.default_rng(seed))
    draws, expected = np.random.default_rng(seed), []
    while fitting := affordable(expected, *money):
        if not expected:
            expected.append(first if first in fitting else fitting[0])
            continue
        weight = np.array([
            min(((g[i] - g[j]) ** 2).sum() for j in expected) if i in fitting else 0.0 for i in range(units)
        ])  # fmt: skip
        edges = np.cumsum(weight if weight.any() else np.isin(np.arange(units), fitting).astype(float))
        expected.append(int(np.argmax(edges > draws.random() * edges[-1])))
    assert order.tolist() == expected


def test_badge_starts_with_the_longest_gradient() -> None:
    pool = pool_of(seed=3)
    rows = key_rows(pool)
    norms = (explicit(pool.probabilities[rows], pool.features[rows]) ** 2).sum(axis=1)
    assert rows_of(choose("badge", pool, "1:regions"), pool) == [rows[norms.argmax()]]


def test_k_means_plus_plus_does_not_draw_what_is_at_distance_0_before_all_else() -> None:
    f = np.repeat(np.arange(4.0), 5)[:, None]
    for seed in range(10):
        account = Account(np.ones(20, np.int64), np.zeros(20, np.int64), 0, 4)
        order = spread(0, near.euclidean(f), account, np.random.default_rng(seed))
        assert sorted(f[order, 0].tolist()) == [0, 1, 2, 3]


def test_k_means_finds_separate_groups_and_its_distances_are_to_the_means() -> None:
    rng = np.random.default_rng(1)
    truth = np.arange(90) % 3
    f = np.array([[0, 0], [50, 0], [0, 50]])[truth] + rng.normal(size=(90, 2))
    labels, distance = kmeans(f, 3, rng)
    assert len({(a, b) for a, b in zip(truth.tolist(), labels.tolist(), strict=True)}) == 3
    for cluster in range(3):
        mine = labels == cluster
        assert distance[mine] == pytest.approx(((f[mine] - f[mine].mean(axis=0)) ** 2).sum(axis=1))


def test_a_cluster_that_runs_empty_starts_anew_at_the_farthest_row() -> None:
    f = np.array([[0.0], [1.0], [5.0], [9.0]])
    got = _centers(f, np.array([0, 0, 2, 2]), np.array([0.0, 1.0, 4.0, 2.0]), 3)
    assert got.tolist() == [[0.5], [5.0], [7.0]]


@pytest.mark.parametrize(("units", "clusters"), [(0, 3), (1, 3), (5, 5), (6, 3)])
def test_k_means_of_few_or_equal_rows(units: int, clusters: int) -> None:
    labels, distance = kmeans(np.ones((units, 2)), clusters, np.random.default_rng(0))
    assert len(labels) == len(distance) == units
    assert (labels < max(clusters, 1)).all()
    assert not distance.any()


def test_medoids_are_the_units_nearest_the_centres_of_their_clusters() -> None:
    rng = np.random.default_rng(5)
    pool = pool_of()
    rows = key_rows(pool)
    group = np.zeros(240, int)
    group[rows] = np.arange(len(rows)) % 4
    f = (np.eye(6)[group] * 100 + rng.normal(size=(240, 6))).astype(np.float32)
    got = rows_of(choose("kmeans", replace(pool, features=f), "4:regions"), pool)
    expected = []
    for each in range(4):
        mine = rows[group[rows] == each]
        expected.append(mine[((f[mine] - f[mine].mean(axis=0)) ** 2).sum(axis=1).argmin()])
    assert sorted(got) == sorted(expected)


# --- one score -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "column", "sign"),
    [
        ("least_confidence", "least_confidence", -1),
        ("margin", "margin", 1),
        ("entropy", "softmax_entropy", -1),
        ("segment_entropy", "segment_entropy", -1),
        ("mc_entropy", "consensus_entropy", -1),
        ("bald", "bald", -1),
        ("vote_entropy", "vote_entropy", -1),
        ("interframe_entropy", "entropy", -1),
        ("true_loss", "true_loss", -1),
        ("hpal", "hierarchical_margin", 1),
    ],
)
def test_the_least_certain_units_come_first(name: str, column: str, sign: int) -> None:
    pool = pool_of(seed=14)
    pool = replace(pool, features=np.eye(240, 240, dtype=np.float32))  # all unlike each other
    rows = rows_of(choose(name, pool, "25:regions"), pool)
    assert rows == sorted(key_rows(pool), key=lambda row: sign * pool.table.scores[column][row])[:25]


# --- one paper each ------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.integers(1, 40), st.integers(1, 6))
def test_redals_weights_are_those_of_a_walk_from_the_best_down(seed: int, units: int, clusters: int) -> None:
    cluster = np.random.default_rng(seed).integers(0, clusters, units)
    weight, expected = np.ones(clusters), []
    for c in cluster:
        expected.append(weight[c])
        weight[c] *= 0.95
    assert decay(cluster) == pytest.approx(expected)


def test_redal_sorts_trims_decays_and_sorts_again() -> None:
    pool = pool_of(seed=6)
    rows, score = key_rows(pool), pool.table.scores["redal"]
    best = rows[np.argsort(-score[rows])][:18]  # the best tenth of 180
    f = np.zeros((240, 6), np.float32)
    f[best] = np.eye(6, dtype=np.float32)[np.arange(18) // 9]  # the better half is one kind of region, the rest another
    got = rows_of(choose("redal", replace(pool, features=f), "18:regions"), pool)
    seen, decayed = [0, 0], {}
    for place, row in enumerate(best):
        decayed[row] = score[row] * 0.95 ** seen[place // 9]
        seen[place // 9] += 1
    assert got == sorted(best, key=lambda row: -decayed[row])
    assert got != best.tolist()


def test_annotator_takes_the_best_of_every_frame_first() -> None:
    pool = pool_of(seed=7)
    got = rows_of(choose("annotator", pool, "30:regions"), pool)
    table, score = pool.table, pool.table.scores["voxel_confusion"]
    frames = {}
    for row in key_rows(pool):
        frames.setdefault((table.scene[row], table.frame[row]), []).append(row)
    by_turn = sorted(
        (turn, -score[row], row)
        for rows in frames.values()
        for turn, row in enumerate(sorted(rows, key=lambda row: -score[row]))
    )
    assert got == [row for _, _, row in by_turn[:30]]
    assert turns(np.array([0, 0, 1]), np.array([0.5, 0.5, 0.1])).tolist() == [0, 1, 0]


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.integers(1, 25))
def test_hpal_passes_over_units_near_and_alike(seed: int, units: int) -> None:
    rng = np.random.default_rng(seed)
    account, *money = account_of(rng, units)
    frame, center = money[1], rng.uniform(0, 4, (units, 3))
    direction = np.array([[1, 0], [0, 1], [0.9, np.sqrt(1 - 0.81)]])[rng.integers(0, 3, units)]
    order = rng.permutation(units)
    kept = unlike(order, frame, center, direction, 2.0, account)
    expected: list[int] = []
    for row in order.tolist():
        rivals = [
            other for other in expected
            if frame[other] == frame[row]
            and np.linalg.norm(center[other] - center[row]) < 2
            and direction[other] @ direction[row] > 0.8
        ]  # fmt: skip
        if row in affordable(expected, *money) and not rivals:
            expected.append(row)
    assert order[kept].tolist() == expected


def test_cdals_confusion_is_the_entropy_weighted_mean_of_the_units_of_a_class() -> None:
    rng = np.random.default_rng(8)
    p, frame = rng.dirichlet(np.full(3, 0.6), 40), np.sort(rng.integers(0, 5, 40))
    mean, present = confusion(p, frame, 5)
    pairs = np.zeros((5, 5))
    for i in range(5):
        for c in range(3):
            mine = p[(frame == i) & (p.argmax(axis=1) == c)]
            assert present[i, c] == (len(mine) > 0)
            if len(mine):
                weight = -(mine * np.log(mine)).sum(axis=1)
                assert mean[i, c] == pytest.approx((weight[:, None] * mine).sum(axis=0) / weight.sum())
    for i in range(5):
        for j in range(5):
            for c in np.flatnonzero(present[i] & present[j]):
                pairs[i, j] += near.symmetric_kl(mean[i, c], mean[j, c])
        assert contextual_diversity(mean, present)(i) == pytest.approx(pairs[i])


def test_certain_units_of_a_class_weigh_alike() -> None:
    mean, present = confusion(np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([0, 0]), 1)
    assert mean[0].tolist() == [[1, 0], [0, 0]]
    assert present.tolist() == [[True, False]]


def test_cdal_buys_whole_frames_farthest_from_the_labelled_ones() -> None:
    pool = pool_of(seed=9)
    history = History(labelled_frames=frozenset({("a", 0)}))
    selection = choose("cdal", pool, "1:frames", history)
    table = pool.table
    mean, present = confusion(pool.probabilities, table.scene * 10 + table.frame, 30)
    distance = contextual_diversity(mean, present)(0)
    keys = [f for f in range(1, 30) if f % 10 % 4 != 1]
    best = max(keys, key=lambda f: distance[f])
    assert {(pick.key.scene, pick.key.frame) for pick in selection.picks} == {("abc"[best // 10], best % 10)}
    assert len(selection.picks) == 8


def test_density_prefers_the_common_of_equal_entropy() -> None:
    pool = with_columns(pool_of(), softmax_entropy=np.full(240, 0.5))
    f = np.tile(np.array([1, 0, 0, 0, 0, 0], np.float32), (240, 1))
    odd = key_rows(pool)[::3]
    f[odd] = np.roll(f[odd], 1, axis=1) * -1
    selection = choose("density", replace(pool, features=f), "60:regions")
    assert not set(rows_of(selection, pool)) & set(odd.tolist())
    assert selection.picks[0].scores["density"] > 0.5


def test_the_ablations_of_lidal_change_one_thing_each() -> None:
    pool = pool_of(seed=11)
    by = {name: rows_of(choose(name, pool, "40:regions"), pool) for name in STRATEGIES if name.startswith("lidal")}
    assert by["lidal"] == by["lidal_human"]
    center = pool.table.center_m

    def pairs_too_close(rows: list[int]) -> int:
        scene, gap = pool.table.scene[rows], np.linalg.norm(center[rows][:, None] - center[rows], axis=2)
        return int(((gap < 5) & (scene[:, None] == scene)).sum()) - len(rows)

    assert pairs_too_close(by["lidal_human"]) == 0
    free = pool.table.scores["divergence"][key_rows(pool)]
    redundant = sorted(key_rows(pool)[np.isfinite(free)], key=lambda row: -pool.table.scores["entropy"][row])
    assert by["lidal_entropy"][0] == max(key_rows(pool), key=lambda row: pool.table.scores["entropy"][row])
    assert redundant
    assert np.isfinite(pool.table.scores["divergence"][by["lidal_divergence"]]).all()
    crowded = replace(pool, table=replace(pool.table, center_m=center * 0.1))
    assert pairs_too_close(rows_of(choose("lidal_human", crowded, "12:regions"), crowded)) <= 0
    center = crowded.table.center_m
    assert pairs_too_close(rows_of(choose("lidal_redundant", crowded, "40:regions"), crowded)) > 0


# --- chance --------------------------------------------------------------------------------------------------------


def test_random_units_are_all_equally_likely() -> None:
    pool = pool_of(units=24)
    counts = np.zeros(24)
    for seed in range(400):
        rng = np.random.default_rng(seed)
        selection, _ = STRATEGIES["random"].choose(pool, with_budget("4:regions"), frame_facts, History(), rng)
        counts[rows_of(selection, pool)] += 1
    rows = key_rows(pool)
    assert counts.sum() == 1600
    # 16 units, 100 times each on average, standard deviation 9.
    assert np.abs(counts[rows] - 100).max() < 45


def test_random_frames_are_bought_whole() -> None:
    pool = pool_of()
    history = History(labelled_frames=frozenset({("b", 3)}))
    selection = choose("random_frames", pool, "30%", history)
    frames = [(pick.key.scene, pick.key.frame) for pick in selection.picks]
    assert all(frames.count(frame) == 8 for frame in frames)


def test_random_frames_come_in_the_order_they_were_drawn_with_their_small_units() -> None:
    pool = pool_of()
    pool = replace(pool, table=replace(pool.table, points=np.where(np.arange(240) % 8 == 3, 2, pool.table.points)))
    selection = choose("random_frames", pool, "4:frames")
    keys = sorted({(pool.table.scene[row], pool.table.frame[row]) for row in key_rows(pool)})
    drawn = [keys[place] for place in np.random.default_rng(0).permutation(len(keys))[:4]]
    assert [(pick.key.scene, pick.key.frame) for pick in selection.picks[::8]] == [("abc"[s], f) for s, f in drawn]
    assert sorted(pick.key.unit for pick in selection.picks) == sorted(list(range(8)) * 4)


def test_stratified_chance_gives_every_scene_its_share() -> None:
    pool = pool_of()
    selection = choose("random_stratified", pool, "30:regions")
    scenes = [pick.key.scene for pick in selection.picks]
    assert [scenes.count(scene) for scene in "abc"] == [10, 10, 10]


def test_whole_frames_that_no_budget_pays_for_are_refused_with_both_numbers() -> None:
    with pytest.raises(UsageError, match=r"'random_frames' buys whole frames: the smallest costs .* the budget is 90"):
        choose("random_frames", pool_of(), "90:points")


# --- combinations --------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.integers(1, 25))
def test_quotas_are_a_walk_with_a_purse_for_each_group(seed: int, units: int) -> None:
    rng = np.random.default_rng(seed)
    cost, group, order = rng.integers(0, 9, units), rng.integers(0, 3, units), rng.permutation(units)
    limits = rng.integers(0, 30, 3)
    taken = within_quotas(order, cost, group, limits)
    purse = {g: [] for g in range(3)}
    for row, is_taken in zip(order, taken, strict=True):
        assert is_taken == (sum(purse[group[row]]) + cost[row] <= limits[group[row]])
        if is_taken:
            purse[group[row]].append(cost[row])


def test_shares_of_groups() -> None:
    assert equal_shares(np.array([0, 3, 3]), 11).tolist() == [5, 0, 0, 5]
    assert proportional_shares(np.array([0, 1, 1]), np.array([10, 20, 10]), 10).tolist() == [2, 7]
    assert strata(np.array([0.5, 10, 39, 40, np.nan]), (10.0, 20.0, 40.0)).tolist() == [0, 1, 2, 3, 3]


@pytest.mark.parametrize(("name", "groups"), [("entropy_class_quota", 4), ("entropy_range_quota", 4)])
def test_every_group_has_its_part_of_the_budget(name: str, groups: int) -> None:
    pool = pool_of(seed=12)
    selection = choose(name, pool, "40:regions")
    rows, table = rows_of(selection, pool), pool.table
    group = table.scores["predicted_class"].astype(int)
    if name == "entropy_range_quota":
        group = np.searchsorted([10, 20, 40], table.scores["range_m"], side="right")
    for each in range(groups):
        mine = [row for row in key_rows(pool) if group[row] == each]
        best = sorted(mine, key=lambda row: -table.scores["softmax_entropy"][row])[: 40 // groups]
        assert set(best) <= set(rows)


def test_what_a_group_leaves_over_goes_to_the_others() -> None:
    pool = with_columns(pool_of(), predicted_class=np.where(np.arange(240) == 0, 1.0, 0.0))
    selection = choose("entropy_class_quota", pool, "20:regions")
    assert len(selection.picks) == 20
    assert 0 in rows_of(selection, pool)


def test_no_scene_has_more_than_twice_its_part() -> None:
    pool = pool_of()
    pool = with_columns(pool, softmax_entropy=np.where(pool.table.scene == 1, 2.0, 1.0))
    selection = choose("entropy_scene_cap", pool, "30:regions")
    scenes = [pick.key.scene for pick in selection.picks]
    assert [scenes.count(scene) for scene in "abc"] == [10, 20, 0]


def test_the_score_for_its_cost_takes_small_units_first() -> None:
    pool = pool_of()
    pool = with_columns(pool, softmax_entropy=np.full(240, 0.5))
    rows = rows_of(choose("entropy_per_cost", pool), pool)
    cheapest = np.sort(pool.table.points[key_rows(pool)])[: len(rows) - 1]
    assert sorted(pool.table.points[rows])[:-1] == cheapest.tolist()


def test_what_a_second_buys_is_said() -> None:
    selection = choose("entropy_per_cost", pool_of(), "100:seconds")
    pick = selection.picks[0]
    value = pick.scores["softmax_entropy"] / (20 + pick.points / 100)
    assert pick.reason.endswith(f"; {value:.3g} for one of its seconds")


def test_diverse_units_are_taken_among_the_uncertain_ones() -> None:
    pool = pool_of(seed=13)
    rows = set(rows_of(choose("entropy_coreset", pool, "6:regions"), pool))
    best = sorted(key_rows(pool), key=lambda row: -pool.table.scores["softmax_entropy"][row])
    assert rows <= set(best[:31])
    assert rows != set(best[:6])


def test_a_portfolio_spends_by_shares_and_never_twice_on_one_unit() -> None:
    selection = choose("portfolio", pool_of(), "40:regions")
    reasons = [pick.reason for pick in selection.picks]
    assert len({pick.key for pick in selection.picks}) == 40
    assert [reason == "drawn at random" for reason in reasons] == [False] * 32 + [True] * 8
    assert sum("feature distance" in reason for reason in reasons) == 12


def test_a_frame_that_two_parts_take_from_is_paid_once() -> None:
    pool = pool_of()
    crowded = replace(pool, table=replace(pool.table, center_m=pool.table.center_m * 0.02))
    both = portfolio("both", "-", "-", ((STRATEGIES["lidal_human"], 0.5), (STRATEGIES["random"], 0.5)))
    selection = choose(both, crowded, "20:frames")
    frames = [(pick.key.scene, pick.key.frame) for pick in selection.picks]
    first = next(place for place, pick in enumerate(selection.picks) if pick.reason == "drawn at random")
    assert set(frames[:first]) & set(frames[first:])
    assert selection.used == len(set(frames)) == sum(pick.cost for pick in selection.picks)


def test_a_part_that_finds_nothing_leaves_its_share_to_the_next() -> None:
    blind = with_columns(pool_of(), margin=np.full(240, np.nan))
    both = portfolio("both", "-", "-", ((STRATEGIES["margin"], 0.5), (STRATEGIES["random"], 0.5)))
    assert len(choose(both, blind, "10:regions").picks) == 10
    few = with_columns(pool_of(), margin=np.where(np.arange(240) < 3, 0.5, np.nan))
    selection = choose(both, few, "10:regions")
    assert ["margin" in pick.reason for pick in selection.picks] == [True] * 3 + [False] * 7
    alone = portfolio("alone", "-", "-", ((STRATEGIES["margin"], 1.0),))
    with pytest.raises(DataError, match="none of its parts finds anything"):
        choose(alone, blind, "10:regions")


def test_an_error_of_a_part_is_not_swallowed() -> None:
    broken = portfolio("broken", "-", "-", ((STRATEGIES["random_stratified"], 0.5), (STRATEGIES["random"], 0.5)))
    assert broken.currencies == ("points", "regions", "boxes", "seconds")
    with pytest.raises(UsageError, match="can't spend frames"):
        choose(broken, pool_of(), "3:frames")
    paper = TENTH.updated({"select": {"rule": "paper", "budget": "3:frames"}})
    with pytest.raises(UsageError, match="paper"):
        STRATEGIES["portfolio"].choose(pool_of(), paper, frame_facts, History(), np.random.default_rng(0))


def test_a_tenth_is_drawn_at_random_and_marked() -> None:
    pool = pool_of()
    selection, pseudo = STRATEGIES["lidal_validated"].choose(
        pool, with_budget("30:regions"), frame_facts, History(), np.random.default_rng(0)
    )
    drawn = [pick.scores[VALIDATION] for pick in selection.picks]
    assert drawn[:3] == [1, 1, 1]
    assert not any(drawn[3:])
    assert [pick.reason == "drawn at random" for pick in selection.picks[:4]] == [True, True, True, False]
    assert not {pick.key for pick in pseudo.picks} & {pick.key for pick in selection.picks}


def test_a_quota_of_ones_own_is_one_line() -> None:
    strategy = Strategy("margin_by_scene", "-", "-", equal_quotas("divergence", scene_of))
    scenes = [pick.key.scene for pick in choose(strategy, pool_of(), "12:regions").picks]
    assert [scenes.count(scene) for scene in "abc"] == [4, 4, 4]


def test_the_example_in_the_documentation_runs() -> None:
    text = (Path(__file__).parents[1] / "docs" / "strategies.md").read_text(encoding="utf-8")
    code = text.split("```python\n")[1].split("```")[0]
    names = {
        "pool": pool_of(),
        "config": with_budget("20:regions"),
        "frame_facts": frame_facts,
        "history": History(),
        "rng": np.random.default_rng(0),
    }
    exec(code, names)
    assert len(names["selection"].picks) == 20  # type: ignore[attr-defined]
    assert names["mixed"].needs == {"poses", "features"}  # type: ignore[attr-defined]
