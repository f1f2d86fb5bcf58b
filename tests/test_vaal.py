# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""VAAL: what it learns of units of a known law, when it isn't believed, and what it refuses."""

from __future__ import annotations

import logging
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from strategy_pools import CLASSES, frame_facts, pool_of, rows_of_arrays

from lidal3d.config import Config
from lidal3d.errors import DataError, UsageError
from lidal3d.learn.vaal import check, divergence, fit, reconstruction_and_divergence
from lidal3d.scores.table import ScoreTable
from lidal3d.select.history import History
from lidal3d.select.selection import Selection
from lidal3d.settings.vaal import VaalConfig
from lidal3d.strategies import STRATEGIES, UnitPool

QUICK = VaalConfig(steps=60, batch=32)
CONFIG = Config().updated({"select": {"budget": "40:regions"}, "vaal": {"steps": 60, "batch": 32}})
SCENES, FRAMES, UNITS = 4, 10, 12
BASIS = np.random.default_rng(99).normal(size=(4, 24))


def drive(seed: int, far: float = 8.0) -> tuple[UnitPool, np.ndarray]:
    """Four scenes of units of two clusters, `far` apart in one of four latent dimensions; and who is of the second (R,)."""
    rng, row = np.random.default_rng(seed), np.arange(SCENES * FRAMES * UNITS)
    second = rng.random(len(row)) < 0.5
    latent = rng.normal(size=(len(row), 4))
    latent[:, 0] += far * second
    features = latent @ BASIS + 0.2 * rng.normal(size=(len(row), 24))
    table = ScoreTable(
        scenes=tuple("abcd"),
        scene=(row // (FRAMES * UNITS)).astype(np.int32),
        frame=(row // UNITS % FRAMES).astype(np.int32),
        unit=(row % UNITS).astype(np.int32),
        points=rng.integers(12, 60, len(row)),
        center_m=rng.uniform(0, 150, (len(row), 3)),
        scores={"is_key_frame": np.ones(len(row)), "range_m": rng.uniform(2, 60, len(row))},
        kind="grid",
    )
    probabilities = np.full((len(row), CLASSES), 1 / CLASSES, np.float32)
    return UnitPool(table, features.astype(np.float32), probabilities), second


def rows_of(selection: Selection) -> np.ndarray:
    keys = [pick.key for pick in selection.picks]
    return np.array([(ord(k.scene) - ord("a")) * FRAMES * UNITS + k.frame * UNITS + k.unit for k in keys])


def labelled(pool: UnitPool, rows: np.ndarray) -> History:
    """A history in which some units were asked about."""
    money = Config().updated({"select": {"budget": f"{len(rows)}:regions"}})
    some = UnitPool(pool.table.take(rows), pool.features[rows], pool.probabilities[rows])
    picks = STRATEGIES["random"].choose(some, money, frame_facts, History(), np.random.default_rng(0))[0].picks
    assert len(picks) == len(rows)
    return History(labelled=picks, rounds=1)


def run(
    pool: UnitPool, history: History, config: Config = CONFIG, seed: int = 0, source: UnitPool | None = None,
    name: str = "vaal",
) -> Selection:  # fmt: skip
    return STRATEGIES[name].choose(pool, config, frame_facts, history, np.random.default_rng(seed), source)[0]


def auc(low: np.ndarray, high: np.ndarray) -> float:
    """Share of pairs in which the second is larger."""
    return float((high[:, None] > low[None]).mean() + (high[:, None] == low[None]).mean() / 2)


# --- the network ---------------------------------------------------------------------------------------------------


def test_the_divergence_is_that_of_two_gaussians():
    mean, log_variance = torch.tensor([[0.0, 1.5]]), torch.tensor([[0.0, math.log(0.25)]])
    prior = torch.distributions.Normal(0.0, 1.0)
    expected = torch.distributions.kl_divergence(torch.distributions.Normal(mean, (log_variance / 2).exp()), prior)
    torch.testing.assert_close(divergence(mean, log_variance), expected)


def test_reconstruction_and_divergence_do_not_depend_on_the_size_of_the_batch():
    torch.manual_seed(0)
    rows, found, mean, log_variance = (torch.randn(8, n) for n in (6, 6, 3, 3))
    once = (rows, found, mean, log_variance)
    often = tuple(part.repeat(5, 1) for part in once)
    for one, many in zip(reconstruction_and_divergence(*once), reconstruction_and_divergence(*often), strict=True):
        torch.testing.assert_close(one, many)
    # Sums over a unit: the negative log-likelihood without its constant.
    likelihood = torch.distributions.Normal(found, 1.0).log_prob(rows).sum(dim=1) + 3 * math.log(2 * math.pi)
    torch.testing.assert_close(reconstruction_and_divergence(*once)[0], -likelihood.mean())
    # The released scale, kept for comparison, does depend on it: β grows with batch and dimensions.
    ratios = [apart / error for error, apart in (reconstruction_and_divergence(*p, "paper") for p in (once, often))]
    torch.testing.assert_close(ratios[1], 5 * ratios[0])


def test_the_discriminator_tells_two_clusters_on_units_it_has_not_seen():
    rng = np.random.default_rng(0)
    first, second = (rng.normal(size=(400, 6)).astype(np.float32) + shift for shift in (-1.5, 1.5))
    found = fit(first[:300], second[:300], QUICK, 0)
    assert auc(found.likeness(second[300:]), found.likeness(first[300:])) > 0.95
    checked = check(found, first[300:], second[300:])
    assert checked.accuracy > 0.9
    assert checked.active >= 1
    assert checked.kl.shape == (32,)
    assert (checked.kl >= 0).all()


def test_scores_are_the_same_twice_whatever_the_threads_and_the_generator():
    rng = np.random.default_rng(0)
    first, second = (rng.normal(size=(100, 6)).astype(np.float32) + shift for shift in (-1, 1))
    once = fit(first, second, QUICK, 5)
    torch.manual_seed(99)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        again = fit(first, second, QUICK, 5)
        assert torch.get_num_threads() == 2
        assert np.array_equal(once.likeness(second), again.likeness(second))
    finally:
        torch.set_num_threads(before)
    assert np.array_equal(once.likeness(second), once.likeness(second))
    assert not np.array_equal(once.likeness(second), fit(first, second, QUICK, 6).likeness(second))
    # Nor does a score depend on its neighbours: nothing is normalised over a batch.
    np.testing.assert_allclose(once.likeness(second)[:3], once.likeness(second[:3]), rtol=1e-5)


# --- what is bought ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{}, {"nuisances": True}])
def test_all_picks_are_of_the_cluster_that_nothing_labelled_is_of(settings):
    pool, second = drive(1)
    history = labelled(pool, np.flatnonzero(~second)[::4])
    selection = run(pool, history, CONFIG.updated({"vaal": settings}))
    rows = rows_of(selection)
    assert len(rows) == 40
    assert second[rows].all()
    assert "unlike what is labelled" in selection.picks[0].reason
    likeness = [pick.scores["labelled_likeness"] for pick in selection.picks]
    assert likeness == sorted(likeness)


def test_the_released_scale_leaves_little_of_the_latent_space_and_asks_no_question():
    rng = np.random.default_rng(0)
    first, second = (rng.normal(size=(200, 6)).astype(np.float32) + shift for shift in (-1.5, 1.5))
    ours, released = (
        check(fit(first, second, QUICK.model_copy(update={"rule": rule}), 0), first, second)
        for rule in ("default", "paper")
    )
    assert released.kl.sum() < ours.kl.sum() / 20
    pool, second = drive(1, far=0.0)
    paper = CONFIG.updated({"vaal": Config.preset("paper").vaal.model_dump() | {"steps": 5}})
    selection = run(pool, labelled(pool, np.arange(100)), paper)
    assert len(selection.picks) == 40
    assert all("unlike what is labelled" in pick.reason for pick in selection.picks)


def test_where_nothing_can_be_told_it_draws_and_says_so(caplog):
    pool, _ = drive(2, far=0.0)
    history = labelled(pool, np.random.default_rng(0).permutation(len(pool))[:160])
    with caplog.at_level(logging.INFO):
        selection = run(pool, history)
    assert all(
        pick.reason.startswith("drawn at random: labelled and unlabelled are told in") for pick in selection.picks
    )
    assert "drawn at random instead" in caplog.text
    assert "latent dimensions in use, KL " in caplog.text
    assert [pick.key for pick in selection.picks] != [pick.key for pick in run(pool, history, seed=1).picks]
    all_the_same = run(pool, history, CONFIG.updated({"vaal": {"if_blind": "scores"}}))
    assert "unlike what is labelled" in all_the_same.picks[0].reason
    assert "its scores are taken all the same" in caplog.text


def test_a_source_is_what_is_labelled():
    (pool, second), (source, of_source) = drive(3), drive(4)
    kept = np.flatnonzero(~of_source)
    source = UnitPool(source.table.take(kept), source.features[kept], source.probabilities[kept])
    rows = rows_of(run(pool, History(), source=source))
    assert second[rows].all()
    # And what was bought of the drive is labelled too: of both clusters there is something then.
    late = run(pool, labelled(pool, np.flatnonzero(second)[::3]), source=source)
    assert not {pick.key for pick in late.picks} & {
        pick.key for pick in labelled(pool, np.flatnonzero(second)[::3]).labelled
    }


def test_no_scene_takes_all_while_others_have_units():
    pool, second = drive(5)
    # In the third scene the second cluster is farther yet.
    features = pool.features + 8 * ((pool.table.scene == 2) & second)[:, None] * BASIS[0].astype(np.float32)
    pool, history = replace(pool, features=features), labelled(pool, np.flatnonzero(~second)[::4])
    bounded = rows_of(run(pool, history))
    assert np.bincount(bounded // (FRAMES * UNITS), minlength=4).tolist()[2] == 20
    free = rows_of(run(pool, history, CONFIG.updated({"vaal": {"scene_parts": 0}})))
    assert np.bincount(free // (FRAMES * UNITS), minlength=4).tolist()[2] > 30


def test_it_works_on_what_an_encoder_says():
    pool, second = drive(6)
    pool = replace(pool, features=None, embeddings=pool.features)
    history = labelled(replace(pool, features=pool.embeddings), np.flatnonzero(~second)[::4])
    assert second[rows_of(run(pool, history, name="vaal_encoder"))].all()
    with pytest.raises(UsageError, match="needs features of the units"):
        run(pool, history)


# --- poor input ----------------------------------------------------------------------------------------------------


def test_nothing_labelled_is_refused():
    for source in (None, replace(pool_of(), features=np.full((240, 6), np.nan, np.float32))):
        with pytest.raises(UsageError, match=r"needs labelled units to compare with; say what is labelled \(--earlier"):
            run(pool_of(), History(), source=source)
    with pytest.raises(UsageError, match="source has 4 features a unit, the drive 6"):
        run(pool_of(), History(), source=replace(pool_of(), features=pool_of().features[:, :4]))


def test_features_that_do_not_differ_are_refused_with_both_numbers():
    pool, second = drive(7)
    alike = UnitPool(pool.table, **rows_of_arrays(pool, np.zeros(len(pool), np.int64)))
    with pytest.raises(UsageError, match=r"0 of 32 latent dimensions are in use, 2 needed.*raise vaal.steps") as error:
        run(alike, labelled(pool, np.flatnonzero(second)))
    assert "\n" not in str(error.value)


def test_one_labelled_unit_is_taken_unchecked(caplog):
    pool, second = drive(8)
    selection = run(pool, labelled(pool, np.flatnonzero(~second)[:1]))
    assert len(selection.picks) == 40
    assert second[rows_of(selection)].mean() > 0.7
    assert "too few labelled frames to hold some out" in caplog.text


def test_unknown_features_are_left_out():
    pool, second = drive(9)
    unknown = np.arange(len(pool)) % 3 == 0
    features = np.where(unknown[:, None], np.float32(np.nan), pool.features)
    features[1::3, 0] = np.where(np.arange(len(features[1::3])) % 2, np.inf, features[1::3, 0])
    history = labelled(pool, np.flatnonzero(~second)[::4])
    rows = rows_of(run(replace(pool, features=features), history))
    assert np.isfinite(features[rows]).all()
    assert second[rows].all()
    with pytest.raises(DataError, match="nothing to choose from"):
        run(replace(pool, features=features * np.float32(np.nan)), history)


def test_more_than_the_pool_is_refused_and_all_of_it_is_not():
    pool, second = drive(10)
    history = labelled(pool, np.flatnonzero(~second)[::4])
    left = len(pool) - len(history.labelled)
    with pytest.raises(UsageError, match=f"pool has {left} regions, {left + 1} requested"):
        run(pool, history, CONFIG.updated({"select": {"budget": f"{left + 1}:regions"}}))
    assert len(run(pool, history, CONFIG.updated({"select": {"budget": f"{left}:regions"}})).picks) == left
