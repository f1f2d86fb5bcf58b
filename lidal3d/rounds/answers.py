# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Answers from point_labeler: the folder that `lidal3d export` wrote, after people have labelled in it.

map.json of every window says which frame of which scene a file was, and which units were asked in it. An id of 0 or
`do-not-label` is no answer; a label on a point that nobody was asked about is refused, not dropped.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lidal3d.errors import DataError
from lidal3d.export.classes import UNLABELED
from lidal3d.export.queue import LabelQueue, QueuedUnit, by_frame
from lidal3d.rounds.answered import AnsweredFrame, answered_frame, in_units
from lidal3d.scene.labels import IGNORE

MAP_FILE = "map.json"
SEMANTIC_BITS = 0xFFFF  # KITTI keeps an instance number in the upper half


@dataclass(frozen=True)
class AnswerFile:
    """One frame of a window.

    Attributes:
        path: its .label file.
        scene, frame, name: which frame it is.
        asked: the unit ids that were asked in it.
        train_of: tool id -> train id.
        do_not_label: the tool id of points that nobody is asked about.
    """

    path: Path
    scene: str
    frame: int
    name: str
    asked: frozenset[int]
    train_of: Mapping[int, int]
    do_not_label: int


def answer_files(folder: Path | str) -> list[AnswerFile]:
    """The frames of all windows of an export, by window and number.

    Raises:
        DataError: no window there, or a damaged map.json.
    """
    folder = Path(folder)
    maps = sorted(folder.glob(f"*/{MAP_FILE}"))
    if not maps:
        raise DataError(
            f"{folder}: no window with a {MAP_FILE}; give the folder that `lidal3d export` wrote for point_labeler, "
            "or Label Studio's JSON export"
        )
    return [file for path in maps for file in _files_of(path)]


def _files_of(path: Path) -> Iterator[AnswerFile]:
    try:
        window: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        train_of = {int(entry["id"]): int(entry["train"]) for entry in window["classes"]}
        for entry in window["frames"]:
            yield AnswerFile(
                path.parent / "labels" / f"{entry['number']}.label",
                str(window["scene"]),
                int(entry["frame"]),
                str(entry["name"]),
                frozenset(int(unit["unit"]) for unit in entry["asked"]),
                train_of,
                int(window["do_not_label_id"]),
            )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: not a window's map ({error}); export the queue again, keep the labels") from None


def read_answers(folder: Path | str, queue: LabelQueue) -> list[AnsweredFrame]:
    """Check every answer against the queue that was exported, and hand back the frames with any.

    Raises:
        DataError: a file that is missing, damaged or of another sweep; a unit or a point that the queue doesn't ask
            about; an id that is no class.
    """
    asked, assumed = by_frame(queue.asked), by_frame(queue.assumed)
    files = answer_files(folder)
    answers = []
    for file in files:
        key = (file.scene, file.frame)
        _refuse_other_units(file, asked.get(key, []))
        if key in asked or key in assumed:
            answers.append(_answered(file, asked.get(key, []), assumed.get(key, [])))
        else:
            _refuse_unasked(file, _raw(file), np.zeros(len(_raw(file)), bool))
    return answers


def _refuse_other_units(file: AnswerFile, asked: list[QueuedUnit]) -> None:
    strange = sorted(file.asked - {unit.pick.key.unit for unit in asked})
    if strange:
        raise DataError(
            f"{file.path}: answers unit {strange[0]} of scene {file.scene} frame {file.frame}, which the queue never "
            "asked about; give the queue that was exported"
        )


def _answered(file: AnswerFile, asked: list[QueuedUnit], assumed: list[QueuedUnit]) -> AnsweredFrame:
    raw, units = _raw(file), [*asked, *assumed]
    for unit in units:
        if len(unit.indices) and int(unit.indices.max()) >= len(raw):
            where = f"unit {unit.pick.key.unit} has point {int(unit.indices.max())}"
            raise DataError(f"{file.path}: {len(raw)} labels, but {where}; it is of another sweep")
    _refuse_unasked(file, raw, in_units(units, len(raw)))
    return answered_frame((file.scene, file.frame, file.name), _train_ids(file, raw), asked, assumed)


def _raw(file: AnswerFile) -> npt.NDArray[np.uint32]:
    try:
        size = file.path.stat().st_size
        if size % 4:
            raise DataError(f"{file.path}: {size} bytes, not a whole number of 4-byte labels; save it again")
        return (np.fromfile(file.path, dtype="<u4") & SEMANTIC_BITS).astype(np.uint32)
    except OSError as error:
        raise DataError(f"{file.path}: no answer there ({error.strerror}); give the whole exported folder") from None


def _train_ids(file: AnswerFile, raw: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint8]:
    table = np.full(SEMANTIC_BITS + 1, IGNORE, np.int64)
    for tool_id, train in file.train_of.items():
        table[tool_id] = train
    known = np.isin(raw, [UNLABELED, file.do_not_label, *file.train_of])
    if not known.all():
        wrong = int(raw[~known][0])
        raise DataError(f"{file.path}: {int((~known).sum())} points have id {wrong}, which is no class of the queue")
    return table[raw].astype(np.uint8)


def _refuse_unasked(file: AnswerFile, raw: npt.NDArray[np.uint32], mine: npt.NDArray[np.bool_]) -> None:
    given = ~mine & (raw != file.do_not_label) & (raw != UNLABELED)
    if given.any():
        raise DataError(
            f"{file.path}: {int(given.sum())} points have a label that nobody asked for (point "
            f"{int(np.flatnonzero(given)[0])}: {int(raw[given][0])}); set them back to {file.do_not_label}"
        )
