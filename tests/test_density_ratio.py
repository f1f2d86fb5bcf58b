# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Mixtures against scikit-learn's, and what a density ratio must and must not find."""

from __future__ import annotations

import logging
import warnings
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.mixture import GaussianMixture

from lidal3d.scores.density_ratio import LEAST_OF_CLASS, Domain, class_weights, density_ratio
from lidal3d.scores.density_ratio_released import FullMixture, released_ratio, released_weights
from lidal3d.scores.folds import NO_FOLD, fold_numbers, held_out, one_a_place
from lidal3d.scores.mixture import FLOOR, fit_by_bic, fit_mixture, improve, single
from lidal3d.scores.projection import Projection
from lidal3d.settings.d2ada import D2adaConfig

DEFAULT = D2adaConfig()


def clouds(rng: np.random.Generator, rows: int, dimensions: int, means: tuple[float, ...]) -> np.ndarray:
    return (rng.normal(size=(rows, dimensions)) + rng.choice(means, rows)[:, None]).astype(np.float32)


def domain(features: np.ndarray, category: np.ndarray | None = None, scenes: int = 5, fold: bool = True) -> Domain:
    """Units in scenes in turn, each scene a fold."""
    rows = len(features)
    return Domain(
        features.astype(np.float32),
        np.zeros(rows, np.int64) if category is None else category,
        np.arange(rows) % scenes if fold else np.full(rows, NO_FOLD),
        np.ones(rows, bool),
        np.zeros(rows, np.int64),
    )


# --- mixtures ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("components", [1, 2, 5])
def test_expectation_maximisation_is_scikit_learns(components):
    rng = np.random.default_rng(components)
    rows = clouds(rng, 700, 4, (-4, 0, 5))
    start = fit_mixture(rows, components, np.random.default_rng(1))
    ours = improve(start, rows, iterations=12, tolerance=0)
    theirs = GaussianMixture(
        components, covariance_type="diag", reg_covar=FLOOR, tol=1e-300, max_iter=12, weights_init=start.weights,
        means_init=start.means, precisions_init=1 / start.variances,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # twelve steps are no convergence
        theirs.fit(rows.astype(np.float64))
    np.testing.assert_allclose(ours.means, theirs.means_, atol=1e-4)
    np.testing.assert_allclose(ours.variances, theirs.covariances_, rtol=1e-3)
    exact = GaussianMixture(components, covariance_type="diag")
    exact.weights_, exact.means_, exact.covariances_ = ours.weights, ours.means, ours.variances
    exact.precisions_cholesky_ = 1 / np.sqrt(ours.variances)
    np.testing.assert_allclose(ours.log_density(rows), exact.score_samples(rows), rtol=1e-6)
    assert ours.bic(rows) == pytest.approx(exact.bic(rows), rel=1e-6)


def test_bic_finds_how_many_clusters_there_are():
    rng = np.random.default_rng(0)
    assert len(fit_by_bic(clouds(rng, 600, 6, (0,)), 8, rng).weights) == 1
    assert len(fit_by_bic(clouds(rng, 600, 6, (-6, 6)), 8, rng).weights) == 2
    assert len(fit_by_bic(clouds(rng, 900, 6, (-20, -7, 7, 20)), 8, rng).weights) == 4
    assert len(fit_by_bic(clouds(rng, 15, 6, (-20, 20)), 8, rng).weights) == 1


def test_full_covariances_are_scikit_learns():
    rng = np.random.default_rng(3)
    rows = clouds(rng, 500, 3, (-8, 8)).astype(np.float64) @ rng.normal(size=(3, 3))
    ours = FullMixture.fit(rows, 2).log_density(rows)
    theirs = GaussianMixture(2, reg_covar=1e-6, random_state=0, tol=1e-6).fit(rows).score_samples(rows)
    assert ours.mean() == pytest.approx(theirs.mean(), abs=0.02)
    one = FullMixture.fit(rows, 1).log_density(rows)
    np.testing.assert_allclose(one, GaussianMixture(1, reg_covar=1e-6).fit(rows).score_samples(rows), atol=1e-6)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 30), st.integers(1, 5), st.integers(1, 6), st.integers(0, 3))
def test_a_mixture_of_few_or_equal_rows_is_finite(rows, dimensions, components, decimals):
    rng = np.random.default_rng(rows)
    some = np.round(rng.normal(size=(rows, dimensions)) / 10, decimals).astype(np.float32)
    assert np.isfinite(fit_mixture(some, components, rng).log_density(some)).all()
    assert np.isfinite(FullMixture.fit(some.astype(np.float64), components).log_density(some.astype(np.float64))).all()


