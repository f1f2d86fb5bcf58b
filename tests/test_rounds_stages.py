# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""GIST and RIST: what is set aside is never trained on, and the stage that is kept is the one that stages.json says."""

from __future__ import annotations

import json
import traceback
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from command_line import street, write_drive
from experiments import tiny
from test_rounds_ledger import record

from lidal3d.errors import UsageError
from lidal3d.learn.evaluate import confusion_matrix, mean_iou
from lidal3d.learn.model import load_model
from lidal3d.learn.predict import predict_points
from lidal3d.learn.train import train
from lidal3d.rounds import training
from lidal3d.rounds.choosing import assumed_in
from lidal3d.rounds.config import TrainingSettings
from lidal3d.rounds.experiment import run_experiment
from lidal3d.rounds.held_out import held_out_records
from lidal3d.rounds.ledger import Ledger
from lidal3d.rounds.links import Link
from lidal3d.rounds.masks import LedgerLabels
from lidal3d.rounds.oracle import GroundTruth
from lidal3d.rounds.record import Record
from lidal3d.rounds.relabel import relabelled
from lidal3d.rounds.seeds import derived_seed
from lidal3d.rounds.world import open_world
from lidal3d.scene.scene import Frame
from lidal3d.units import make_partition

ROWS = {name: {"strategy": "lidal", "training": name} for name in ("gist", "rist")}


def of_rounds(rng: np.random.Generator, frames: int = 200, rounds: int = 4, units: int = 60) -> list[Record]:
    """A ledger of random units in two scenes."""
    found = [record(0, scene="00", frame=4, kind="frame", labeller="initial", round=0, points=5000)]
    keys = rng.permutation(2 * frames * 50)[: rounds * units]
    for place, key in enumerate(keys.tolist()):
        scene, frame, unit = key // (frames * 50), key // 50 % frames, key % 50
        found.append(
            record(
                unit, scene=f"{scene:02d}", frame=frame, labeller="human", round=1 + place // units,
                points=int(rng.integers(20, 200)),
            )
        )  # fmt: skip
    return found


