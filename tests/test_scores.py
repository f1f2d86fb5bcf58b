# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Score kernels against plain numpy, and the columns of a sweep's units against loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lidal3d.errors import DataError, UsageError
from lidal3d.scores import mc_dropout
from lidal3d.scores.cells import cells_of
from lidal3d.scores.columns import NAMES, frame_unit_scores
from lidal3d.scores.density import density, near_in_time
from lidal3d.scores.entropy import entropy
from lidal3d.scores.hierarchical_margin import hierarchical_margin
from lidal3d.scores.least_confidence import least_confidence
from lidal3d.scores.margin import margin
from lidal3d.scores.redal import redal_score
from lidal3d.scores.segment_entropy import histogram_entropy
from lidal3d.scores.surface_variation import surface_variation
from lidal3d.scores.true_loss import true_loss
from lidal3d.scores.vote_entropy import vote_entropy
from lidal3d.scores.voxel_confusion import voxel_confusion


def some_probabilities(rng: np.random.Generator, points: int, classes: int = 5) -> np.ndarray:
    """Rows that sum to 1, some of them one-hot."""
    rows = rng.dirichlet(np.full(classes, 0.4), points).astype(np.float32)
    rows[::7] = np.eye(classes, dtype=np.float32)[rng.integers(0, classes, len(rows[::7]))]
    return rows


def plain_entropy(p: np.ndarray) -> float:
    return -sum(float(v) * math.log(v) for v in p if v > 0)


# --- scores of a point ---------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.integers(0, 30), st.integers(1, 6))
def test_softmax_scores_are_their_equations(seed: int, points: int, classes: int) -> None:
    p = some_probabilities(np.random.default_rng(seed), points, classes)
    ordered = np.sort(np.concatenate([p, np.zeros((points, 1), np.float32)], axis=1), axis=1)
    assert least_confidence(p) == pytest.approx(1 - ordered[:, -1])
    assert margin(p) == pytest.approx(ordered[:, -1] - ordered[:, -2])
    assert entropy(p) == pytest.approx([plain_entropy(row) for row in p], abs=1e-6)


def test_of_two_classes_all_three_rank_alike() -> None:
    first = np.random.default_rng(0).random(50)
    p = np.stack([first, 1 - first], axis=1)
    order = np.argsort(-entropy(p), kind="stable")
    assert order.tolist() == np.argsort(margin(p), kind="stable").tolist()
    assert order.tolist() == np.argsort(-least_confidence(p), kind="stable").tolist()


