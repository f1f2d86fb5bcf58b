# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""`lidal3d experiment`, `ingest`, and what doesn't fit together: one clear line each, and nothing is lost."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from command_line import FAST, CommandLine, street, write_drive, write_predictions
from experiments import tiny

from lidal3d.jobs.experiment import experiment_job
from lidal3d.learn.batch import VOXEL_FEATURES
from lidal3d.learn.minkunet import Architecture
from lidal3d.learn.model import Model, load_model
from lidal3d.learn.networks import build
from lidal3d.rounds.label_store import LabelStore
from lidal3d.rounds.ledger import Ledger
from lidal3d.scene.open import open_drive

TRAIN = ("--steps", 1, "--set", "train.width=0.0625", "--set", "train.max_range_m=100")


@pytest.fixture
def lidal3d(capsys) -> CommandLine:  # type: ignore[no-untyped-def]
    return CommandLine(capsys)


@pytest.fixture(scope="module")
def drive(tmp_path_factory) -> Path:  # type: ignore[no-untyped-def]
    scenes = street(6, points=1500), street(3, points=1500, scene="01", seed=1)
    return write_drive(tmp_path_factory.mktemp("drive") / "drive", *scenes)


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


# An experiment -------------------------------------------------------------------------------------------------------


class Ran:
    """An experiment that has run, and how to run it again."""

    def __init__(self, folder: Path, drive: Path) -> None:
        self.file, self.out, self.drive = folder / "tiny.yaml", folder / "out", drive
        values = tiny(
            world={"validation": ["01"]}, rounds=1, strategies=["lidal"], full_supervision=False, start="warm"
        ).model_dump(mode="json")
        self.file.write_text(yaml.safe_dump(values))
        self.ledger = self.out / "seed-3" / "lidal" / "ledger.jsonl"

    def command(self, **changes: object) -> tuple[object, ...]:
        """Arguments that run it, with other settings where given."""
        values = {**yaml.safe_load(self.file.read_text()), **changes}
        self.file.write_text(yaml.safe_dump(values))
        return "experiment", self.file, "--drive", self.drive, "-o", self.out


@pytest.fixture(scope="module")
def template(drive, tmp_path_factory) -> Path:  # type: ignore[no-untyped-def]
    folder = tmp_path_factory.mktemp("template")
    ran = Ran(folder, drive)
    experiment_job(ran.file, ran.out, drive=drive)
    return folder


@pytest.fixture
def ran(template, drive, tmp_path) -> Ran:  # type: ignore[no-untyped-def]
    shutil.copytree(template, tmp_path / "ran")
    return Ran(tmp_path / "ran", drive)


def test_one_seed_is_allowed_and_the_table_says_what_it_is_worth(lidal3d, ran):
    before = bytes_of(ran.out)
    said = lidal3d.fine(*ran.command())
    assert said == (ran.out / "table.txt").read_text()
    assert said.split("\n\n")[1].startswith("ONE SEED PROVES NOTHING")
    assert bytes_of(ran.out) == before


def test_a_ledger_without_its_tail_is_refused_and_kept(lidal3d, ran):
    whole = ran.ledger.read_bytes()
    records = len(whole.splitlines()) - 1
    ran.ledger.write_bytes(b"".join(whole.splitlines(keepends=True)[:-2]))
    before = bytes_of(ran.out)
    line = lidal3d.fault(*ran.command())
    assert f"{ran.ledger}: {records - 2} whole records, {records} were written" in line
    ran.ledger.unlink()
    (ran.out / "seed-3" / "lidal" / "round-1" / "evaluation.json").unlink()
    line = lidal3d.fault(*ran.command())
    assert f"{ran.ledger}: is missing, but {records} records were written" in line
    ran.ledger.write_bytes(whole)
    lidal3d.fine(*ran.command())
    after = bytes_of(ran.out)
    assert after.keys() == before.keys()
    assert [name for name in before if after[name] != before[name]] == ["seed-3/lidal/ledger.jsonl"]


def test_a_ledger_of_another_data_set_is_refused_and_kept(lidal3d, ran, tmp_path):
    other = open_drive(write_drive(tmp_path / "other", street(4, seed=7)))
    for name in ("ledger.jsonl", "ledger.jsonl.head"):
        (ran.ledger.parent / name).unlink()
    Ledger.create(ran.ledger, other)
    shutil.rmtree(ran.out / "seed-3" / "lidal" / "round-1")
    before = bytes_of(ran.out)
    line = lidal3d.fault(*ran.command())
    assert f"{ran.ledger}: of another drive: scene 00 had 4 frames" in line
    assert bytes_of(ran.out) == before


def test_a_drive_that_changed_is_refused(lidal3d, ran, tmp_path):
    ran.drive = Path(shutil.copytree(ran.drive, tmp_path / "drive"))
    ran.out = tmp_path / "out"
    lidal3d.fine(*ran.command(strategies=["random"], start="fresh"))
    before = bytes_of(ran.out)
    poses = ran.drive / "sequences" / "00" / "poses.txt"
    lines = poses.read_text().splitlines()
    poses.write_text("\n".join([*lines[:-1], lines[0]]) + "\n")
    assert f"{ran.out}: was made from a drive with other frames or poses" in lidal3d.fault(*ran.command())
    assert bytes_of(ran.out) == before


