# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Attention filter, exact nearest distances, and sampling at pattern level against naive versions of all of it."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lidal3d.scores.attention_filter import attended
from lidal3d.select import nearest as nearest_module
from lidal3d.select.account import Account
from lidal3d.select.cover import Cover
from lidal3d.select.kcenter import farthest_first, farthest_units, one_each
from lidal3d.select.nearest import Nearest
from lidal3d.select.patterns import PatternCover, drawn_units, pattern_set, unit_vectors


def patterns_of(units: int, per_unit: int = 3, width: int = 6, seed: int = 0) -> np.ndarray:
    """(N, K, E) clustered patterns, some units with fewer than K."""
    rng = np.random.default_rng(seed)
    centers = rng.normal(size=(5, width))
    found = centers[rng.integers(0, 5, (units, per_unit))] + 0.3 * rng.normal(size=(units, per_unit, width))
    fewer = rng.integers(1, per_unit + 1, units)
    found[np.arange(per_unit) >= fewer[:, None]] = np.nan
    return found.astype(np.float32)


def of_units(count: int, limit: int) -> Account:
    return Account(np.ones(count, np.int64), np.arange(count), 0, limit)


def naive_distances(patterns: np.ndarray, chosen: list[int]) -> np.ndarray:
    """(N, K) D of every pattern, NaN where there is none."""
    unit = patterns / np.linalg.norm(patterns.astype(np.float64), axis=2, keepdims=True)
    others = unit[chosen].reshape(-1, patterns.shape[2])
    others = others[np.isfinite(others).all(axis=1)]
    return (1 - np.einsum("nke,je->nkj", unit, others)).min(axis=2)


def drawn(patterns: np.ndarray, limit: int, seed: int = 0, block: int = 1 << 21) -> list[int]:
    cover = PatternCover([pattern_set(patterns)], block)
    return drawn_units(cover, of_units(len(patterns), limit), np.random.default_rng(seed)).tolist()


def farthest(patterns: np.ndarray, limit: int, first: int = 0, block: int = 1 << 21) -> list[int]:
    cover = PatternCover([pattern_set(patterns)], block)
    return farthest_units(cover, of_units(len(patterns), limit), first)[0].tolist()


# --- attention filter ----------------------------------------------------------------------------------------------


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40), st.floats(0, 1))
def test_what_is_kept_holds_the_share(weights, share):
    weight = np.array(weights)
    kept = attended(weight, share)
    assert kept.any()
    weight = weight if weight.sum() > 0 else np.ones_like(weight)
    assert weight[kept].min() >= weight[~kept].max(initial=0)
    assert weight[kept].sum() >= share * weight.sum() - 1e-9
    # One patch less would hold less than the share.
    assert weight[kept].sum() - weight[kept].min() <= share * weight.sum() + 1e-9


def test_a_share_of_one_keeps_all_and_of_none_one():
    weight = np.array([0.0, 0.1, 0.5, 0.4, 0.0])
    assert attended(weight, 1).all()
    assert np.flatnonzero(attended(weight, 0)).tolist() == [2]
    assert np.flatnonzero(attended(weight, 0, np.eye(5) * [1, 9, 1, 1, 1])).tolist() == [1]
    assert attended(np.zeros(4), 0.5).tolist() == [False, False, True, True]
    assert not len(attended(np.empty(0), 0.5))


