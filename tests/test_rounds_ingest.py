# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Export, label, ingest: what people answer stands in the labels and in the ledger, and nothing else does."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from command_line import street, write_drive, write_predictions

from lidal3d.config import Config
from lidal3d.errors import DataError
from lidal3d.jobs.export import export_job, read_queue
from lidal3d.jobs.ingest import ingest_job
from lidal3d.jobs.score import score_drive
from lidal3d.jobs.select import select_job
from lidal3d.predictions.store import PredictionStore
from lidal3d.rounds.label_store import LabelStore
from lidal3d.rounds.ledger import Ledger
from lidal3d.rounds.masks import LedgerLabels
from lidal3d.rounds.oracle import GroundTruth, StoredAnswers
from lidal3d.rounds.record import by_people
from lidal3d.scene.open import open_drive
from lidal3d.units import make_partition

CONFIG = Config().updated(
    {
        "units": {"kind": "grid", "cell_m": 6.0},
        "interframe": {"half_window": 2},
        "select": {"budget": "10%", "min_distance_m": 0.0, "min_points": 3},
        "pseudo": {"budget": "5%", "max_divergence": 99.0, "max_entropy": 99.0, "min_confidence": 0.0},
    }
)


@dataclass(frozen=True)
class Exported:
    """A queue that was exported, and where its parts lie."""

    drive: Path
    queue: Path
    answers: Path
    folder: Path

    def ingest(self, **options):  # type: ignore[no-untyped-def]
        return ingest_job(self.queue, self.answers, self.folder / "ledger.jsonl", self.folder / "labels", **options)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:  # type: ignore[no-untyped-def]
    root = tmp_path_factory.mktemp("made")
    scenes = [street(6, scene="00"), street(5, scene="03", seed=1)]
    write_drive(root / "drive", *scenes)
    write_predictions(root / "predictions", *scenes)
    store = PredictionStore.open(root / "predictions")
    score_drive(open_drive(root / "drive"), store, root / "scores", CONFIG, root / "drive")
    select_job(root / "scores", root / "queue", CONFIG)
    export_job(root / "queue", root / "answers", "point_labeler")
    return root


@pytest.fixture
def exported(made, tmp_path) -> Exported:  # type: ignore[no-untyped-def]
    shutil.copytree(made / "answers", tmp_path / "answers")
    return Exported(made / "drive", made / "queue", tmp_path / "answers", tmp_path)


def windows(exported: Exported):  # type: ignore[no-untyped-def]
    for path in sorted(exported.answers.glob("*/map.json")):
        yield path.parent, json.loads(path.read_text())


def label_all(exported: Exported, keep=lambda scene, frame: True) -> None:  # type: ignore[no-untyped-def]
    """What a diligent person does: the true raw id on every grey point."""
    for folder, window in windows(exported):
        for entry in window["frames"]:
            truth = np.fromfile(
                exported.drive / "sequences" / window["scene"] / "labels" / f"{entry['name']}.label", "<u4"
            )
            path = folder / "labels" / f"{entry['number']}.label"
            labels = np.fromfile(path, "<u4")
            if keep(window["scene"], entry["frame"]):
                labels = np.where(labels == 0, truth, labels)
            labels.astype("<u4").tofile(path)


def test_export_label_ingest_gives_the_truth(exported):
    label_all(exported)
    result = exported.ingest()
    queue, scenes = read_queue(exported.queue), {scene.id: scene for scene in open_drive(exported.drive)}
    assert (result.answered, result.open, result.known, result.round) == (len(queue.asked), 0, 0, 1)
    assert result.corrected == 0
    assert result.pseudo == len(queue.assumed) > 0
    store = LabelStore.open(exported.folder / "labels")
    asked = {
        (scene.id, k): np.zeros(len(scene[k].points()), bool) for scene in scenes.values() for k in range(len(scene))
    }
    for unit in queue.asked:
        asked[unit.pick.key.scene, unit.pick.key.frame][unit.indices] = True
    assumed = {key: np.full(len(mask), 255, np.uint8) for key, mask in asked.items()}
    for unit in queue.assumed:
        assumed[unit.pick.key.scene, unit.pick.key.frame][unit.indices] = unit.labels
    for (scene, frame), mask in asked.items():
        truth, found = scenes[scene][frame].labels(), store.labels(scene, scenes[scene].frame_names[frame], len(mask))
        assert truth is not None
        np.testing.assert_array_equal(found[mask], truth[mask])
        if mask.any():  # a frame that no window holds has no answers, and its guesses stay in the queue
            np.testing.assert_array_equal(found[~mask], assumed[scene, frame][~mask])
    records = Ledger.open(exported.folder / "ledger.jsonl", list(scenes.values())).records
    partition = make_partition(CONFIG.units)
    for source in (GroundTruth(), StoredAnswers(store)):
        by_hand = LedgerLabels(by_people(records), source, partition)
        for (scene, frame), mask in asked.items():
            expected = np.where(mask, scenes[scene][frame].labels(), 255)
            np.testing.assert_array_equal(by_hand(scenes[scene][frame])[0], expected)