def test_a_warm_start_needs_the_architecture_of_the_model_before(lidal3d, ran, tmp_path):
    ran.out = tmp_path / "out"
    wide = {"wide": {"strategy": "random", "config": {"train": {"width": 0.25}}}}
    line = lidal3d.fault(*ran.command(strategies=wide))
    assert "has width 0.125, but width 0.25 was asked for" in line
    assert str(ran.out / "seed-3" / "initial" / "model.safetensors") in line


def test_a_model_of_other_classes_is_not_gone_on_from(lidal3d, ran):
    shutil.rmtree(ran.out / "seed-3" / "lidal")
    network = build(Architecture(3, VOXEL_FEATURES, 0.125, 1, "minkunet"), 0)
    path = Model(network, ("car", "road", "tree"), "three", 0.5).save(ran.out / "seed-3" / "initial")
    assert f"{path}: a model of 3 classes, but the drive has 19" in lidal3d.fault(*ran.command())


def test_stages_need_pseudo_labels(lidal3d, ran, tmp_path):
    ran.out = tmp_path / "out"
    line = lidal3d.fault(*ran.command(strategies={"random": {"training": "gist"}}), code=2)
    assert "row 'random': training 'gist' is for pseudo-labels" in line
    assert not ran.out.exists()


# Models, predictions, drives -----------------------------------------------------------------------------------------


def test_a_model_of_another_architecture_or_other_classes_is_named(lidal3d, drive, tmp_path):
    model = tmp_path / "model"
    lidal3d.fine("train", drive, "-o", model, *TRAIN)
    before = bytes_of(model)
    again = ("train", drive, "-o", tmp_path / "out", "--initial", model, "--steps", 1)
    assert "has width 0.0625, but width 0.125 was asked for" in lidal3d.fault(*again, "--set", "train.width=0.125")
    spvcnn = ("--set", "train.width=0.0625", "--set", "train.architecture=spvcnn")
    assert "minkunet, but" in lidal3d.fault(*again, *spvcnn)
    other = ("--set", "train.width=0.0625", "--label-map", "nuscenes")
    assert "a model of 19 classes, but the drive has 16" in lidal3d.fault(*again, *other)
    predict = ("predict", drive, "-m", model, "-o", tmp_path / "out", "--label-map", "nuscenes")
    assert "a model of 19 classes, but the drive has 16" in lidal3d.fault(*predict)
    assert not (tmp_path / "out").exists()
    assert bytes_of(model) == before


# Answers -------------------------------------------------------------------------------------------------------------


class Queue:
    """A queue that was exported, and the command that takes in its answers."""

    def __init__(self, root: Path) -> None:
        self.drive, self.queue, self.answers = root / "drive", root / "queue", root / "answers"
        self.ledger, self.labels = root / "ledger.jsonl", root / "labels"

    def ingest(self) -> tuple[object, ...]:
        """Arguments."""
        return "ingest", self.queue, self.answers, "--ledger", self.ledger, "-o", self.labels, "--drive", self.drive

    def label_all(self) -> None:
        """The true id on every point that is asked about."""
        for path in sorted(self.answers.glob("*/map.json")):
            window = json.loads(path.read_text())
            for entry in window["frames"]:
                file = path.parent / "labels" / f"{entry['number']}.label"
                truth = self.drive / "sequences" / window["scene"] / "labels" / f"{entry['name']}.label"
                labels = np.fromfile(file, "<u4")
                np.where(labels == 0, np.fromfile(truth, "<u4"), labels).astype("<u4").tofile(file)


@pytest.fixture
def queue(lidal3d, tmp_path) -> Queue:  # type: ignore[no-untyped-def]
    made = Queue(tmp_path)
    write_drive(made.drive, street(5))
    write_predictions(tmp_path / "predictions", street(5))
    lidal3d.fine("score", made.drive, "-p", tmp_path / "predictions", "-o", tmp_path / "scores", *FAST)
    lidal3d.fine("select", tmp_path / "scores", "-b", "10%", "-o", made.queue)
    lidal3d.fine("export", made.queue, "-f", "point_labeler", "-o", made.answers)
    made.label_all()
    return made


def test_answers_come_in_once(lidal3d, queue):
    assert "round" in lidal3d.fine(*queue.ingest())
    before = bytes_of(queue.labels), queue.ledger.read_bytes()
    assert " 0 units, " in lidal3d.fine(*queue.ingest())
    assert (bytes_of(queue.labels), queue.ledger.read_bytes()) == before


def test_answers_for_units_never_asked_are_refused(lidal3d, queue):
    path = next(queue.answers.glob("*/map.json"))
    window = json.loads(path.read_text())
    window["frames"][0]["asked"].append({"unit": 4321, "rank": 1, "points": 5, "reason": ""})
    path.write_text(json.dumps(window))
    assert "answers unit 4321 of scene 00 frame" in lidal3d.fault(*queue.ingest())
    assert not queue.ledger.exists()
    assert not queue.labels.exists()