# --- distances -----------------------------------------------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 300), st.integers(1, 40), st.integers(1, 50), st.floats(-20, 20), st.integers(0, 9))
def test_nearest_is_the_least_of_all_pairs(count, width, others, offset, seed):
    rng = np.random.default_rng(seed)
    x = (rng.normal(size=(count, width)) + offset).astype(np.float32)
    y = (rng.normal(size=(others, width)) * 3 + offset).astype(np.float32)
    nearest = Nearest(x)
    nearest.tell(y[: others // 2])
    nearest.tell(y[others // 2 :])
    expected = ((x[:, None].astype(np.float64) - y[None]) ** 2).sum(axis=2).min(axis=1)
    assert nearest.squared == pytest.approx(expected, rel=1e-12)
    assert nearest.between(0, y) == pytest.approx(expected[0], rel=1e-12)


@pytest.mark.parametrize("width", [64, 32, 16, 8])
@pytest.mark.parametrize("block", [1 << 21, 1000])
def test_no_number_of_axes_and_no_block_changes_a_bit(monkeypatch, width, block):
    monkeypatch.setattr(nearest_module, "MANY", 1)
    monkeypatch.setattr(nearest_module, "COMPUTED", 0)  # the fewest axes
    rng = np.random.default_rng(0)
    x = unit_vectors(rng.normal(size=(700, 4)) @ rng.normal(size=(4, 64)) + 0.2 * rng.normal(size=(700, 64)) + 1)
    plain, other = Nearest(x, [64]), Nearest(x, [64, width], block)
    for first in range(0, 90, 30):
        plain.tell(x[first : first + 30])
        other.tell(x[first : first + 30])
        assert (plain.squared == other.squared).all()
        assert (plain.squared[: first + 30] == 0).all()
    assert other.width == width


@pytest.mark.parametrize("size", [2.0**-60, 2.0**60, 2.0**100])
@pytest.mark.parametrize("stray", [1, 1000])
def test_any_size_of_vectors_can_be_compared(size, stray):
    x = np.random.default_rng(0).normal(size=(80, 12)).astype(np.float32)
    x[7] *= stray
    nearest = Nearest(x * np.float32(size))
    nearest.tell(nearest.vectors[::9])
    expected = ((x[:, None].astype(np.float64) - x[None, ::9]) ** 2).sum(axis=2).min(axis=1)
    assert nearest.squared / size**2 == pytest.approx(expected, rel=1e-9)


def test_no_number_of_threads_changes_a_bit(monkeypatch):
    x = unit_vectors(np.random.default_rng(0).normal(size=(500, 20)))
    one, three = Nearest(x), Nearest(x)
    one.tell(x[::7])
    monkeypatch.setattr(nearest_module, "FEW", 1)
    monkeypatch.setattr(nearest_module, "get_num_threads", lambda: 3)
    three.tell(x[::7])
    assert np.isfinite(one.squared).all()
    assert one.squared.tobytes() == three.squared.tobytes()


def test_equal_vectors_have_no_distance_whatever_their_length():
    vector = np.random.default_rng(0).normal(size=(1, 384))
    same = unit_vectors(np.concatenate([vector, vector, vector * 2.0**70, vector * 2.0**-70]))
    nearest = Nearest(same)
    nearest.tell(same[:1])
    assert (nearest.squared == 0).all()


# --- sampling ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", [drawn, farthest])
def test_what_is_chosen_is_covered(rule):
    patterns = patterns_of(60)
    cover = PatternCover([pattern_set(patterns)])
    order = rule(patterns, 10)
    for unit in order:
        cover.choose(unit)
    cover.settle()
    distance = naive_distances(patterns, order)
    found = cover.nearest[0].squared / 2
    assert found == pytest.approx(distance[np.isfinite(distance)], abs=1e-6)
    assert (found[np.isin(cover.sets[0].unit, order)] == 0).all()


@pytest.mark.parametrize("rule", [drawn, farthest])
def test_identical_units_are_not_both_chosen_while_anything_else_is_left(rule):
    patterns = np.repeat(patterns_of(30), 2, axis=0)
    order = rule(patterns, 30)
    assert sorted(unit // 2 for unit in order) == list(range(30))
    assert sorted(rule(patterns, 60)) == list(range(60))


@pytest.mark.parametrize("rule", [drawn, farthest])
@pytest.mark.parametrize("units", [40, 900])
def test_a_smaller_budget_is_a_prefix_and_blocks_change_nothing(rule, units):
    patterns = patterns_of(units, 4, 16, seed=3)
    order = rule(patterns, units // 2)
    assert len(set(order)) == units // 2
    for limit in (1, 2, 7, units // 3):
        assert rule(patterns, limit) == order[:limit]
    for block in (1, 97, 4096):
        assert rule(patterns, units // 2, block=block) == order
    assert (rule(patterns, 5, 1) != order[:5]) == (rule is drawn or order[0] != 1)


def test_farthest_is_the_naive_walk():
    patterns = patterns_of(300, 3, 8, seed=5)
    order = farthest(patterns, 120)
    naive = [0]
    while len(naive) < 120:
        naive.append(int(np.nanmax(naive_distances(patterns, naive), axis=1).argmax()))
    assert order == naive


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 120), st.integers(0, 5), st.integers(0, 99))
def test_k_center_of_features_is_the_naive_walk(units, labelled, seed):
    rng = np.random.default_rng(seed)
    features = rng.integers(-2, 3, (units, 3)).astype(np.float32)  # many are equal, and many distances are
    seen = rng.integers(-2, 3, (labelled, 3)).astype(np.float32)
    cost, frame = rng.integers(1, 4, units), np.sort(rng.integers(0, 9, units))
    cover = Cover([one_each(features)])
    cover.cover([seen])
    order, reached = farthest_units(cover, Account(cost, frame, 2, units), 0)
    nearest = np.full(units, np.inf) if not labelled else ((features[:, None] - seen) ** 2.0).sum(axis=2).min(axis=1)
    naive, at = farthest_first(
        lambda row: ((features - features[row]) ** 2.0).sum(axis=1), nearest, Account(cost, frame, 2, units)
    )
    assert order.tolist() == naive.tolist()
    assert np.allclose(reached, at, rtol=1e-9, equal_nan=True)


def test_one_pattern_a_unit_is_k_center_of_units():
    patterns = patterns_of(200, 1, 8)
    vectors = unit_vectors(patterns[:, 0])
    nearest = np.full(200, np.inf)
    order, _ = farthest_first(
        lambda row: ((vectors.astype(np.float64) - vectors[row]) ** 2).sum(axis=1), nearest, of_units(200, 80)
    )
    assert farthest(patterns, 80) == order.tolist()


def test_draws_follow_the_law():
    """Of three units drawn of five, how often each triple comes, against its chance by the definition."""
    patterns = patterns_of(5, 2, 3, seed=1)
    chance = {}
    for a in range(5):
        after_a = np.nansum(naive_distances(patterns, [a]) ** 2, axis=1)
        for b in set(range(5)) - {a}:
            after_b = np.nansum(naive_distances(patterns, [a, b]) ** 2, axis=1)
            for c in set(range(5)) - {a, b}:
                chance[a, b, c] = after_a[b] / after_a.sum() * after_b[c] / after_b.sum() / 5
    assert sum(chance.values()) == pytest.approx(1)
    runs = 2500
    found = Counter(tuple(drawn(patterns, 3, seed)) for seed in range(runs))
    chi2 = sum((found[key] - runs * p) ** 2 / (runs * p) for key, p in chance.items() if p * runs > 1)
    assert chi2 < 110  # 60 triples: 99.99 % of the law lie below


def test_a_late_draw_follows_the_law_though_bounds_are_old():
    """After 64 units eight wait at a time: the last of them is as likely as the definition says."""
    patterns = patterns_of(90, 2, 3, seed=2)
    runs, hits, expected = 300, 0.0, 0.0
    for seed in range(runs):
        order = drawn(patterns, 72, seed)
        law = np.nansum(naive_distances(patterns, order[:-1]) ** 2, axis=1)
        law /= law.sum()
        # How likely what came was, on average, is known from the law alone.
        hits += law[order[-1]]
        expected += (law**2).sum()
    assert hits / runs == pytest.approx(expected / runs, rel=0.25)


def test_a_warm_start_is_covered_and_not_changed():
    patterns = patterns_of(50)
    labelled = pattern_set(patterns[:5]).vectors
    before = labelled.copy()
    cover = PatternCover([pattern_set(patterns[5:])])
    cover.cover([labelled])
    order, reached = farthest_units(cover, of_units(45, 10), 0)
    assert (labelled == before).all()
    naive: list[int] = []
    while len(naive) < 10:
        naive.append(
            int(np.nanmax(naive_distances(patterns, [*range(5), *(5 + unit for unit in naive)])[5:], axis=1).argmax())
        )
    assert order.tolist() == naive
    assert (np.diff(reached[order]) <= 1e-12).all()


@pytest.mark.parametrize("rule", [drawn, farthest])
def test_poor_patterns(rule):
    same = np.ones((7, 2, 4), np.float32)
    assert sorted(rule(same, 7)) == list(range(7))
    assert len(rule(same, 3)) == 3
    assert rule(same[:1], 1) == [0]
    holes = patterns_of(20)
    holes[3], holes[4], holes[5, 1] = np.nan, 0, np.inf
    order = rule(holes, 18, *([0] if rule is farthest else []))
    # What has no pattern covers nothing, and comes last.
    assert set(order) == set(range(20)) - {3, 4}


def test_several_sets_are_added_up():
    camera, lidar = patterns_of(40, 2, 5, seed=1), patterns_of(40, 3, 9, seed=2)
    lidar[30:] = np.nan  # no LiDAR there
    cover = PatternCover([pattern_set(camera), pattern_set(lidar)])
    order, _ = farthest_units(cover, of_units(40, 20), 7)
    scale = [np.nansum(naive_distances(one, [7]) ** 2) for one in (camera, lidar)]
    naive = [7]
    while len(naive) < 20:
        worth = sum(
            np.nan_to_num(np.nanmax(np.nan_to_num(naive_distances(one, naive), nan=0) ** 2, axis=1)) / part
            for one, part in zip((camera, lidar), scale, strict=True)
        )
        naive.append(int(worth.argmax()))
    assert order.tolist() == naive
    both = [PatternCover([pattern_set(camera), pattern_set(lidar)], block) for block in (1 << 21, 50)]
    first, second = (drawn_units(one, of_units(40, 25), np.random.default_rng(4)) for one in both)
    assert first.tolist() == second.tolist()
    assert len(set(first.tolist())) == 25


def test_no_frame_gives_more_than_its_part():
    patterns = patterns_of(60)
    frame = np.arange(60) // 10
    for rule in ("prob", "FDS"):
        account, cover = (
            Account(np.ones(60, np.int64), frame, 0, 60, most_a_frame=3),
            PatternCover([pattern_set(patterns)]),
        )
        order = (
            drawn_units(cover, account, np.random.default_rng(0))
            if rule == "prob"
            else farthest_units(cover, account, 0)[0]
        )
        assert np.bincount(frame[order]).tolist() == [3] * 6
