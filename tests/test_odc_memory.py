# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Online deep clustering's memory, rule by rule against the rule written out, and the votes of tracks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lidal3d.errors import DataError
from lidal3d.learn.pretrain.odc_memory import OdcMemory, class_weights
from lidal3d.learn.pretrain.track_vote import HardVote, swapped_targets


def blobs(rng: np.random.Generator, groups: int, each: int, dim: int = 6, noise: float = 0.05) -> np.ndarray:
    """Features round `groups` directions, group after group."""
    middles = np.linalg.qr(rng.normal(size=(dim, dim)))[0][:groups]
    return np.repeat(middles, each, axis=0) + rng.normal(0, noise, (groups * each, dim))


def memory_of(seed: int = 0, clusters: int = 4, samples: int = 60, **options: object) -> OdcMemory:
    rng = np.random.default_rng(seed)
    return OdcMemory(rng.normal(size=(samples, 6)), clusters, rng, **{"min_cluster": 1, **options})  # type: ignore[arg-type]


def normed(rows: np.ndarray) -> np.ndarray:
    return np.array([row / np.sqrt(sum(x * x for x in row)) for row in rows])


# --- the start -----------------------------------------------------------------------------------------------------


def test_it_starts_with_unit_features_no_empty_cluster_and_means_as_centroids() -> None:
    features = blobs(np.random.default_rng(1), 4, 15)
    memory = OdcMemory(features * 7, 4, np.random.default_rng(0))
    np.testing.assert_allclose(memory.bank, normed(features), atol=1e-6)
    assert sorted(np.bincount(memory.labels)) == [15, 15, 15, 15]
    assert all(len(set(memory.labels[15 * k : 15 * k + 15].tolist())) == 1 for k in range(4))
    for cluster in range(4):
        mean = memory.bank[memory.labels == cluster].mean(axis=0)
        np.testing.assert_allclose(memory.centroids[cluster], mean, atol=1e-6)
        assert np.linalg.norm(memory.centroids[cluster]) < 1 - 1e-4  # not normalised again


def test_equal_features_are_split_all_the_same() -> None:
    memory = OdcMemory(np.ones((40, 3)), 4, np.random.default_rng(0), min_cluster=5)
    assert (np.bincount(memory.labels, minlength=4) >= 1).all()


@pytest.mark.parametrize(
    ("features", "words"),
    [
        (np.ones((9, 3)), "2 clusters of 5 samples need 10, there are 9"),
        (np.full((20, 3), np.nan), "20 of 20 samples are not finite"),
        (np.empty((0, 3)), "there are 0"),
    ],
)
def test_what_cannot_be_clustered_is_refused(features: np.ndarray, words: str) -> None:
    with pytest.raises(DataError, match=words):
        OdcMemory(features, 2, np.random.default_rng(0), min_cluster=5)


def test_features_that_blow_up_are_refused() -> None:
    with pytest.raises(DataError, match="no longer finite"):
        memory_of().update(np.array([3]), np.full((1, 6), np.inf))


# --- the rules -----------------------------------------------------------------------------------------------------


