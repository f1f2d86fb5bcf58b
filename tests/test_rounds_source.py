# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""An experiment from a labelled source to an unlabelled target, whole and tiny."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest
from experiments import tiny

from lidal3d.config import configs_folder
from lidal3d.errors import UsageError
from lidal3d.learn.sampler import Portion
from lidal3d.rounds import choosing
from lidal3d.rounds.config import load_experiment
from lidal3d.rounds.experiment import run_experiment
from lidal3d.rounds.ledger import Ledger
from lidal3d.rounds.links import Link
from lidal3d.rounds.source import mixed, with_source
from lidal3d.rounds.world import open_world
from lidal3d.select.manifest import read_manifest

SIMULATE = {"beams": 16, "columns": 128, "frames": 6, "scenes": 2}
WORLD = {
    "simulate": {**SIMULATE, "style": "downtown", "sensor": "vlp32", "seed": 40},
    "validation": ["01"],
    "source": {"simulate": {**SIMULATE, "seed": 80}},
}


def adapting(**changes):  # type: ignore[no-untyped-def]
    return tiny(**{"world": WORLD, "initial": {"kind": "none"}, "strategies": ["random", "d2ada"], **changes})


@pytest.fixture(scope="module")
def whole(tmp_path_factory):  # type: ignore[no-untyped-def]
    """A finished experiment, and the pools that its strategies were given."""
    out, sources = tmp_path_factory.mktemp("adapted") / "out", []
    choose_from = choosing.choose_from

    def watched(pool, strategy, config, world, history, rng, source=None):  # type: ignore[no-untyped-def]
        sources.append((strategy.name, history.rounds, source))
        return choose_from(pool, strategy, config, world, history, rng, source)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(choosing, "choose_from", watched)
        result = run_experiment(adapting(), out)
    return out, result, sources


def test_the_first_model_knows_the_source_alone(whole):
    out, result, _ = whole
    assert {row.labelled_points for row in result.rows if row.round == 0} == {0}
    assert all(row.labelled_points > 0 for row in result.rows if row.round > 0)
    assert {scene.id for scene in open_world(adapting().world, out).source} == {"source-00", "source-01"}
    first = {row.strategy: row.miou for row in result.rows if row.round == 0}
    assert first["random"] == first["d2ada"]
    assert "All labels of the source are trained on in every round, 50 % of the steps" in result.table


def test_the_ledger_and_the_queues_are_the_targets(whole):
    out, _, _ = whole
    for row in ("random", "d2ada"):
        records = Ledger.open(out / "seed-3" / row / "ledger.jsonl").records
        assert {(record.scene, record.labeller) for record in records} == {("00", "human")}
    assert not list(out.rglob("source-scores"))


def test_who_needs_a_source_is_given_it_and_the_number_of_the_round(whole):
    out, _, sources = whole
    assert [(name, rounds, source is not None) for name, rounds, source in sources] == [
        ("random", 0, False), ("random", 1, False), ("d2ada", 0, True), ("d2ada", 1, True),
    ]  # fmt: skip
    assert set(sources[-1][2].table.scenes) == {"source-00", "source-01"}
    queues = [read_manifest(out / "seed-3" / "d2ada" / f"round-{n}" / "queue").selection.picks for n in (1, 2)]
    by_density = [sum("commoner here than in the source" in pick.reason for pick in picks) for picks in queues]
    assert by_density[0] == len(queues[0])
    assert 0 < by_density[1] < len(queues[1])


def test_steps_are_shared_as_asked(whole):
    out, _, _ = whole
    world = open_world(adapting().world, out)
    source, frames = world.source_frames(), world.labelled_train_frames()
    assert len(source) == 12
    settings = adapting(world={**WORLD, "source": {**WORLD["source"], "share": 0.25}}).world
    assert mixed(frames, world, settings) == ([*frames, *source], [Portion(6, 0.75), Portion(12, 0.25)])
    assert mixed([], world, settings) == (source, [Portion(0, 0.75), Portion(12, 0.25)])
    assert mixed(frames, replace(world, source=()), tiny().world) == (frames, [Portion(6, 1.0), Portion(0, 0.0)])


def test_labels_come_from_where_the_frame_is_from(whole):
    out, _, _ = whole
    world = open_world(adapting().world, out)

    def asked(frame):  # type: ignore[no-untyped-def]
        raise AssertionError(f"{frame.scene.id} is not the ledger's")

    labels, weights = with_source(asked, world)(world.source_frames()[0])
    assert weights is None
    assert (labels == world.source_frames()[0].labels()).all()
    with pytest.raises(AssertionError, match="00 is not"):
        with_source(asked, world)(world.labelled_train_frames()[0])


def test_it_goes_on_where_it_stopped(whole, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(whole[0], out)
    for name in ("model.safetensors", "evaluation.json"):
        (out / "seed-3" / "d2ada" / "round-2" / name).unlink()
    (out / "metrics.csv").unlink()
    run_experiment(adapting(), out)
    for name in ("metrics.csv", "seed-3/d2ada/ledger.jsonl", "table.txt"):
        assert (out / name).read_bytes() == (whole[0] / name).read_bytes()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"world": {k: v for k, v in WORLD.items() if k != "source"}}, "initial.kind none leaves nothing to train"),
        ({"world": {**WORLD, "source": {}}}, "give the source a drive or simulate one"),
        ({"world": {**WORLD, "source": {"simulat": {}}}}, "did you mean 'world.source.simulate'"),
        ({"world": {**WORLD, "source": {"simulate": {"frame": 3}}}}, "did you mean 'world.source.simulate.frames'"),
        ({"world": {**WORLD, "sourc": {}}}, "did you mean 'world.source'"),
    ],
)
def test_mistakes_are_named_in_one_line(change, words):
    with pytest.raises(UsageError) as error:
        adapting(**change)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_stages_with_a_source_are_refused(tmp_path):
    rows = {"lidal": {"training": "gist"}}
    with pytest.raises(UsageError, match=r"row 'lidal': training 'gist' can't mix in a source's labels"):
        run_experiment(adapting(strategies=rows), tmp_path / "out")


def test_without_a_source_d2ada_compares_with_what_is_labelled(whole, tmp_path):
    experiment = tiny(
        world={"drive": str(whole[0] / "world"), "validation": ["01"]}, strategies=["d2ada"], rounds=1,
        full_supervision=False,
    )  # fmt: skip
    run_experiment(experiment, tmp_path / "out")
    picks = read_manifest(tmp_path / "out" / "seed-3" / "d2ada" / "round-1" / "queue").selection.picks
    assert all("commoner here than in what is labelled" in pick.reason for pick in picks)


def test_the_shipped_comparison_adapts_between_towns_and_sensors():
    experiment = load_experiment(configs_folder() / "sandbox" / "adaptation.yaml")
    source, target = experiment.world.source, experiment.world.simulate
    assert (source.simulate.style, source.simulate.sensor) == ("suburb", "hdl64")
    assert (target.style, target.sensor) == ("downtown", "vlp32")
    assert {"random", "random_stratified", "entropy", "d2ada", "d2ada_density"} <= set(experiment.strategies)
    assert Link(experiment, configs_folder(), 0, "initial").experiment.initial.kind == "none"
