# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Strategy tod: its order and its fallback; the earlier signal, and a whole experiment with the strategy."""

from __future__ import annotations

import logging
import pickle
from pathlib import Path

import numpy as np
import pytest
from experiments import tiny
from strategy_pools import TENTH, frame_facts, pool_of, with_columns
from test_learn_beside import config_of, frames_of, run

from lidal3d.config import Config
from lidal3d.errors import DataError, UsageError
from lidal3d.jobs.signal_earlier import EarlierSignal
from lidal3d.jobs.signals import SignalSources, make_signals
from lidal3d.learn.model import Model, load_model
from lidal3d.learn.predict import frame_rng, predict_maps
from lidal3d.predictions.live import LivePredictions
from lidal3d.predictions.maps import FrameMaps
from lidal3d.rounds.experiment import run_experiment
from lidal3d.scene.scene import Frame
from lidal3d.scores.temporal_discrepancy import distance_to_uniform
from lidal3d.select.history import History
from lidal3d.select.manifest import read_manifest
from lidal3d.select.selection import Selection
from lidal3d.strategies import STRATEGIES, UnitPool
from lidal3d.units import make_partition

PREDICT = Config().updated({"predict": {"views": 2, "seed": 5}}).predict
UNITS = Config().updated({"units": {"kind": "grid", "cell_m": 4.0}}).units


def choose(pool: UnitPool, name: str = "tod", seed: int = 0, **settings: object) -> Selection:
    config = TENTH.updated({"tod": settings})
    return STRATEGIES[name].choose(pool, config, frame_facts, History(), np.random.default_rng(seed))[0]


# --- the strategy --------------------------------------------------------------------------------------------------


def test_the_largest_discrepancy_comes_first_and_in_the_first_round_the_nearest_to_uniform() -> None:
    pool = pool_of()
    found = [pick.scores["temporal_discrepancy"] for pick in choose(pool).picks]
    assert found == sorted(found, reverse=True)
    first = [pick.scores["distance_to_uniform"] for pick in choose(pool, "tod_first").picks]
    assert first == sorted(first)


def test_where_nothing_changed_units_are_drawn_at_random_and_it_is_told(caplog: pytest.LogCaptureFixture) -> None:
    pool = with_columns(pool_of(), temporal_discrepancy=np.zeros(240))
    with caplog.at_level(logging.WARNING):
        drawn = choose(pool)
    assert "no prediction differs from the earlier model's; units are drawn at random" in caplog.text
    assert all(pick.reason.startswith("drawn at random") for pick in drawn.picks)
    keys, again, other = ([pick.key for pick in one.picks] for one in (drawn, choose(pool), choose(pool, seed=1)))
    assert keys == again != other
    with pytest.raises(
        UsageError, match=r"no prediction differs .*; give --earlier-model the model of the round before"
    ):
        choose(pool, unchanged="refuse")


def test_a_random_sub_pool_is_asked_first() -> None:
    pool = pool_of()
    picked = [[pick.key for pick in choose(pool, seed=seed, sub_pool=12).picks] for seed in (0, 0, 1)]
    assert picked[0] == picked[1] != picked[2]
    best = choose(pool)
    assert [pick.key for pick in choose(pool, sub_pool=10_000).picks] == [pick.key for pick in best.picks]


# --- the signal ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The models of two rounds, now/ trained on from earlier/, and one of another network."""
    folder = tmp_path_factory.mktemp("models")
    earlier = run(config_of())
    earlier.save(folder / "earlier")
    run(config_of(seed=2, augmentation="paper"), initial=earlier).save(folder / "now")
    run(config_of(architecture="spvcnn", width=0.25)).save(folder / "spvcnn")
    return folder


def asked(signal: EarlierSignal, model: Path, frame: Frame) -> tuple[np.ndarray, np.ndarray, FrameMaps]:
    """The column, the unit of each point, and the model's own maps."""
    points = frame.points()
    unit = make_partition(UNITS)(points)
    maps = LivePredictions.open(model, PREDICT).maps(frame, points)
    said = pickle.loads(pickle.dumps(signal)).of_units(frame, points, maps, unit, int(unit.max()) + 1)
    return said.columns["temporal_discrepancy"], unit, maps