# --- projection, folds, places -------------------------------------------------------------------------------------


def test_the_projection_is_that_of_the_correlations():
    rng = np.random.default_rng(0)
    rows = (rng.normal(size=(40_000, 5)) @ rng.normal(size=(5, 5)) * [1, 10, 100, 1e-3, 1] + 7).astype(np.float32)
    parts = [(part, np.zeros(len(part), np.int64)) for part in (rows[:25_000], rows[25_000:])]
    projection = Projection.of(parts, 3)
    wide = rows.astype(np.float64)
    values, vectors = np.linalg.eigh(np.corrcoef(wide.T))
    largest = vectors[:, ::-1][:, :3]
    oracle = (wide - wide.mean(axis=0)) / wide.std(axis=0) @ largest
    found = np.concatenate([projection(part) for part in parts])
    np.testing.assert_allclose(np.abs(found), np.abs(oracle), atol=2e-4)
    assert found.var(axis=0) == pytest.approx(values[::-1][:3], rel=1e-3)


def test_what_never_varies_has_no_axis():
    rows = np.ones((50, 4), np.float32) * 3.3
    assert Projection.of([(rows, np.zeros(50, np.int64))], 4)((rows, np.zeros(50, np.int64))).shape == (50, 0)
    rows[:25, 1] = 2
    assert Projection.of([(rows, np.zeros(50, np.int64))], 4).axes.shape == (4, 1)


def test_strata_are_standardised_apart():
    rng = np.random.default_rng(1)
    stratum = rng.integers(0, 3, 3000)
    rows = (rng.normal(size=(3000, 2)) * (1 + stratum[:, None]) + 50 * stratum[:, None]).astype(np.float32)
    found = Projection.of([(rows, stratum)], 2)((rows, stratum))
    for number in range(3):
        assert np.abs(found[stratum == number].mean(axis=0)).max() < 1e-3


def test_folds_are_scenes_or_blocks_of_one_scene():
    scene, frame = np.repeat([0, 1, 2, 7], 4), np.tile(np.arange(4), 4)
    found = fold_numbers(scene, frame, scene[:12], frame[:12], 2)
    assert [found[scene == number].tolist() for number in (0, 1, 2, 7)] == [[0] * 4, [1] * 4, [0] * 4, [NO_FOLD] * 4]
    one = np.zeros(10, np.int64)
    assert fold_numbers(one, np.arange(10), one, np.arange(10), 5).tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert fold_numbers(one[:2], np.arange(2), one[:2], np.arange(2), 5).tolist() == [0, 1]
    assert fold_numbers(one, one, one[:0], one[:0], 5).tolist() == [NO_FOLD] * 10


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 60), st.floats(0.3, 3))
def test_one_unit_a_place_is_the_largest(rows, cell_m):
    rng = np.random.default_rng(rows)
    scene, category, points = rng.integers(0, 2, rows), rng.integers(0, 2, rows), rng.integers(1, 5, rows)
    center_m = rng.uniform(-2, 2, (rows, 3))
    center_m[::7] = np.nan
    best: dict[tuple, int] = {}
    for row in range(rows):
        if np.isfinite(center_m[row]).all():
            name = (scene[row], category[row], *np.floor(center_m[row] / cell_m))
            if name not in best or points[row] > points[best[name]]:
                best[name] = row
    kept = one_a_place(scene, category, center_m, points, cell_m)
    assert set(np.flatnonzero(kept)) == set(best.values()) | set(range(0, rows, 7))
    assert one_a_place(scene, category, center_m, points, 0).all()


# --- ratios --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("units", [60, 300, 1000])
def test_two_samples_of_one_law_do_not_differ(units):
    rng = np.random.default_rng(units)
    basis = rng.normal(size=(20, 96)) / 4
    source, target = (rng.normal(size=(units, 20)) @ basis + rng.normal(size=(units, 96)) for _ in range(2))
    found = density_ratio(domain(source, fold=False), domain(target), 1, DEFAULT, rng)
    assert found.kl[0] < 1
    released = released_ratio(domain(source[:, :40]), domain(target[:, :40]), 1)
    if units == 60:
        assert released.kl[0] > 10, "the released estimator learns the sample by heart"