@given(st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_bank_and_labels_follow_the_rule(seed: int) -> None:
    memory, rng = memory_of(seed), np.random.default_rng(seed)
    bank, labels, centroids = memory.bank.copy(), memory.labels.copy(), memory.centroids.copy()
    samples, features = rng.permutation(60)[:8], rng.normal(size=(8, 6)) * 3
    targets = memory.labels[samples].copy()
    changed = memory.update(samples, features)
    expected = bank.astype(np.float64)
    for place, one in enumerate(samples.tolist()):
        mixed = 0.5 * bank[one] + 0.5 * normed(features[place : place + 1])[0]
        expected[one] = mixed / np.linalg.norm(mixed)
        labels[one] = max(range(4), key=lambda k: centroids[k] @ expected[one])  # the centroids of before
    np.testing.assert_allclose(memory.bank, expected, atol=1e-6)
    # No cluster ran empty in this step, or its number was given away by the rule tested below.
    if (np.bincount(labels, minlength=4) > 0).all():
        assert memory.labels.tolist() == labels.tolist()
        assert changed == np.mean(targets != labels[samples])
    others = np.setdiff1d(np.arange(60), samples)
    assert (memory.bank[others] == bank[others]).all()


def test_weights_by_hand_and_empty_clusters_weigh_nothing() -> None:
    labels = np.array([0] * 4 + [2] * 16)
    weights = class_weights(labels, 3)
    assert weights[1] == 0
    assert weights[0] / weights[2] == pytest.approx(2, rel=1e-5)  # √(16 / 4)
    assert weights[labels].mean() == pytest.approx(1, rel=1e-5)
    unmasked = (np.bincount(labels, minlength=3) + 1e-5) ** -0.5
    assert unmasked[1] / unmasked.sum() > 0.99  # what the mask is for


def test_centroids_are_made_anew_every_tenth_iteration_only() -> None:
    memory, rng = memory_of(clusters=3, samples=90), np.random.default_rng(5)
    before = memory.centroids.copy()
    for iteration in range(1, 21):
        memory.update(rng.permutation(90)[:4], rng.normal(size=(4, 6)))
        if iteration % 10:
            np.testing.assert_array_equal(memory.centroids, before)
            continue
        expected = [memory.bank[memory.labels == k].astype(np.float64).mean(axis=0) for k in range(3)]
        np.testing.assert_allclose(memory.centroids, expected, atol=1e-12)
        assert not np.allclose(memory.centroids, before)
        before = memory.centroids.copy()


def test_a_small_cluster_is_dissolved_and_the_largest_is_split() -> None:
    """Two sharp groups in the largest cluster; a cluster that fell below 5 goes to its nearest other one."""
    rng = np.random.default_rng(2)
    features = blobs(rng, 5, 10, noise=0.01)
    memory = OdcMemory(features, 4, rng, min_cluster=5)
    group = np.repeat(np.arange(5), 10)
    memory.labels = np.array([0, 0, 1, 2, 3])[group]  # groups 0 and 1 are one cluster
    memory.labels[-7:] = 2  # group 4 has three left of its own
    memory.centroids = np.array([memory.bank[memory.labels == k].mean(axis=0) for k in range(4)], np.float64)
    own = [max(range(4), key=lambda k: memory.centroids[k] @ memory.bank[i]) for i in range(40, 43)]
    nearest = [max(range(3), key=lambda k: memory.centroids[k] @ memory.bank[i]) for i in range(40, 43)]
    assert (own, nearest) == ([3] * 3, [2] * 3)
    memory.update(np.array([], np.int64), np.empty((0, 6)))
    assert memory.labels[40:].tolist() == [2] * 10
    halves = memory.labels[:10].tolist(), memory.labels[10:20].tolist()
    assert {frozenset(half) for half in halves} == {frozenset([0]), frozenset([3])}  # split where it was two groups
    assert memory.labels[20:40].tolist() == [1] * 10 + [2] * 10
    for k in (0, 3):
        np.testing.assert_allclose(memory.centroids[k], memory.bank[memory.labels == k].mean(axis=0), atol=1e-6)


@given(st.integers(0, 10_000), st.integers(1, 6), st.booleans())
@settings(max_examples=20, deadline=None)
def test_whatever_comes_no_cluster_is_empty_and_every_label_is_one(seed: int, clusters: int, collapse: bool) -> None:
    rng = np.random.default_rng(seed)
    track = np.arange(36) // 4
    memory = OdcMemory(rng.normal(size=(36, 4)), clusters, rng, min_cluster=3, vote=HardVote(track))
    for _ in range(12):
        seen = rng.permutation(36)[:9]
        memory.update(seen, np.ones((9, 4)) if collapse else rng.normal(size=(9, 4)))
        count = np.bincount(memory.labels, minlength=clusters)
        assert len(count) == clusters
        assert (count > 0).all()
        np.testing.assert_allclose(np.linalg.norm(memory.bank, axis=1), 1, atol=1e-5)


def test_the_same_seed_gives_the_same_memory() -> None:
    def run(seed: int) -> OdcMemory:
        rng, drawn = np.random.default_rng(seed), np.random.default_rng(9)
        memory = OdcMemory(np.ones((60, 6)), 5, rng, min_cluster=4)  # halves are drawn at random
        for _ in range(11):
            memory.update(drawn.permutation(60)[:10], np.ones((10, 6)) + drawn.normal(0, 0.1, (10, 6)))
        return memory

    one, same, other = run(3), run(3), run(4)
    assert one.labels.tolist() == same.labels.tolist()
    assert one.centroids.tobytes() == same.centroids.tobytes()
    assert one.labels.tolist() != other.labels.tolist()


# --- the votes -----------------------------------------------------------------------------------------------------


@given(st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_the_hard_vote_against_the_rule(seed: int) -> None:
    rng = np.random.default_rng(seed)
    bank = normed(rng.normal(size=(40, 3))).astype(np.float32)
    centroids, labels = rng.normal(size=(4, 3)), rng.integers(0, 4, 40)
    track, samples = rng.integers(-1, 8, 40), rng.permutation(40)[:10]
    voted = HardVote(track, 0.3, 3)(bank, centroids, labels.copy(), samples)
    expected = labels.copy()
    for one in set(track[samples].tolist()) - {-1}:
        members = [i for i in range(40) if track[i] == one]
        mean = bank[members].astype(np.float64).sum(axis=0)
        mean /= np.linalg.norm(mean)
        voters = [i for i in members if bank[i] @ mean >= 0.3]
        if len(voters) >= 3:
            of_voters = bank[voters].astype(np.float64).sum(axis=0)
            expected[voters] = (centroids @ (of_voters / np.linalg.norm(of_voters))).argmax()
    assert voted.tolist() == expected.tolist()


def test_a_wrong_member_neither_sways_the_vote_nor_is_relabelled() -> None:
    x, y = np.eye(2, dtype=np.float32)
    bank, centroids = np.array([x, x, x, -x, y]), np.array([x, y, -x], np.float64)
    track = np.array([0, 0, 0, 0, 1])
    labels = np.array([0, 1, 0, 2, 1])
    assert HardVote(track, 0.0, 3)(bank, centroids, labels, np.array([0])).tolist() == [0, 0, 0, 2, 1]
    assert HardVote(track, -1.0, 3)(bank, centroids, labels, np.array([0])).tolist() == [0, 0, 0, 0, 1]
    assert HardVote(track, 0.0, 4)(bank, centroids, labels, np.array([0])).tolist() == labels.tolist()  # too few
    assert HardVote(track, 0.0, 1)(bank, centroids, labels, np.array([4])).tolist() == labels.tolist()  # not seen


def test_a_vote_makes_a_track_one_label_in_the_memory() -> None:
    rng = np.random.default_rng(0)
    features, track = blobs(rng, 3, 20, noise=0.3), np.repeat(np.arange(15), 4)
    memory = OdcMemory(features, 3, rng, min_cluster=1, vote=HardVote(track, -1.0))
    memory.update(np.arange(0, 60, 4), features[::4])
    count = np.bincount(memory.labels, minlength=3)
    assert count.min() > 0
    assert all(len(set(memory.labels[track == one].tolist())) == 1 for one in range(15))


def test_pairs_swap_their_labels() -> None:
    labels = np.array([5, 6, 7, 8, 9])
    samples, track = np.array([0, 3, 1, 4, 2]), np.array([2, 2, -1, 7, -1])
    assert swapped_targets(labels, samples, track).tolist() == [8, 5, 6, 9, 7]
    three = swapped_targets(labels, np.array([0, 1, 2]), np.array([4, 4, 4]))
    assert three.tolist() == [6, 7, 5]
    assert labels.tolist() == [5, 6, 7, 8, 9]
