# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Divergence, entropy, windows and the stream against the released rule, written plainly."""

from __future__ import annotations

import numpy as np
import pytest
from drives import PlainSource, drive_of, write_predictions
from scipy.spatial import KDTree
from scipy.special import kl_div

from lidal3d.config import Config
from lidal3d.errors import DataError, UsageError
from lidal3d.interframe import divergence, entropy, point_scores, score_frames
from lidal3d.interframe.window import moved_frames, neighbour_frames
from lidal3d.predictions import PredictionStore
from lidal3d.scene.pose import transform
from lidal3d.settings.interframe import InterframeConfig

PAPER = Config.preset("paper").interframe


def released_window(frame: int, frames: int, neighbours: int) -> list[int]:
    """The released code's window, which is right for frames > neighbours: both sides, the ends refilled."""
    half = neighbours // 2
    if frame < half:
        chosen = list(range(neighbours + 1))
    elif frame >= frames - half:
        chosen = list(range(frames - neighbours - 1, frames))
    else:
        chosen = list(range(frame - half, frame + half + 1))
    return [index for index in chosen if index != frame]


def plain_scores(scene, store, frame, neighbours, radius_m=0.1, epsilon=1e-5):  # type: ignore[no-untyped-def]
    """LiDAL's point scores as its released code computes them, with one tree a frame."""

    def load(index: int) -> tuple[np.ndarray, np.ndarray]:
        points = scene[index].points()
        probabilities = store.probabilities(scene.id, scene[index].name).astype(np.float64)
        return transform(scene.scene_SE3_lidar[index], points[:, :3]), probabilities

    xyz, own = load(frame)
    total, mean, matches = np.zeros(len(xyz)), own.copy(), np.zeros(len(xyz), int)
    for index in neighbours:
        other_xyz, other = load(index)
        if not len(other_xyz) or not len(xyz):
            continue
        distance, nearest = KDTree(other_xyz).query(xyz)
        hit = distance <= radius_m
        total[hit] += kl_div(own[hit] + epsilon, other[nearest[hit]] + epsilon).sum(axis=1)
        mean[hit] += other[nearest[hit]]
        matches += hit
    mean /= (1 + matches)[:, None]
    return (
        total / np.maximum(matches, 1),
        -np.where(mean > 0, mean * np.log(np.maximum(mean, 1e-300)), 0).sum(1),
        matches,
    )


@pytest.mark.parametrize("frames", [25, 26, 40])
def test_the_paper_window_is_the_released_one(frames: int) -> None:
    poses = np.tile(np.eye(4), (frames, 1, 1))
    windows = neighbour_frames(poses, PAPER)
    assert [w.tolist() for w in windows] == [released_window(f, frames, 24) for f in range(frames)]


@pytest.mark.parametrize("config", [PAPER, InterframeConfig()])
@pytest.mark.parametrize("frames", [1, 2, 24])
def test_a_short_sequence_uses_all_the_frames_there_are(frames: int, config: InterframeConfig) -> None:
    """The released code raises or wraps round to wrong frames here."""
    poses = np.tile(np.eye(4), (frames, 1, 1))
    poses[:, 0, 3] = np.arange(frames)
    for frame, window in enumerate(neighbour_frames(poses, config)):
        assert window.tolist() == [index for index in range(frames) if index != frame]


def test_a_car_at_a_red_light_is_compared_with_frames_from_elsewhere() -> None:
    poses = np.tile(np.eye(4), (200, 1, 1))
    poses[:, 0, 3] = np.concatenate([np.arange(40.0), np.full(120, 39.0), np.arange(40.0, 80.0)])
    config = InterframeConfig()
    moved = moved_frames(poses, config)
    assert set(range(41, 160)).isdisjoint(moved.tolist())
    window = neighbour_frames(poses, config)[100]
    assert len(window) == 24
    positions_m = poses[window, 0, 3]
    assert len(set(positions_m.tolist())) == 24
    assert (positions_m < 39.5).sum() == 12