def test_an_even_prediction_has_no_margin_and_a_sure_one_has_all() -> None:
    assert margin(np.array([[0.5, 0.5, 0], [0, 1, 0], [0.25, 0.25, 0.5]])).tolist() == [0, 1, 0.25]
    assert entropy(np.array([[0.5, 0.5], [1, 0]])) == pytest.approx([math.log(2), 0])


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 6))
def test_members_scores_are_their_equations(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    members = np.stack([some_probabilities(rng, 12) for _ in range(count)])
    total = [plain_entropy(members[:, i].astype(float).mean(axis=0)) for i in range(12)]
    within = [np.mean([plain_entropy(member[i]) for member in members]) for i in range(12)]
    assert mc_dropout.consensus_entropy(members) == pytest.approx(total, abs=1e-5)
    assert mc_dropout.expected_entropy(members) == pytest.approx(within, abs=1e-5)
    assert mc_dropout.bald(list(members)) == pytest.approx(np.subtract(total, within), abs=1e-5)
    assert (mc_dropout.bald(members) >= 0).all()
    votes = [np.bincount(members[:, i].argmax(axis=1), minlength=5) / count for i in range(12)]
    assert vote_entropy(members) == pytest.approx([plain_entropy(v) for v in votes], abs=1e-6)


def test_three_votes_to_two() -> None:
    members = np.eye(4, dtype=np.float32)[[1, 1, 3, 3, 1]][:, None, :]
    assert vote_entropy(members) == pytest.approx([0.673], abs=1e-3)
    assert mc_dropout.bald(members) == pytest.approx([0.673], abs=1e-3)


def test_members_that_agree_have_no_mutual_information() -> None:
    p = some_probabilities(np.random.default_rng(1), 20)
    assert mc_dropout.bald([p, p, p]) == pytest.approx(np.zeros(20), abs=1e-6)


def test_half_precision_members_score_as_their_values() -> None:
    members = np.stack([some_probabilities(np.random.default_rng(s), 20) for s in (1, 2)]).astype(np.float16)
    assert mc_dropout.bald(members) == pytest.approx(mc_dropout.bald(members.astype(np.float64)), abs=1e-6)


def test_true_loss_knows_only_labelled_points() -> None:
    p = np.array([[0.5, 0.5], [0.0, 1.0], [0.9, 0.1], [0.2, 0.8]], np.float32)
    got = true_loss(p, np.array([0, 0, 255, 2], np.uint8))
    assert got[:2] == pytest.approx([math.log(2), -math.log(1e-7)])
    assert np.isnan(got[2:]).all()


# --- geometry ------------------------------------------------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 90))
def test_surface_variation_is_that_of_the_nearest_neighbours(seed: int, points: int) -> None:
    xyz = np.random.default_rng(seed).normal(size=(points, 3)) * [3, 1, 0.2] + 40
    got = surface_variation(xyz.astype(np.float32), neighbours=9, clip=1.0)
    wide = xyz.astype(np.float32).astype(np.float64)
    for i in range(points):
        near = wide[np.argsort(((wide - wide[i]) ** 2).sum(axis=1), kind="stable")[:9]]
        values = np.linalg.eigvalsh(np.cov(near.T, bias=True)) if len(near) > 1 else np.zeros(3)
        expected = values[0] / values.sum() if values.sum() > 0 else 0
        assert got[i] == pytest.approx(expected, abs=1e-5)


def test_a_plane_does_not_vary_and_a_ball_is_clipped() -> None:
    rng = np.random.default_rng(0)
    plane = np.concatenate([rng.random((100, 2)), np.full((100, 1), -1.7)], axis=1)
    assert surface_variation(plane).max() < 1e-6
    assert surface_variation(rng.normal(size=(200, 3))).max() == 0.1
    assert len(surface_variation(np.empty((0, 3), np.float32))) == 0


def test_redal_adds_entropy_by_class_and_surface() -> None:
    p = np.full((1, 4), 0.25, np.float32)
    assert redal_score(p, np.array([0.1])) == pytest.approx([2 / 4 + 0.05 * 0.1])


def test_cells_are_rounded_down_below_zero_too() -> None:
    xyz = np.array([[-0.1, 0, 0], [0.1, 0, 0], [0.2, 0.2, 0.2], [-0.1, 0, 0.24], [0.25, 0, 0]])
    cell, count = cells_of(xyz, 0.25)
    assert cell.tolist() == [0, 1, 1, 0, 2]
    assert count == 3


def test_voxel_confusion_is_the_entropy_of_the_voxels_classes_in_bits() -> None:
    rng = np.random.default_rng(3)
    xyz, predicted = rng.uniform(-1, 1, (300, 3)), rng.integers(0, 4, 300)
    got = voxel_confusion(xyz, predicted, 4)
    for i in range(300):
        same = (np.floor(xyz / 0.25) == np.floor(xyz[i] / 0.25)).all(axis=1)
        assert got[i] == pytest.approx(plain_entropy(np.bincount(predicted[same]) / same.sum()) / math.log(2))


def test_hierarchical_margin_adds_the_margins_of_the_cells_around() -> None:
    rng = np.random.default_rng(4)
    xyz, p = rng.uniform(-1, 1, (120, 3)), some_probabilities(rng, 120)
    got = hierarchical_margin(xyz, p)
    for i in range(120):
        expected = margin(p[i : i + 1])[0]
        for edge in (0.1, 0.5, 1.0):
            same = (np.floor(xyz / edge) == np.floor(xyz[i] / edge)).all(axis=1)
            expected += 0.1 * margin(p[same].astype(np.float64).mean(axis=0, keepdims=True))[0]
        assert got[i] == pytest.approx(expected, abs=1e-6)


# --- density -------------------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000))
def test_density_is_the_mean_cosine_to_the_units_of_other_times(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scene = np.repeat([0, 1, 2], [4, 3, 5])
    time_ns = np.concatenate([np.sort(rng.integers(0, 20, n)) for n in (4, 3, 5)]) * 10**9
    frame = np.sort(rng.integers(0, 12, 60))
    features = rng.normal(size=(60, 6)) + 0.5
    features[5] = 0
    first, last = near_in_time(scene, time_ns, 5 * 10**9)
    got = density(features, frame, first, last)
    for i in range(60):
        others = [
            j for j in range(60)
            if scene[frame[j]] != scene[frame[i]] or abs(time_ns[frame[j]] - time_ns[frame[i]]) > 5 * 10**9
        ]  # fmt: skip
        norm = np.linalg.norm(features, axis=1) + (np.arange(60) == 5)
        cosine = features @ features[i] / norm / norm[i]
        assert got[i] == pytest.approx(max(cosine[others].mean(), 0), abs=1e-9)


def test_in_a_short_drive_all_units_count() -> None:
    features = np.array([[1.0, 0], [1, 0], [0, 1]])
    first, last = near_in_time(np.zeros(3, int), np.arange(3) * 10**8, 5 * 10**9)
    assert density(features, np.arange(3), first, last) == pytest.approx([2 / 3, 2 / 3, 1 / 3])


# --- the columns of a sweep ----------------------------------------------------------------------------------------


def sweep(seed: int = 0, points: int = 200, units: int = 7) -> dict:
    rng = np.random.default_rng(seed)
    unit = np.concatenate([np.arange(units), rng.integers(0, units, points - units)]).astype(np.int32)
    return {
        "points": rng.uniform(-2, 2, (points, 4)).astype(np.float32),
        "probabilities": some_probabilities(rng, points),
        "features": rng.normal(size=(points, 3)).astype(np.float16),
        "members": np.stack([some_probabilities(rng, points) for _ in range(3)]),
        "unit": unit,
        "units": units,
        "labels": np.where(unit == 2, 255, rng.integers(0, 5, points)).astype(np.uint8),
    }


def test_every_column_is_the_mean_over_the_units_points() -> None:
    given_ = sweep()
    got = frame_unit_scores(**given_, names=NAMES)
    p, xyz, members = given_["probabilities"], given_["points"][:, :3], given_["members"]
    of_points = {
        "least_confidence": least_confidence(p),
        "margin": margin(p),
        "softmax_entropy": entropy(p),
        "consensus_entropy": mc_dropout.consensus_entropy(members),
        "expected_entropy": mc_dropout.expected_entropy(members),
        "bald": mc_dropout.bald(members),
        "vote_entropy": vote_entropy(members),
        "surface_variation": surface_variation(xyz),
        "redal": redal_score(p, surface_variation(xyz)),
        "voxel_confusion": voxel_confusion(xyz, p.argmax(axis=1), 5),
        "hierarchical_margin": hierarchical_margin(xyz, p),
        "true_loss": true_loss(p, given_["labels"]),
    }
    assert tuple(got.scores) == NAMES
    for unit in range(7):
        mine = given_["unit"] == unit
        for name, values in of_points.items():
            expected = math.nan if name == "true_loss" and unit == 2 else values[mine].mean()
            assert got.scores[name][unit] == pytest.approx(expected, abs=1e-6, nan_ok=True), name
        votes = np.bincount(p[mine].argmax(axis=1), minlength=5) / mine.sum()
        assert got.scores["segment_entropy"][unit] == pytest.approx(plain_entropy(votes))
        assert got.features is not None
        assert got.features[unit] == pytest.approx(given_["features"][mine].astype(float).mean(axis=0), abs=1e-5)
        assert got.probabilities[unit] == pytest.approx(p[mine].mean(axis=0), abs=1e-6)
    assert (got.features.dtype, got.probabilities.dtype) == (np.float32, np.float32)


def test_only_what_is_asked_for_is_computed() -> None:
    got = frame_unit_scores(**{**sweep(), "members": None, "labels": None, "features": None}, names=("margin",))
    assert list(got.scores) == ["margin"]
    assert got.features is None


def test_an_empty_sweep_has_no_units() -> None:
    nothing = np.empty((0, 5), np.float32)
    got = frame_unit_scores(
        nothing, nothing, nothing, [nothing], np.empty(0, np.int32), 0, NAMES, np.empty(0, np.uint8)
    )
    assert all(len(column) == 0 for column in got.scores.values())
    assert got.probabilities.shape == (0, 5)


@pytest.mark.parametrize(
    ("changes", "names", "message"),
    [
        ({}, ("entropie",), "no score named 'entropie'"),
        ({"members": None}, ("bald",), "need members"),
        ({"labels": None}, ("true_loss",), "needs the true labels"),
    ],
)
def test_what_is_missing_is_said_in_one_line(changes: dict, names: tuple[str, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        frame_unit_scores(**{**sweep(), **changes}, names=names)
    assert "\n" not in str(caught.value)


def test_arrays_of_another_sweep_are_refused_with_both_numbers() -> None:
    given_ = sweep()
    with pytest.raises(DataError, match="features: 199 rows, but the sweep has 200 points"):
        frame_unit_scores(**{**given_, "features": given_["features"][1:]}, names=())
    with pytest.raises(DataError, match="member 2: 100 rows"):
        frame_unit_scores(**{**given_, "members": [*given_["members"][:2], given_["members"][2][:100]]}, names=())


def test_the_histogram_of_an_empty_group_has_no_entropy() -> None:
    got = histogram_entropy(np.array([0, 1, 1]), np.array([0, 0, 2]), 3, 2)
    assert got == pytest.approx([math.log(2), 0, 0])
