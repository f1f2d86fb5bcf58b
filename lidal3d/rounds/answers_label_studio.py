# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Answers from Label Studio: its JSON export of the tasks that `lidal3d export` wrote, after people have labelled them.

The regions of a picture's last annotation are painted in their order, each class at the centres of the reduced
picture's pixels. Who draws by hand overruns a unit: what lies in no unit of the queue is left out and counted, and a unit that still
has its polygon is not answered by what a neighbour's spills into it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lidal3d.errors import DataError
from lidal3d.export.label_studio import TASKS_FILE
from lidal3d.export.queue import LabelQueue, QueuedUnit, by_frame, check_indices, frame_of
from lidal3d.rounds.answered import AnsweredFrame, answered_frame
from lidal3d.rounds.answers import MAP_FILE
from lidal3d.rounds.painter import EXPORT_AGAIN, Painter
from lidal3d.scene.labels import IGNORE
from lidal3d.scene.pixels import CAMERA, picture_shape
from lidal3d.scene.scene import Scene

Annotation = dict[str, Any]


def export_file(answers: Path) -> Path | None:
    """Label Studio's export that a path means: a .json file, or the only one in a folder; None where there is none.

    Raises:
        DataError: a folder with several exports.
    """
    if not answers.is_dir():
        return answers if answers.suffix == ".json" else None
    found = [] if any(answers.glob(f"*/{MAP_FILE}")) else sorted(answers.glob("*.json"))
    exports = [path for path in found if path.name != TASKS_FILE] or found
    if len(exports) > 1:
        raise DataError(
            f"{answers}: {len(exports)} .json files ({exports[0].name}, {exports[1].name}, …); give one of them"
        )
    return exports[0] if exports else None


def read_label_studio(
    path: Path, queue: LabelQueue, scenes: Mapping[str, Scene], classes: Sequence[str]
) -> list[AnsweredFrame]:
    """The frames of an export in which anything was drawn, in their order in it.

    Args:
        path: the JSON export.
        scenes: the drive's cameras, by id.
        classes: of the queue; a label is a place here.

    Raises:
        DataError: damaged, of another queue or of other pictures, a class that is none of the queue's.
    """
    asked, assumed = by_frame(queue.asked), by_frame(queue.assumed)
    answers = []
    for (scene, index), (where, given) in _by_picture(path, {**assumed, **asked}).items():
        frame = frame_of(scenes, scene, index)
        if frame.scene.sensor != CAMERA:
            raise DataError(
                f"{where}: scene {scene} has sweeps, Label Studio shows pictures; give --drive DRIVE@CAMERA"
            )
        regions = _last(where, given)
        if not regions:
            continue  # an open task's picture need not be read
        (image,), (height, width) = frame.images(), picture_shape(frame.points())
        units = asked.get((scene, index), []), assumed.get((scene, index), [])
        for unit in (*units[0], *units[1]):
            check_indices(unit, height * width, frame)
        labels, waiting = Painter(where, image, height, width, classes).paint(regions)
        for unit in units[0]:
            if _only_touched(labels[unit.indices], waiting[unit.indices]):
                labels[unit.indices] = IGNORE
        answers.append(answered_frame((scene, index, frame.name), labels, *units))
    return answers


def _only_touched(labels: npt.NDArray[np.uint8], waiting: npt.NDArray[np.bool_]) -> bool:
    """Whether a unit of these pixels still waits and what lies in it is a neighbour's overrun: less than half of it.

    Who has labelled a unit and left its polygon there has covered more.
    """
    return bool(2 * waiting.sum() > len(waiting) and 2 * (labels != IGNORE).sum() < len(labels))


def _by_picture(
    path: Path, queued: Mapping[tuple[str, int], Sequence[QueuedUnit]]
) -> dict[tuple[str, int], tuple[str, list[Annotation]]]:
    """Of each frame where it stands, for errors, and its annotations; a picture may have been imported twice."""
    pictures: dict[tuple[str, int], tuple[str, list[Annotation]]] = {}
    for task in _tasks(path):
        where = f"{path}: task {task.get('id', '?')}"
        key = _key(where, task["data"], queued)
        pictures.setdefault(key, (where, []))[1].extend(task["annotations"])
    return pictures


def _key(where: str, data: Any, queued: Mapping[tuple[str, int], Sequence[QueuedUnit]]) -> tuple[str, int]:
    """Scene and frame of a task. Raises DataError for one that is not in the queue."""
    try:
        key, name = (str(data["scene"]), int(data["frame"])), str(data["frame_name"])
    except (KeyError, TypeError, ValueError):
        raise DataError(f"{where}: names no frame; import the tasks that `lidal3d export` wrote") from None
    if key not in queued or name != queued[key][0].pick.frame_name:
        raise DataError(
            f"{where}: answers scene {key[0]} frame {key[1]} ({name}), which the queue never asked about; "
            "give the queue that was exported"
        )
    return key


def _tasks(path: Path) -> list[dict[str, Any]]:
    try:
        tasks = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: no answers there ({error.strerror}); give Label Studio's JSON export") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not whole JSON ({error}); {EXPORT_AGAIN}") from None
    if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
        raise DataError(f"{path}: no list of tasks; {EXPORT_AGAIN}")
    if not tasks:
        raise DataError(f"{path}: 0 tasks; import {TASKS_FILE} into a project, and export that")
    if any("data" not in task for task in tasks):
        raise DataError(f"{path}: tasks without their data, as in a JSON-MIN export; {EXPORT_AGAIN}")
    if not all(isinstance(task.get("annotations"), list) for task in tasks):
        raise DataError(f"{path}: tasks without annotations, as they were imported; {EXPORT_AGAIN}")
    return tasks


def _last(where: str, annotations: Sequence[Annotation]) -> list[Any]:
    """The regions of the annotation that was changed last and not cancelled; none where nobody has answered."""
    try:
        valid = [annotation for annotation in annotations if not annotation.get("was_cancelled")]
        return list(max(valid, key=_changed)["result"]) if valid else []
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{where}: a damaged annotation ({error!r}); {EXPORT_AGAIN}") from None


def _changed(annotation: Annotation) -> tuple[datetime, int]:
    told = annotation.get("updated_at") or annotation["created_at"]
    time = datetime.fromisoformat(told.replace("Z", "+00:00"))
    return time if time.tzinfo else time.replace(tzinfo=timezone.utc), int(annotation["id"])