def test_a_turn_on_the_spot_counts_as_moving_and_a_parked_drive_still_has_windows() -> None:
    poses = np.tile(np.eye(4), (60, 1, 1))
    assert all(len(window) >= 24 for window in neighbour_frames(poses, InterframeConfig()))
    angle = np.arange(60) * 0.05
    poses[:, 0, 0] = poses[:, 1, 1] = np.cos(angle)
    poses[:, 1, 0], poses[:, 0, 1] = np.sin(angle), -np.sin(angle)
    assert moved_frames(poses, InterframeConfig()).tolist() == list(range(60))


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("classes", [1, 2, 7, 8, 9, 16, 19, 24, 40])
def test_the_stream_equals_the_released_rule(tmp_path, classes: int, dtype: type) -> None:  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(classes)
    scene = drive_of(rng, frames=9, points=300)
    store = write_predictions(tmp_path, scene, classes, rng, dtype)
    config = PAPER.model_copy(update={"half_window": 2})
    seen = 0
    for scored in score_frames(scene, store, config):
        expected = plain_scores(scene, store, scored.index, released_window(scored.index, 9, 4))
        np.testing.assert_allclose(scored.scores.divergence, expected[0], atol=1e-5)
        np.testing.assert_allclose(scored.scores.entropy, expected[1], atol=1e-5)
        np.testing.assert_array_equal(scored.scores.matches, expected[2])
        seen += 1
    assert seen == 9


def test_asking_for_one_frame_or_some_gives_what_asking_for_all_gives(tmp_path) -> None:  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(1)
    scene = drive_of(rng, frames=12, points=100)
    store = write_predictions(tmp_path, scene, 5, rng)
    config = InterframeConfig(half_window=3)
    whole = {scored.index: scored.scores for scored in score_frames(scene, store, config)}
    some = {scored.index: scored.scores for scored in score_frames(scene, store, config, [0, 4, 5, 11])}
    assert list(some) == [0, 4, 5, 11]
    for index, scores in {**some, 7: point_scores(scene, 7, store, config)}.items():
        for name in ("divergence", "entropy", "matches", "confidence", "predicted"):
            np.testing.assert_array_equal(getattr(scores, name), getattr(whole[index], name))