def test_the_ratio_is_that_of_the_laws():
    rng = np.random.default_rng(5)
    source, target = rng.normal(size=(4000, 3)), rng.normal(size=(4000, 3)) + np.array([2.0, 0, 0])
    config = DEFAULT.model_copy(update={"dimensions": 3})
    found = density_ratio(domain(source, fold=False), domain(target), 1, config, rng)
    truth = 2 * target[:, 0] - 2  # log N(x; 2, 1) − log N(x; 0, 1)
    near = np.abs(truth) < 3  # the broad Gaussian bounds what lies farther
    assert np.abs(found.log_ratio - truth)[near].mean() < 0.5
    assert np.corrcoef(found.log_ratio[near], truth[near])[0, 1] > 0.95
    assert found.kl[0] == pytest.approx(2, abs=0.5)


def test_a_shifted_class_weighs_most_and_equal_classes_alike():
    rng = np.random.default_rng(6)
    category = np.arange(2000) % 4
    source, target = rng.normal(size=(2000, 8)), rng.normal(size=(2000, 8))
    same = density_ratio(domain(source, category, fold=False), domain(target, category), 4, DEFAULT, rng)
    assert class_weights(same.kl, 0.1) == pytest.approx(np.full(4, 0.25), abs=0.1)
    target[category == 2] += 2.0
    found = density_ratio(domain(source, category, fold=False), domain(target, category), 4, DEFAULT, rng)
    weight = class_weights(found.kl, 0.1)
    assert weight[2] > 0.8
    assert not found.pooled.any()