def test_answers_may_come_in_two_parts(exported):
    queue = read_queue(exported.queue)
    first = exported.ingest()
    assert (first.answered, first.open) == (0, len(queue.asked))
    assert not (exported.folder / "ledger.jsonl").read_text().count('"human"')
    some = queue.asked[0].pick.key
    label_all(exported, lambda scene, frame: (scene, frame) == (some.scene, some.frame))
    second = exported.ingest()
    assert 0 < second.answered < len(queue.asked)
    assert (second.known, second.pseudo, second.round) == (0, 0, first.round)
    label_all(exported)
    third = exported.ingest()
    assert (third.known, third.open, third.round) == (second.answered, 0, first.round)
    assert exported.ingest() == type(third)(first.round, 0, len(queue.asked), 0, third.points, 0, 0)
    records = Ledger.open(exported.folder / "ledger.jsonl").records
    assert len({r.key for r in by_people(records)}) == len(by_people(records)) == len(queue.asked)


def test_a_point_that_a_person_gives_back_is_no_answer(exported):
    label_all(exported)
    folder, window = next(windows(exported))
    unit = next(u for u in read_queue(exported.queue).asked if u.pick.key.scene == window["scene"])
    entry = next(e for e in window["frames"] if e["frame"] == unit.pick.key.frame)
    path = folder / "labels" / f"{entry['number']}.label"
    labels = np.fromfile(path, "<u4")
    labels[unit.indices[0]] = window["do_not_label_id"]
    labels[unit.indices[1]] = 0
    labels[unit.indices[2]] |= 7 << 16  # an instance number
    labels.tofile(path)
    exported.ingest()
    found = LabelStore.open(exported.folder / "labels").labels(window["scene"], entry["name"], len(labels))
    assert found[unit.indices[:2]].tolist() == [255, 255]
    assert found[unit.indices[2]] != 255


def refused(exported: Exported, words: str) -> None:
    with pytest.raises(DataError, match=words) as error:
        exported.ingest()
    assert "\n" not in str(error.value)
    assert not (exported.folder / "ledger.jsonl").exists()
    assert not (exported.folder / "labels").exists()


def edit(exported: Exported, change) -> None:  # type: ignore[no-untyped-def]
    folder, window = next(windows(exported))
    path = next(iter(sorted((folder / "labels").glob("*.label"))))
    change(np.fromfile(path, "<u4"), window["do_not_label_id"]).tofile(path)


def test_labels_on_points_that_nobody_asked_about_are_refused(exported):
    label_all(exported)

    def paint(labels, reserved):  # type: ignore[no-untyped-def]
        labels[np.flatnonzero(labels == reserved)[:3]] = 40
        return labels

    edit(exported, paint)
    refused(exported, "3 points have a label that nobody asked for")


def test_answers_of_units_that_were_never_asked_are_refused(exported):
    folder, window = next(windows(exported))
    window["frames"][0]["asked"].append({"unit": 4321, "rank": 1, "points": 5, "reason": ""})
    (folder / "map.json").write_text(json.dumps(window))
    refused(exported, "answers unit 4321 of scene 00 frame .*, which the queue never asked about")


def test_unknown_ids_and_other_sweeps_are_refused(exported, tmp_path):
    label_all(exported)
    edit(exported, lambda labels, reserved: np.where(labels == reserved, labels, 777).astype("<u4"))
    refused(exported, "have id 777, which is no class of the queue")
    edit(exported, lambda labels, reserved: labels[:2])
    refused(exported, "it is of another sweep|labels")
    shutil.rmtree(next(windows(exported))[0] / "labels")
    refused(exported, "no answer there")
    shutil.rmtree(exported.answers)
    refused(exported, "no window with a map.json")


def test_a_ledger_of_another_drive_is_refused_before_anything_is_written(exported, tmp_path):
    label_all(exported)
    other = write_drive(tmp_path / "other", street(4, scene="00", seed=9))
    Ledger.create(exported.folder / "ledger.jsonl", open_drive(other))
    before = (exported.folder / "ledger.jsonl").read_bytes()
    with pytest.raises(DataError, match="of another drive: scene 00 had 4 frames"):
        exported.ingest()
    assert (exported.folder / "ledger.jsonl").read_bytes() == before
    assert not (exported.folder / "labels").exists()


def test_corrections_of_guesses_are_kept_as_labels(exported):
    label_all(exported)
    assumed = read_queue(exported.queue).assumed
    inside = [(f, w, e, u) for f, w in windows(exported) for e in w["frames"] for u in assumed
              if (u.pick.key.scene, u.pick.key.frame) == (w["scene"], e["frame"])]  # fmt: skip
    assert inside, "the miniature must have a guess in a window"
    folder, window, entry, unit = inside[0]
    path = folder / "labels" / f"{entry['number']}.label"
    labels = np.fromfile(path, "<u4")
    other = next(c for c in window["classes"] if c["train"] != unit.labels[0])
    labels[unit.indices[0]] = other["id"]
    labels.tofile(path)
    assert exported.ingest().corrected == 1
    found = LabelStore.open(exported.folder / "labels").labels(window["scene"], entry["name"], len(labels))
    assert found[unit.indices[0]] == other["train"]