def test_it_compares_two_models_in_the_same_views(folder: Path) -> None:
    frame = frames_of()[1]
    signal = EarlierSignal.open(folder / "earlier", folder / "now", PREDICT)
    found, unit, _ = asked(signal, folder / "now", frame)
    earlier, now = load_model(folder / "earlier"), load_model(folder / "now")
    earlier.augmentation = now.augmentation
    by_hand = []
    for model in (now, earlier):
        rng = frame_rng(5, frame.scene.id, frame.name)
        by_hand.append(predict_maps(model, frame.points(), 2, rng).probabilities.astype(np.float16).astype(np.float64))
    change = 0.5 * ((by_hand[0] - by_hand[1]) ** 2).sum(axis=1)
    np.testing.assert_allclose(found, [change[unit == u].mean() for u in range(len(found))], rtol=1e-4, atol=1e-9)
    assert 0 < found.max() <= 1
    top = EarlierSignal.open(folder / "earlier", folder / "now", PREDICT, top_share=0.2)
    assert (asked(top, folder / "now", frame)[0] >= found - 1e-12).all()
    assert top.fingerprint != signal.fingerprint


def test_one_and_the_same_model_gives_nothing_but_zeros(folder: Path) -> None:
    signal = EarlierSignal.open(folder / "now", folder / "now", PREDICT)
    assert not asked(signal, folder / "now", frames_of()[0])[0].any()


def test_without_an_earlier_model_what_is_nearest_to_uniform_counts_most(folder: Path) -> None:
    (signal,) = make_signals({"earlier"}, SignalSources(model=folder / "now"), Config())
    assert isinstance(signal, EarlierSignal)
    found, unit, maps = asked(signal, folder / "now", frames_of()[0])
    distance = distance_to_uniform(maps.probabilities)
    nearest = np.argsort([distance[unit == u].mean() for u in range(len(found))])
    assert np.argsort(-found).tolist() == nearest.tolist()
    assert found.min() >= -1e-6


def test_another_network_of_the_same_classes_will_do(folder: Path) -> None:
    signal = EarlierSignal.open(folder / "spvcnn", folder / "now", PREDICT)
    assert asked(signal, folder / "now", frames_of()[0])[0].max() > 0


def test_other_classes_and_no_model_are_refused_in_one_line(folder: Path, tmp_path: Path) -> None:
    now = load_model(folder / "now")
    Model(now.network, ("ground", "tree"), "other", now.voxel_m).save(tmp_path / "renamed")
    with pytest.raises(
        DataError, match=r"renamed: its class 1 is 'tree', that of .*now is 'wall'; give an earlier model"
    ):
        EarlierSignal.open(tmp_path / "renamed", folder / "now", PREDICT)
    with pytest.raises(DataError, match="no model there"):
        EarlierSignal.open(tmp_path / "nowhere", folder / "now", PREDICT)
    frame = frames_of()[0]
    signal = EarlierSignal.open(folder / "earlier", None, PREDICT)
    three = FrameMaps(np.full((300, 3), 1 / 3, np.float32))
    with pytest.raises(DataError, match=r"predictions of 3 classes, the earlier model .*earlier has 2") as error:
        signal.of_units(frame, frame.points(), three, np.zeros(300, np.int32), 1)
    assert "\n" not in str(error.value)


def test_a_frame_without_points_has_no_units(folder: Path) -> None:
    signal = EarlierSignal.open(folder / "earlier", folder / "now", PREDICT)
    empty = FrameMaps(np.empty((0, 2), np.float32))
    frame = frames_of()[0]
    said = signal.of_units(frame, np.empty((0, 4), np.float32), empty, np.empty(0, np.int32), 0)
    assert said.columns["temporal_discrepancy"].shape == (0,)


# --- in an experiment ----------------------------------------------------------------------------------------------


def test_models_that_start_afresh_are_not_compared(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"row 'tod': strategy 'tod' compares the models of two rounds, .* start: warm"
    ):
        run_experiment(tiny(strategies=["random", "tod"]), tmp_path)
    assert not any(tmp_path.iterdir())


def test_an_experiment_compares_with_the_round_before(tmp_path: Path) -> None:
    config = {**tiny().config, "tod": {"weight": 0.05, "alpha": 0.9}}
    experiment = tiny(strategies={"change": {"strategy": "tod"}}, start="warm", full_supervision=False, config=config)
    run_experiment(experiment, tmp_path)
    seed = tmp_path / "seed-3"
    first, second = (read_manifest(seed / "change" / f"round-{number}" / "queue").selection for number in (1, 2))
    for selection in (first, second):
        found = [pick.scores["temporal_discrepancy"] for pick in selection.picks]
        assert found == sorted(found, reverse=True)
        assert found[0] > 0
    model = load_model(seed / "change" / "round-1")
    assert model.settings["tod"]["frames"] == 6
