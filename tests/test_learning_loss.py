# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Strategy learning_loss: its gate, its order; the loss signal, and a whole experiment with the strategy."""

from __future__ import annotations

import logging
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from experiments import tiny
from strategy_pools import TENTH, frame_facts, pool_of, with_columns
from test_learn_beside import HEAD, config_of, frames_of, run
from test_learn_jobs import memory_scene, sweep

from lidal3d.config import Config
from lidal3d.errors import DataError, UsageError
from lidal3d.jobs.signal_loss import LossSignal
from lidal3d.jobs.signals import SignalSources, facts_of, make_signals
from lidal3d.learn.model import load_model
from lidal3d.predictions.maps import FrameMaps
from lidal3d.rounds.experiment import run_experiment
from lidal3d.select.history import History
from lidal3d.select.manifest import read_manifest
from lidal3d.select.selection import Selection
from lidal3d.strategies import STRATEGIES, UnitPool
from lidal3d.strategies.learning_loss import in_experiment
from lidal3d.units import make_partition

NOTHING = FrameMaps(np.empty((0, 2), np.float32))


def judged(accuracy: float | None, units: int = 40, pool: UnitPool | None = None) -> UnitPool:
    pool = pool_of() if pool is None else pool
    verdict = {"units": units, "accuracy": accuracy, "spearman": None, "by": "units"}
    return replace(pool, table=replace(pool.table, metadata={**pool.table.metadata, "loss_head": verdict}))


def choose(pool: UnitPool, seed: int = 0, **settings: object) -> Selection:
    config = TENTH.updated({"learning_loss": settings})
    rng = np.random.default_rng(seed)
    return STRATEGIES["learning_loss"].choose(pool, config, frame_facts, History(), rng)[0]


def losses_of(selection: Selection) -> list[float]:
    return [pick.scores["predicted_loss"] for pick in selection.picks]


# --- the gate ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("accuracy", "said"),
    [
        (0.55, r"orders 55.0 % of the pairs of 40 held-out units, more than 55 % are needed \(learning_loss.gate\)"),
        (0.31, "orders 31.0 % of the pairs .*"),
        (None, "is not known: 40 were held out, 5 that differ are needed"),
    ],
)
def test_a_head_that_does_not_order_is_refused_with_the_number_and_what_to_do(
    accuracy: float | None, said: str
) -> None:
    with pytest.raises(UsageError, match=f"{said}; train on more labels, .*below_gate=random") as error:
        choose(judged(accuracy))
    assert "\n" not in str(error.value)


def test_below_the_gate_units_can_be_drawn_at_random_and_it_is_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        drawn = choose(judged(0.5), below_gate="random")
    assert "the loss head orders 50.0 %" in caplog.text
    assert all(pick.reason.startswith("drawn at random: the loss head orders 50.0 %") for pick in drawn.picks)
    again = choose(judged(0.5), seed=1, below_gate="random")
    assert [pick.key for pick in drawn.picks] != [pick.key for pick in again.picks]
    assert losses_of(drawn) != sorted(losses_of(drawn), reverse=True)


def test_above_it_or_with_no_gate_the_largest_losses_come_first() -> None:
    for pool, gate in ((judged(0.56), 0.55), (judged(0.3), 0.0), (judged(None), 0.0), (pool_of(), 0.55)):
        found = losses_of(choose(pool, gate=gate))
        assert found == sorted(found, reverse=True)
        assert found[0] == max(pool.table.score("predicted_loss")[pool.table.score("is_key_frame") > 0])


def test_an_experiment_goes_on_at_random_unless_it_is_told_to_refuse() -> None:
    assert in_experiment(Config()).learning_loss.below_gate == "random"
    refusing = Config().updated({"learning_loss": {"below_gate": "refuse"}})
    assert in_experiment(refusing) == refusing


# --- the order -----------------------------------------------------------------------------------------------------


def test_the_largest_losses_can_be_left_for_last() -> None:
    pool = judged(0.9)
    whole, trimmed = losses_of(choose(pool)), losses_of(choose(pool, trim=0.1))
    known = np.sort(pool.table.score("predicted_loss")[pool.table.score("is_key_frame") > 0])
    assert max(trimmed) == known[-1 - int(0.1 * len(known))]
    assert not set(trimmed) & set(known[-int(0.1 * len(known)) :])
    assert len(whole) > 3


def test_a_random_sub_pool_is_asked_first() -> None:
    pool = judged(0.9)
    found = [losses_of(choose(pool, seed, sub_pool=12)) for seed in (0, 0, 1)]
    assert found[0] == found[1] != found[2]
    first = found[0][:12]
    assert first == sorted(first, reverse=True)
    assert losses_of(choose(pool, sub_pool=0)) == losses_of(choose(pool, sub_pool=10_000))