@pytest.mark.parametrize("seed", range(5))
def test_what_is_set_aside_is_a_share_in_whole_groups_and_stays(seed):
    rng = np.random.default_rng(seed)
    records, settings = of_rounds(rng), TrainingSettings(held_out=0.2, group_frames=7)
    earlier: set = set()
    groups: dict[tuple[str, int], bool] = {}
    for number in range(1, 5):
        known = [r for r in records if r.round <= number]
        aside = {r.key for r in held_out_records(known, settings, seed)}
        asked = [r for r in known if r.labeller == "human"]
        assert earlier <= aside
        share = sum(r.points for r in asked if r.key in aside) / sum(r.points for r in asked)
        assert 0.1 < share < 0.3
        for r in asked:
            assert groups.setdefault((r.scene, r.frame // 7), r.key in aside) == (r.key in aside)
        assert not [r for r in known if r.labeller == "initial" and r.key in aside]
        earlier = aside
    assert not groups.get(("00", 0), False), "frames beside the initial set are near copies of it"
    other = {r.key for r in held_out_records(records, settings, seed + 100)}
    assert other != earlier


def test_with_few_groups_the_smallest_is_set_aside_unless_it_is_more_than_half():
    settings = TrainingSettings(held_out=0.1, group_frames=1)
    two = [record(0, frame=1, round=1, points=300), record(1, frame=2, round=1, points=200)]
    assert held_out_records(two, settings, 0) == two[1:]
    assert held_out_records(two[:1], settings, 0) == []
    assert held_out_records([], settings, 0) == []
    later = [*two[:1], record(5, frame=1, round=2), record(6, frame=3, round=2, points=100)]
    assert [r.unit for r in held_out_records(later, settings, 0)] == [6]


@pytest.fixture(scope="module")
def drive(tmp_path_factory) -> Path:  # type: ignore[no-untyped-def]
    return write_drive(tmp_path_factory.mktemp("drive"), *(street(6, points=1500, scene=name) for name in ("00", "01")))


@pytest.fixture(scope="module", params=["fresh", "warm"])
def whole(request, drive, tmp_path_factory):  # type: ignore[no-untyped-def]
    """A run, who opened labels, and what each training learnt from: (folder, scene/frame, mask of labelled points)."""
    opened: list[tuple[str, frozenset[str]]] = []
    learnt: list[tuple[str, str, np.ndarray]] = []
    raw_labels, train_model = Frame.raw_labels, training.train_model

    def watched(frame: Frame):  # type: ignore[no-untyped-def]
        opened.append((frame.scene.id, frozenset(call.name for call in traceback.extract_stack())))
        return raw_labels(frame)

    def noted(link, folder, world, config, labels, frames, number, start):  # type: ignore[no-untyped-def]
        each = {frame.index: frame for frame in frames}.values()
        learnt.extend((folder.name, f"{number}/{frame.index}", labels(frame)[0] != 255) for frame in each)
        train_model(link, folder, world, config, labels, frames, number, start)

    out = tmp_path_factory.mktemp(request.param) / "out"
    recipe = {"stages": 3, "held_out": 0.2, "group_frames": 1}
    world = {"drive": str(drive), "validation": ["01"]}
    experiment = tiny(world=world, strategies=ROWS, training=recipe, start=request.param, full_supervision=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Frame, "raw_labels", watched)
        patch.setattr("lidal3d.rounds.stages.train_model", noted)
        result = run_experiment(experiment, out)
    return out, experiment, result, opened, learnt


def stages_of(out: Path, row: str, number: int) -> dict:
    return json.loads((out / "seed-3" / row / f"round-{number}" / "stages.json").read_text())


def test_gist_keeps_the_better_and_returns_the_best(whole):
    out, _, result, _, _ = whole
    for number in (1, 2):
        told = stages_of(out, "gist", number)
        assert [stage["stage"] for stage in told["stages"]] == [1, 2, 3]
        reached = []
        for stage in told["stages"]:
            miou = {one["labels"]: one["held_out_miou"] for one in stage["tried"]}
            assert miou.keys() == {"human", "pseudo"}
            assert stage["kept"] == ("human" if miou["human"] >= miou["pseudo"] else "pseudo")
            reached.append(max(miou.values()))
        assert told["returned_stage"] == 1 + reached.index(max(reached))
    assert {row.round for row in result.rows if row.strategy == "gist"} == {0, 1, 2}
    assert not list(out.rglob("stages"))


def test_rist_draws_one_kind_a_stage(whole):
    out, _, _, _, _ = whole
    drawn = Counter()
    for number in (1, 2):
        told = stages_of(out, "rist", number)
        for stage in told["stages"]:
            assert [one["labels"] for one in stage["tried"]] == [stage["kept"]]
            drawn[stage["kept"]] += 1
        reached = [stage["tried"][0]["held_out_miou"] for stage in told["stages"]]
        assert told["returned_stage"] == 1 + reached.index(max(reached))
    assert drawn.keys() == {"human", "pseudo"}


def test_the_returned_model_reaches_what_is_told_on_the_points_set_aside(whole):
    out, experiment, _, _, _ = whole
    scene, cut = open_world(experiment.world, out).train[0], make_partition(experiment.settings_of("gist").units)
    for row in ROWS:
        told, records = stages_of(out, row, 2), Ledger.open(out / "seed-3" / row / "ledger.jsonl").records
        aside = held_out_records(records, experiment.training_of(row), 3)
        assert told["held_out"]["points"] == sum(r.points for r in aside)
        model, confusion = load_model(out / "seed-3" / row / "round-2"), np.zeros((19, 19), np.int64)
        for index in {r.frame for r in aside}:
            frame = scene[index]
            points, labels = frame.points(), frame.labels()
            mine = np.isin(cut(points), [r.unit for r in aside if r.frame == index])
            probabilities, _ = predict_points(model, points, 1, np.random.default_rng(0))
            confusion += confusion_matrix(labels[mine], probabilities.argmax(axis=1)[mine], 19)
        stage = told["stages"][told["returned_stage"] - 1]
        miou = {one["labels"]: one["held_out_miou"] for one in stage["tried"]}
        assert miou[stage["kept"]] == pytest.approx(mean_iou(confusion), abs=1e-12)


def test_no_stage_learns_from_what_is_set_aside_or_from_the_other_kind_of_label(whole):
    out, experiment, _, _, learnt = whole
    scene, cut = open_world(experiment.world, out).train[0], make_partition(experiment.settings_of("gist").units)
    assert {name for name, _, _ in learnt} >= {"1-pseudo", "2-pseudo"}
    everywhere = {row: Ledger.open(out / "seed-3" / row / "ledger.jsonl").records for row in ROWS}
    for name, where, labelled in learnt:
        number, index = map(int, where.split("/"))
        ids, allowed = cut(scene[index].points()), []
        for row, records in everywhere.items():
            known = [r for r in records if r.round <= number]
            aside = {r.key for r in held_out_records(known, experiment.training_of(row), 3)}
            here = [r for r in known if r.frame == index]
            if name.endswith("pseudo"):
                units = [r.unit for r in here if r.labeller == "pseudo" and r.round == number]
            else:
                units = [r.unit for r in here if r.labeller == "human" and r.key not in aside]
                if any(r.labeller == "initial" for r in here):
                    units = np.unique(ids).tolist()
            allowed.append(np.isin(ids, units))
        # Rows choose differently: a training's labels lie within what one of them allows.
        assert any(not (labelled & ~mask).any() for mask in allowed), (name, where)


def test_stages_see_no_label_but_peoples_and_choose_without_validation(whole):
    _, _, _, opened, _ = whole
    for scene, callers in opened:
        assert callers & {"answer", "evaluate"}
        assert ("evaluate" in callers) == (scene == "01")


def test_a_stage_on_peoples_labels_is_an_ordinary_training_of_them(whole):
    out, experiment, _, _, _ = whole
    world, config, folder = open_world(experiment.world, out), experiment.settings_of("gist"), out / "seed-3"
    records = [r for r in Ledger.open(folder / "gist" / "ledger.jsonl").records if r.round <= 1]
    aside = held_out_records(records, experiment.training_of("gist"), 3)
    cut = make_partition(config.units)
    human = LedgerLabels([r for r in records if r.labeller != "pseudo" and r not in aside], GroundTruth(), cut)
    settings = config.train.model_copy(update={"seed": derived_seed("train", 3, 1)})
    initial = load_model(folder / "initial") if experiment.start == "warm" else None
    frames = training.training_frames(human, world, settings, experiment.sampling)
    model, answers = train(frames, world.classes, settings, human, initial), LedgerLabels(aside, GroundTruth(), cut)
    confusion = np.zeros((19, 19), np.int64)
    for frame in answers.frames(world.train_by_id):
        probabilities, _ = predict_points(model, frame.points(), 1, np.random.default_rng(0))
        confusion += confusion_matrix(answers(frame)[0], probabilities.argmax(axis=1), 19)
    first = stages_of(out, "gist", 1)["stages"][0]["tried"][0]
    assert first == {"labels": "human", "held_out_miou": pytest.approx(mean_iou(confusion), abs=1e-12)}


def test_the_model_that_chose_gives_the_same_pseudo_labels_again_and_another_gives_others(whole):
    out, experiment, _, _, _ = whole
    world, config, folder = open_world(experiment.world, out), experiment.settings_of("gist"), out / "seed-3"
    link, cut = Link(experiment, out, 3, "gist"), make_partition(config.units)
    records = [
        r for r in Ledger.open(folder / "gist" / "ledger.jsonl").records if r.round == 1 and r.labeller == "pseudo"
    ]
    queue = folder / "gist" / "round-1" / "queue"
    chosen = assumed_in(queue)
    assert chosen.keys() == {r.key for r in records}
    again = relabelled(records, folder / "initial", world, config, cut, link, 1)
    other = relabelled(records, folder / "gist" / "round-1", world, config, cut, link, 1)
    assert again.keys() == other.keys() == chosen.keys()
    for key, assumed in chosen.items():
        np.testing.assert_array_equal(again[key].labels, assumed.labels)
        np.testing.assert_array_equal(again[key].weights, assumed.weights)
    assert any((other[key].labels != assumed.labels).any() for key, assumed in chosen.items())


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ({"lidal": {"training": "gost"}}, "strategies.lidal.training: kind"),
        ({"lidal": {"training": {"stage": 3}}}, "unknown key 'stage'; did you mean 'stages'"),
        ({"lidal": {"training": {"held_out": 0.9}}}, "held_out"),
    ],
)
def test_a_wrong_recipe_is_named(rows, words):
    with pytest.raises(UsageError) as error:
        tiny(strategies=rows)
    assert words in str(error.value)