def test_no_unit_is_judged_by_its_own_scene():
    """A scene of a hundred copies of one thing is not common; in sample it would be."""
    rng = np.random.default_rng(7)
    target = rng.normal(size=(500, 6))
    parked = np.arange(500) % 5 == 2
    target[parked] = 4 + 0.01 * rng.normal(size=(100, 6))
    source = domain(rng.normal(size=(400, 6)), fold=False)
    held_out = density_ratio(source, domain(target), 1, DEFAULT, np.random.default_rng(0)).log_ratio
    everywhere = replace(domain(target), fold=np.arange(500) // 100)
    dealt = density_ratio(source, everywhere, 1, DEFAULT, np.random.default_rng(0)).log_ratio
    assert held_out[parked].max() < 0.5
    assert dealt[parked].min() > 3


def test_a_fold_takes_its_source_units_along():
    """What is labelled in a scene doesn't make the rest of the scene look covered, unless nothing else is labelled."""
    rng = np.random.default_rng(8)
    target, source = rng.normal(size=(500, 4)), rng.normal(size=(300, 4))
    own = np.arange(300) % 5 == 0
    source[own] += 8
    target[np.arange(500) % 5 == 0] += 8
    target[np.arange(500) % 5 == 1] += 8
    found = density_ratio(domain(source), domain(target), 1, DEFAULT, rng).log_ratio
    assert found[np.arange(500) % 5 == 0].mean() > found[np.arange(500) % 5 == 1].mean() + 1
    only = domain(source[own])
    only = replace(only, fold=np.zeros(len(only), np.int64))
    assert np.isfinite(density_ratio(only, domain(target), 1, DEFAULT, rng).log_ratio).all()


def test_classes_with_too_few_units_are_judged_by_all_and_logged(caplog):
    rng = np.random.default_rng(9)
    category = np.where(np.arange(400) < 380, 0, 3)
    source, target = rng.normal(size=(400, 5)), rng.normal(size=(400, 5))
    category_t = np.where(np.arange(400) < LEAST_OF_CLASS - 1, 3, 0)
    target[category_t == 3] += 5
    with caplog.at_level(logging.INFO, "lidal3d"):
        found = density_ratio(domain(source, category), domain(target, category_t), 5, DEFAULT, rng)
    assert found.pooled.tolist() == [False, False, False, True, False]
    assert "class 3: 20 source and 19 target units are too few" in caplog.text
    assert np.isfinite(found.log_ratio).all()
    assert found.kl[1] == found.kl[2] == found.kl[4] == 0


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_tiny_domains_and_equal_features_say_nothing_wrong(rows):
    rng = np.random.default_rng(0)
    few = density_ratio(domain(rng.normal(size=(rows, 4))), domain(rng.normal(size=(rows, 4))), 2, DEFAULT, rng)
    assert np.isfinite(few.log_ratio).all()
    equal = density_ratio(domain(np.ones((rows, 4))), domain(np.ones((50, 4))), 2, DEFAULT, rng)
    assert (equal.log_ratio == 0).all()
    assert (equal.kl == 0).all()
    released = released_ratio(domain(np.ones((rows, 4))), domain(np.ones((50, 4))), 2)
    assert np.isfinite(released.log_ratio).all()


def test_far_from_everything_is_not_new():
    rng = np.random.default_rng(10)
    target = rng.normal(size=(1000, 4))
    target[17] = 1e4
    found = density_ratio(domain(rng.normal(size=(1000, 4))), domain(target), 1, DEFAULT, rng)
    assert abs(found.log_ratio[17]) < 1
    assert np.abs(found.log_ratio).max() < 10


def test_a_handful_of_strange_units_does_not_outweigh_a_class():
    """Three in a hundred, in all scenes and not in the source, are new by many nats; the class as a whole isn't."""
    rng = np.random.default_rng(12)
    target = rng.normal(size=(2000, 16))
    strange = np.arange(2000) % 100 < 3
    target[strange] += 30 * np.where(np.arange(60) % 2, 1, -1)[:, None]
    found = density_ratio(domain(rng.normal(size=(2000, 16))), domain(target), 1, DEFAULT, rng)
    assert np.median(found.log_ratio[strange]) > 20
    assert found.log_ratio.mean() > 0.8
    assert found.kl[0] < 0.5


def test_released_weights_never_hang():
    assert released_weights(np.array([0.0, 0.3, 5.0])).tolist() == [1, 1, 1]
    assert released_weights(np.array([0.0, 12.0, 1500.0])).tolist() == [0, 1, 3]


def test_equal_rows_and_seeds_are_equal_bytes():
    rng = np.random.default_rng(11)
    source, target = domain(rng.normal(size=(300, 6))), domain(rng.normal(size=(300, 6)))
    answers = [density_ratio(source, target, 1, DEFAULT, np.random.default_rng(4)).log_ratio for _ in range(2)]
    assert answers[0].tobytes() == answers[1].tobytes()
    assert np.isfinite(single(source.features).log_density(source.features)).all()


# --- held-out units ------------------------------------------------------------------------------------------------


def test_a_log_is_held_out_where_logs_allow_it():
    log, frame = np.repeat([0, 1, 2], 100), np.tile(np.arange(100), 3)
    labelled = ((log == 0) & (frame < 10)) | ((log == 1) & (frame < 30))
    aside = held_out(log, frame, labelled, 0.25)
    assert set(log[aside].tolist()) == {0}
    # The only log without labels can't be held out: the same run of all three is.
    aside = held_out(log, frame, log < 2, 0.25)
    assert np.bincount(log[aside]).tolist() == [13, 13, 13]
    assert np.ptp(frame[aside]) == 12


def test_two_drives_that_call_their_scenes_alike_are_held_out_in_part():
    log, frame = np.repeat([0, 1, 2, 0], 40), np.tile(np.arange(40), 4)
    labelled = np.arange(160) < 120
    aside = held_out(log, frame, labelled, 0.25)
    assert {bool(kind) for kind in labelled[aside]} == {bool(kind) for kind in labelled[~aside]} == {True, False}
    assert np.ptp(frame[aside]) == 4


def test_runs_of_frames_are_held_out_of_one_log():
    log, frame = np.zeros(400, np.int64), np.repeat(np.arange(40), 10)
    labelled = (np.arange(400) % 10 < 3) & (frame % 4 == 0)
    aside = held_out(log, frame, labelled, 0.25)
    frames = np.unique(frame[aside])
    assert len(frames) == 5
    assert frames.max() - frames.min() == 4
    assert not np.isin(frame[~aside], frames).any()


def test_source_and_target_are_both_held_out_in_part():
    log, frame = np.repeat([0, 1, 2, 3], 50), np.tile(np.arange(50), 4)
    labelled = log < 2
    aside = held_out(log, frame, labelled, 0.25)
    assert len(set(log[aside].tolist()) & {0, 1}) == len(set(log[aside].tolist()) & {2, 3}) == 1


def test_one_labelled_frame_can_not_be_held_out():
    frame = np.repeat(np.arange(8), 5)
    assert held_out(np.zeros(40, np.int64), frame, frame == 3, 0.25) is None
    assert held_out(np.zeros(40, np.int64), frame, np.arange(40) == 7, 0.25) is None