def test_equal_losses_go_by_the_order_of_the_units() -> None:
    pool = with_columns(judged(0.9), predicted_loss=np.zeros(240))
    keys = [pick.key for pick in choose(pool).picks]
    assert keys == sorted(keys, key=lambda key: (key.scene, key.frame, key.unit))


# --- the signal ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with a head in head/, one without in none/."""
    folder = tmp_path_factory.mktemp("models")
    run(config_of(HEAD)).save(folder / "head")
    run(config_of()).save(folder / "none")
    return folder


def test_the_signal_is_the_head_of_the_model_for_every_unit(folder: Path) -> None:
    config = config_of(HEAD)
    signal = LossSignal.open(folder / "head", "grid", config.learning_loss)
    frame = frames_of()[2]
    points = frame.points()
    unit = make_partition(config.units)(points)
    units = int(unit.max()) + 1
    said = pickle.loads(pickle.dumps(signal)).of_units(frame, points, NOTHING, unit, units)
    assert set(said.columns) == {"predicted_loss"}
    found = said.columns["predicted_loss"]
    assert found.shape == (units,)
    assert np.isfinite(found).all()
    assert len(np.unique(found)) > 1
    again = signal.of_units(frame, points, NOTHING, unit, units).columns["predicted_loss"]
    assert np.array_equal(found, again)
    order = np.random.default_rng(0).permutation(units).astype(np.int32)
    renamed = signal.of_units(frame, points, NOTHING, order[unit], units).columns["predicted_loss"]
    np.testing.assert_allclose(renamed[order], found, atol=1e-5)
    model = load_model(folder / "head")
    assert facts_of([signal]) == {"loss_head": model.loss_head.held_out}  # type: ignore[union-attr]
    empty = signal.of_units(frame, points[:0], NOTHING, unit[:0], 0)
    assert empty.columns["predicted_loss"].shape == (0,)


def test_a_model_without_a_head_or_for_other_units_is_refused(folder: Path) -> None:
    settings = Config().learning_loss
    with pytest.raises(UsageError, match=r"none: the model has no loss head; train .*learning_loss.weight=1"):
        LossSignal.open(folder / "none", "grid", settings)
    with pytest.raises(
        DataError, match=r"for units of kind grid, not frame; train it again with --set units.kind=frame"
    ):
        LossSignal.open(folder / "head", "frame", settings)
    with pytest.raises(DataError, match="no model there"):
        LossSignal.open(folder / "nowhere", "grid", settings)


def test_where_units_are_drawn_at_random_a_model_without_a_head_will_do(folder: Path) -> None:
    config = in_experiment(Config())
    (signal,) = make_signals({"loss_head"}, SignalSources(model=folder / "none"), config)
    frame = memory_scene(sweep(0, 50))[0]
    said = signal.of_units(frame, frame.points(), NOTHING, np.zeros(50, np.int32), 1)
    assert said.columns["predicted_loss"].tolist() == [0]
    pool = pool_of()
    pool = replace(pool, table=replace(pool.table, metadata={**pool.table.metadata, **facts_of([signal])}))
    with pytest.raises(UsageError, match="the model has no loss head"):
        choose(pool)
    assert "no loss head" in choose(pool, below_gate="random").picks[0].reason


def test_a_head_trained_anew_is_another_signal(folder: Path, tmp_path: Path) -> None:
    run(config_of(HEAD, seed=4)).save(tmp_path)
    settings = Config().learning_loss
    first, other = (LossSignal.open(path, "grid", settings) for path in (folder / "head", tmp_path))
    assert first.fingerprint != other.fingerprint


# --- in an experiment ----------------------------------------------------------------------------------------------


def test_an_experiment_begins_at_random_and_then_has_a_head(tmp_path: Path) -> None:
    row = {"strategy": "learning_loss", "config": {"learning_loss": {"weight": 1.0, "hidden": 8, "gate": 0.01}}}
    experiment = tiny(strategies={"ll": row}, full_supervision=False)
    result = run_experiment(experiment, tmp_path)
    assert len(result.rows) > 0
    rounds = [tmp_path / "seed-3" / "ll" / f"round-{number}" for number in (1, 2)]
    first, second = (read_manifest(folder / "queue").selection for folder in rounds)
    assert all("no loss head" in pick.reason for pick in first.picks)
    heads = [load_model(folder).loss_head for folder in rounds]
    assert all(head is not None and head.kind == "grid" and head.held_out["units"] >= 5 for head in heads)
    losses = [pick.scores["predicted_loss"] for pick in second.picks]
    assert losses == sorted(losses, reverse=True)
    assert load_model(tmp_path / "seed-3" / "initial").loss_head is None
