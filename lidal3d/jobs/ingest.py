# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""The job behind `lidal3d ingest`: answers from a labelling tool into the ledger and a folder of labels.

Labels are written first, the ledger last: cut off in between, the same command does the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lidal3d.errors import DataError
from lidal3d.export.queue import LabelQueue
from lidal3d.files import fingerprint
from lidal3d.jobs.export import manifest_classes, read_queue
from lidal3d.jobs.select import source_paths
from lidal3d.rounds.answered import AnsweredFrame
from lidal3d.rounds.answers import read_answers
from lidal3d.rounds.answers_label_studio import export_file, read_label_studio
from lidal3d.rounds.label_store import LabelStore
from lidal3d.rounds.ledger import Ledger
from lidal3d.rounds.record import Record, records_of
from lidal3d.scene.labels import IGNORE
from lidal3d.scene.open import open_drive
from lidal3d.scene.pixels import CAMERA
from lidal3d.scene.scene import Scene
from lidal3d.select.manifest import read_manifest
from lidal3d.select.selection import Selection


@dataclass(frozen=True)
class Ingested:
    """What came in.

    Attributes:
        round: the round that it was entered as.
        answered: units that are newly in the ledger as labelled by people.
        known: answered units that were in the ledger already.
        open: asked units that nobody has answered yet.
        points: labelled points, or pixels of pictures, in the frames that came back.
        corrected: points of pseudo-labelled units that people gave another class.
        pseudo: units newly in the ledger as assumed.
        outside: points that have a label though no unit of the queue holds them; they are left out.
        element: what the frames are made of, "point" or "pixel".
    """

    round: int
    answered: int
    known: int
    open: int
    points: int
    corrected: int
    pseudo: int
    outside: int = 0
    element: str = "point"


def ingest_job(
    queue_folder: Path | str,
    answers: Path | str,
    ledger_path: Path | str,
    out: Path | str,
    *,
    drive: Path | str | None = None,
    layout: str | None = None,
    label_map: str | None = None,
    notice: Callable[[str], None] | None = None,
) -> Ingested:
    """Read the answers to a queue; may be done again as more come in.

    Args:
        queue_folder: the manifest of `lidal3d select`.
        answers: the folder that `lidal3d export` wrote for point_labeler, labelled since; or Label Studio's JSON
            export, or a folder with that one.
        ledger_path: ledger.jsonl, made where there is none.
        out: the folder of labels, made where there is none.
        drive: where the drive lies now, when not where the queue's source.yaml says.
        notice: told in one line of an append that a crash had cut off.

    Raises:
        DataError: answers that the queue never asked for, labels of another sweep, a ledger of another data set.
    """
    queue_folder = Path(queue_folder)
    queue = read_queue(queue_folder)
    source = source_paths(queue_folder, None if drive is None else Path(drive), None)
    scenes = open_drive(source["drive"], layout, label_map)
    classes = classes_of(queue_folder, scenes)
    frames = _read(Path(answers), queue, scenes, classes)
    ledger = Ledger.open_or_create(ledger_path, scenes, notice)
    store = LabelStore.open_or_create(out, classes)
    for answer in frames:
        _merge(store, answer)
    manifest = read_manifest(queue_folder)
    mark = fingerprint((queue_folder / "manifest.jsonl").read_text(encoding="utf-8"))
    number = round_of(ledger, mark)
    answered, known = _new_records(ledger, manifest.selection, frames, number, mark)
    pseudo = _new_pseudo(ledger, manifest.pseudo, number, mark)
    ledger.append([*answered, *pseudo])
    return Ingested(
        number,
        len(answered),
        known,
        len(manifest.selection.picks) - len(answered) - known,
        sum(int((answer.labels != IGNORE).sum()) for answer in frames),
        sum(answer.corrected for answer in frames),
        len(pseudo),
        sum(answer.outside for answer in frames),
        "pixel" if any(scene.sensor == CAMERA for scene in scenes) else "point",
    )


def classes_of(queue_folder: Path, scenes: Sequence[Scene]) -> tuple[str, ...]:
    """What the train ids of the queue mean: the model's classes, else the drive's. Raises DataError for none."""
    classes = manifest_classes(queue_folder)
    if not classes:
        classes = next((scene.label_map.classes for scene in scenes if scene.label_map is not None), ())
    if not classes:
        raise DataError(f"{queue_folder}: neither queue nor drive name classes; give --label-map")
    return tuple(classes)


def round_of(ledger: Ledger, queue: str) -> int:
    """The round that this queue has in the ledger, or the next one; 1 in an empty ledger."""
    return next((record.round for record in ledger.records if record.queue == queue), max(0, ledger.last_round) + 1)


def _read(answers: Path, queue: LabelQueue, scenes: Sequence[Scene], classes: Sequence[str]) -> list[AnsweredFrame]:
    export = export_file(answers)
    if export is None:
        return read_answers(answers, queue)
    return read_label_studio(export, queue, {scene.id: scene for scene in scenes}, classes)


def _merge(store: LabelStore, answer: AnsweredFrame) -> None:
    """Enter a frame's answers into the store; what is there and not answered now stays."""
    before = store.labels(answer.scene, answer.name, len(answer.labels))
    labels = np.where(answer.labels != IGNORE, answer.labels, before)
    if not np.array_equal(labels, before):
        store.write(answer.scene, answer.name, labels)


def _new_records(
    ledger: Ledger, selection: Selection, answers: Sequence[AnsweredFrame], number: int, queue: str
) -> tuple[list[Record], int]:
    """Records of units answered for the first time, and how many were there before."""
    answered = {key for answer in answers for key in answer.answered}
    earlier = {record.key for record in ledger.records if record.labeller != "pseudo"}
    picks = [pick for pick in selection.picks if pick.key in answered]
    fresh = tuple(pick for pick in picks if pick.key not in earlier)
    records = records_of(replace(selection, picks=fresh), "human", number, "", selection.strategy, queue)
    return records, len(picks) - len(fresh)


def _new_pseudo(ledger: Ledger, pseudo: Selection, number: int, queue: str) -> list[Record]:
    """Records of the queue's assumptions, once a round."""
    if any(record.queue == queue and record.labeller == "pseudo" for record in ledger.records):
        return []
    return records_of(pseudo, "pseudo", number, "", pseudo.strategy, queue)