def test_every_sweep_and_every_map_is_read_once_and_memory_holds_one_window(tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(2)
    scene = drive_of(rng, frames=40, points=20)
    store = write_predictions(tmp_path, scene, 3, rng)
    reads: list[int] = []
    original = PlainSource.read_points
    monkeypatch.setattr(PlainSource, "read_points", lambda self, i: (reads.append(i), original(self, i))[1])
    ahead = 0
    for scored in score_frames(scene, store, InterframeConfig(half_window=4)):
        ahead = max(ahead, max(reads) - scored.index)
    assert sorted(reads) == list(range(40))
    assert ahead <= 8


def test_identical_distributions_do_not_diverge(tmp_path) -> None:  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(0)
    scene = drive_of(rng, frames=3, points=50, moving=False, same_points=True)
    p = rng.dirichlet(np.ones(4), 50).astype(np.float32)
    store = write_predictions(tmp_path, scene, 4, rng, maps=[p, p, p])
    scores = point_scores(scene, 1, store, PAPER)
    np.testing.assert_allclose(scores.divergence, 0, atol=1e-7)
    np.testing.assert_allclose(scores.entropy, entropy(p.astype(np.float64)), atol=1e-6)
    np.testing.assert_array_equal(scores.matches, 2)


def test_two_certain_views_that_disagree(tmp_path) -> None:  # type: ignore[no-untyped-def]
    """One-hot against another one-hot: (1+ε) ln((1+ε)/ε) + ε ln(ε/(1+ε)) = ln((1+ε)/ε) ≈ 11.513."""
    rng = np.random.default_rng(0)
    scene = drive_of(rng, frames=2, points=1, moving=False, same_points=True)
    one, other = np.eye(3, dtype=np.float32)[[0]], np.eye(3, dtype=np.float32)[[1]]
    store = write_predictions(tmp_path, scene, 3, rng, maps=[one, other])
    scores = point_scores(scene, 0, store, PAPER)
    assert scores.divergence[0] == pytest.approx(np.log((1 + 1e-5) / 1e-5), abs=1e-5)
    assert scores.entropy[0] == pytest.approx(np.log(2), abs=1e-6)
    assert scores.confidence[0] == pytest.approx(0.5)
    assert scores.predicted[0] == 0
    assert divergence(one[0], other[0]) == pytest.approx(11.5129, abs=1e-3)


def test_a_lone_frame_has_no_matches_and_its_own_entropy(tmp_path) -> None:  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(0)
    scene = drive_of(rng, frames=1, points=30)
    store = write_predictions(tmp_path, scene, 6, rng)
    scores = point_scores(scene, 0, store, InterframeConfig())
    own = store.probabilities(scene.id, scene[0].name).astype(np.float64)
    np.testing.assert_array_equal(scores.matches, 0)
    np.testing.assert_array_equal(scores.divergence, 0)
    np.testing.assert_allclose(scores.entropy, entropy(own), atol=1e-6)


def test_an_empty_sweep_among_others(tmp_path) -> None:  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(0)
    scene = drive_of(rng, frames=3, points=[40, 0, 40])
    store = write_predictions(tmp_path, scene, 4, rng)
    assert [len(scored.scores.entropy) for scored in score_frames(scene, store, InterframeConfig())] == [40, 0, 40]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda p: p * 3, "do not sum to 1"),
        (lambda p: np.where(np.arange(len(p))[:, None] == 7, np.nan, p), "1 of 40 rows do not sum to 1 (row 7: nan)"),
        (lambda p: p[:-1], "39 rows, but the sweep has 40 points"),
        (lambda p: p[:, :-1], "3 columns, but predictions.yaml names 4 classes"),
    ],
)
def test_bad_probabilities_are_refused_with_both_numbers(tmp_path, spoil, words) -> None:  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(0)
    scene = drive_of(rng, frames=3, points=40)
    store = write_predictions(tmp_path, scene, 4, rng)
    good = store.probabilities(scene.id, scene[1].name)
    store.write(scene.id, scene[1].name, spoil(good).astype(np.float32))
    with pytest.raises(DataError) as caught:
        list(score_frames(scene, PredictionStore.open(tmp_path), InterframeConfig()))
    assert words in str(caught.value)
    assert str(store.probabilities_path(scene.id, scene[1].name)) in str(caught.value)


@pytest.mark.parametrize("change", [{"half_window": 25}, {"half_window": 0}, {"epsilon": 1e-7}, {"radius_m": 0}])
def test_settings_that_the_kernel_cannot_run_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=next(iter(change))):
        Config().updated({"interframe": change})


def test_the_widest_window_of_the_least_likely_probabilities_stays_finite(tmp_path) -> None:  # type: ignore[no-untyped-def]
    """48 matches that all give the true class 0: the product of probabilities must not underflow."""
    rng = np.random.default_rng(0)
    scene = drive_of(rng, frames=49, points=1, moving=False, same_points=True)
    one, other = np.eye(3, dtype=np.float32)[[0]], np.eye(3, dtype=np.float32)[[1]]
    store = write_predictions(tmp_path, scene, 3, rng, maps=[one, *[other] * 48])
    config = PAPER.model_copy(update={"half_window": 24, "epsilon": 1e-6})
    scores = point_scores(scene, 0, store, config)
    assert scores.matches[0] == 48
    assert scores.divergence[0] == pytest.approx(np.log((1 + 1e-6) / 1e-6), abs=1e-4)