def test_rows_change_the_shared_recipe():
    experiment = tiny(strategies=ROWS, training={"stages": 5})
    assert experiment.training_of("gist") == TrainingSettings(kind="gist", stages=5)
    assert tiny(training="rist").training_of("lidal").kind == "rist"
    assert tiny().training_of("lidal").kind == "single"


def test_a_strategy_without_pseudo_labels_has_no_stages(tmp_path):
    with pytest.raises(UsageError, match="row 'random': training 'gist' is for pseudo-labels, 'random' has none"):
        run_experiment(tiny(strategies={"random": {"training": "gist"}}), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_with_nothing_to_judge_by_a_stage_trusts_people(drive, tmp_path):
    world = {"drive": str(drive), "validation": ["01"]}
    recipe = {"kind": "gist", "stages": 2, "group_frames": 1000}
    run_experiment(
        tiny(world=world, strategies=["lidal"], training=recipe, rounds=1, full_supervision=False), tmp_path / "out"
    )
    told = stages_of(tmp_path / "out", "lidal", 1)
    assert told["held_out"] == {"frames": 0, "points": 0, "units": 0, "share_of_asked_points": 0.0}
    assert told["learns_from"]["pseudo"]["points"] > 0
    assert [stage["tried"] for stage in told["stages"]] == [[{"labels": "human", "held_out_miou": None}]] * 2


def test_the_table_tells_how_rows_in_stages_were_trained(whole):
    out, experiment, result, _, _ = whole
    for row in ROWS:
        records = Ledger.open(out / "seed-3" / row / "ledger.jsonl").records
        aside = sum(r.points for r in held_out_records(records, experiment.training_of(row), 3))
        asked = sum(r.points for r in records if r.labeller == "human")
        note = next(
            block for block in result.table.split("\n\n") if block.startswith(f"{row}: {row.upper()}, 3 stages")
        )
        assert f"{100 * aside / asked:.0f} % of the points people were asked about" in note