def test_a_foreign_or_cut_ledger_takes_no_answers(lidal3d, queue, tmp_path):
    Ledger.create(queue.ledger, open_drive(write_drive(tmp_path / "other", street(4, seed=9))))
    foreign = queue.ledger.read_bytes()
    assert f"{queue.ledger}: of another drive: scene 00 had 4 frames" in lidal3d.fault(*queue.ingest())
    assert queue.ledger.read_bytes() == foreign
    assert not queue.labels.exists()
    for name in ("ledger.jsonl", "ledger.jsonl.head"):
        (tmp_path / name).unlink()
    lidal3d.fine(*queue.ingest())
    labels, whole = bytes_of(queue.labels), queue.ledger.read_bytes()
    queue.ledger.write_bytes(whole[: len(whole) // 2])
    assert "its tail is missing, restore it" in lidal3d.fault(*queue.ingest())
    assert queue.ledger.read_bytes() == whole[: len(whole) // 2]
    assert bytes_of(queue.labels) == labels


def test_labels_of_a_wrong_length_or_of_other_classes_are_refused(lidal3d, queue):
    lidal3d.fine(*queue.ingest())
    path = next(queue.labels.rglob("*.npy"))
    labels, ledger = np.load(path), queue.ledger.read_bytes()
    np.save(path, labels[:-2])
    line = lidal3d.fault(*queue.ingest())
    assert str(path) in line
    assert f"({len(labels) - 2},), the sweep has {len(labels)} points" in line
    np.save(path, labels)
    (queue.labels / "labels.yaml").write_text("classes: [car, road]\n")
    line = lidal3d.fault(*queue.ingest())
    assert "2 classes ['car', 'road']" in line
    assert "the queue has 19" in line
    assert queue.ledger.read_bytes() == ledger


def test_training_takes_the_answers_and_nothing_else(lidal3d, queue, tmp_path):
    """Export, label, ingest, train: the model is that of a drive whose label files hold the answers and no more."""
    lidal3d.fine(*queue.ingest())
    store, (scene,) = LabelStore.open(queue.labels), open_drive(queue.drive)
    shutil.copytree(queue.drive, tmp_path / "answered")
    shutil.rmtree(tmp_path / "answered" / "sequences" / "00" / "labels")
    raw_of = dict(enumerate(scene.label_map.train_to_raw))
    unanswered = 0
    for _, name in store.frames():
        labels = store.labels("00", name, len(scene[scene.frame_names.index(name)].points()))
        unanswered += int((labels == 255).sum())
        raw = np.array([raw_of.get(label, 0) for label in labels.tolist()], "<u4")
        assert ((raw == 0) == (labels == 255)).all()
        path = tmp_path / "answered" / "sequences" / "00" / "labels" / f"{name}.label"
        path.parent.mkdir(exist_ok=True)
        raw.tofile(path)
    assert 0 < len(store.frames()) < len(scene)
    assert unanswered > 0
    told = lidal3d.fine("train", tmp_path / "answered", "-o", tmp_path / "by_files", *TRAIN)
    assert f"{len(store.frames())} labelled frame" in told
    shutil.rmtree(queue.drive / "sequences" / "00" / "labels")
    told = lidal3d.fine("train", queue.drive, "--labels", queue.labels, "-o", tmp_path / "by_answers", *TRAIN)
    assert f"{len(store.frames())} labelled frame" in told
    mine, theirs = (load_model(tmp_path / name).network.state_dict() for name in ("by_answers", "by_files"))
    assert all((mine[key] == theirs[key]).all() for key in theirs)


def test_labels_that_do_not_fit_are_not_trained_on(lidal3d, queue, tmp_path):
    lidal3d.fine(*queue.ingest())
    answered = {name for _, name in LabelStore.open(queue.labels).frames()}
    bare = next(name for name in open_drive(queue.drive)[0].frame_names if name not in answered)
    train = ("train", queue.drive, "-o", tmp_path / "model", *TRAIN, "--labels")
    assert f"{bare}.npy: no answers" in lidal3d.fault(*train, queue.labels, "--frame", f"00/{bare}")
    assert "labels.yaml: no labels there" in lidal3d.fault(*train, tmp_path / "nothing")
    other = write_drive(tmp_path / "other", street(3, scene="05"))
    line = lidal3d.fault("train", other, "-o", tmp_path / "model", *TRAIN, "--labels", queue.labels)
    assert "labels of a frame that is none of the drive's 3" in line
    LabelStore.open_or_create(tmp_path / "empty", open_drive(queue.drive)[0].label_map.classes)
    assert "answers for 0 of 5 frames" in lidal3d.fault(*train, tmp_path / "empty")
    path = next(queue.labels.rglob("*.npy"))
    labels = np.load(path)
    np.save(path, labels[:-2])
    assert f"({len(labels) - 2},), the sweep has {len(labels)} points" in lidal3d.fault(*train, queue.labels)
    (queue.labels / "labels.yaml").write_text("classes: [car, road]\n")
    assert "2 classes ['car', 'road']…, the drive has 19" in lidal3d.fault(*train, queue.labels)
    assert not (tmp_path / "model").exists()
