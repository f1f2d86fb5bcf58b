# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""The points of chosen units: their frames are read and cut into units once more, one frame at a time.

The score table knows how many points a unit has, not which; a partition is deterministic, so cutting the sweep again
finds them, and another number of points tells that drive or settings are no longer those that were scored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from lidal3d.errors import DataError, LidalError
from lidal3d.scene.labels import IGNORE
from lidal3d.scene.scene import Scene
from lidal3d.select.points import PointSets, point_sets
from lidal3d.select.selection import Pick, Selection
from lidal3d.settings.pseudo import PseudoConfig
from lidal3d.units.base import FramePartition, Partition, partition_at


class Labeller(Protocol):
    """What pseudo-labels come from: predictions on disk, or what was kept of them."""

    def probabilities(self, scene: str, frame: str, points: int | None = None) -> npt.NDArray[np.floating]:
        """(N, C) of one frame; the likeliest class of each row is true, the others may be 0."""


@dataclass(frozen=True)
class FrameTask:
    """One frame to read again: cut into units, and the points of the chosen ones handed back. Survives pickling.

    Attributes:
        units: unit id -> its number of points in the score table.
        labelled: those of `units` that get pseudo-labels.
        keep_going: answer with the error instead of raising it.
    """

    scene: Scene
    frame: int
    partition: Partition
    units: Mapping[int, int]
    labelled: frozenset[int]
    predictions: Labeller | None
    min_confidence: float
    weight: float
    keep_going: bool


@dataclass(frozen=True)
class FrameAnswer:
    """A frame's chosen units: unit id -> point indices, and for the pseudo-labelled ones labels and weights."""

    scene: str
    frame: int
    indices: Mapping[int, npt.NDArray[np.int32]]
    labels: Mapping[int, npt.NDArray[np.uint8]]
    weights: Mapping[int, npt.NDArray[np.float32]]
    error: str = ""


def frame_tasks(
    selection: Selection,
    pseudo: Selection,
    scenes: Mapping[str, Scene],
    partition: Partition | FramePartition,
    predictions: Labeller | None,
    config: PseudoConfig,
    keep_going: bool,
) -> list[FrameTask]:
    """A task for every frame with a pick, in the order of (scene, frame)."""
    units: dict[tuple[str, int], dict[int, int]] = {}
    for pick in (*selection.picks, *pseudo.picks):
        units.setdefault((pick.key.scene, pick.key.frame), {})[pick.key.unit] = pick.points
    labelled: dict[tuple[str, int], set[int]] = {}
    for pick in pseudo.picks:
        labelled.setdefault((pick.key.scene, pick.key.frame), set()).add(pick.key.unit)
    return [
        FrameTask(
            scenes[scene],
            frame,
            partition_at(partition, scene, frame),
            units[scene, frame],
            frozenset(labelled.get((scene, frame), ())),
            predictions,
            config.min_confidence,
            config.weight,
            keep_going,
        )
        for scene, frame in sorted(units)
    ]


def read_frames(tasks: Sequence[FrameTask], tick: Callable[[], None]) -> list[FrameAnswer]:
    """`read_frame` of each task; `tick` is called after each."""
    answers = []
    for task in tasks:
        answers.append(read_frame(task))
        tick()
    return answers


def read_frame(task: FrameTask) -> FrameAnswer:
    """The points of a frame's chosen units. Raises LidalError, or answers with it where the task says so."""
    try:
        points = task.scene[task.frame].points()
        indices = unit_points(task, points)
        labels, weights = pseudo_labels(task, indices, len(points))
        return FrameAnswer(task.scene.id, task.frame, indices, labels, weights)
    except LidalError as error:
        if not task.keep_going:
            raise
        return FrameAnswer(task.scene.id, task.frame, {}, {}, {}, str(error))


def unit_points(task: FrameTask, points: npt.NDArray[np.float32]) -> dict[int, npt.NDArray[np.int32]]:
    """Unit id -> its points. Raises DataError when a unit has another size than in the table."""
    ids = task.partition(points)
    indices = {unit: np.flatnonzero(ids == unit).astype(np.int32) for unit in task.units}
    for unit, expected in task.units.items():
        if len(indices[unit]) != expected:
            raise DataError(
                f"{task.scene.source.points_path(task.frame)}: unit {unit} has {len(indices[unit])} points, the score "
                f"table says {expected}; the drive or the unit settings have changed, score again"
            )
    return indices


def pseudo_labels(
    task: FrameTask, indices: Mapping[int, npt.NDArray[np.int32]], points: int
) -> tuple[dict[int, npt.NDArray[np.uint8]], dict[int, npt.NDArray[np.float32]]]:
    """Unit id -> labels (255 below the least confidence) and weights (0 there) of its points."""
    if not task.labelled or task.predictions is None:
        return {}, {}
    probabilities = task.predictions.probabilities(task.scene.id, task.scene.frame_names[task.frame], points)
    labels, weights = {}, {}
    for unit in task.labelled:
        rows = probabilities[indices[unit]]
        trusted = rows.max(axis=1) >= task.min_confidence
        labels[unit] = np.where(trusted, rows.argmax(axis=1), IGNORE).astype(np.uint8)
        weights[unit] = np.where(trusted, task.weight, 0).astype(np.float32)
    return labels, weights


def selection_points(selection: Selection, answers: Mapping[tuple[str, int], FrameAnswer]) -> PointSets:
    """Point indices of the picks."""
    return point_sets([answer_to(pick, answers).indices[pick.key.unit] for pick in selection.picks])


def pseudo_points(pseudo: Selection, answers: Mapping[tuple[str, int], FrameAnswer]) -> PointSets:
    """Point indices, labels and weights of the pseudo-labelled units."""
    found = [(answer_to(pick, answers), pick.key.unit) for pick in pseudo.picks]
    return point_sets(
        [answer.indices[unit] for answer, unit in found],
        [answer.labels[unit] for answer, unit in found],
        [answer.weights[unit] for answer, unit in found],
    )


def answer_to(pick: Pick, answers: Mapping[tuple[str, int], FrameAnswer]) -> FrameAnswer:
    """The answer with a pick's frame."""
    return answers[pick.key.scene, pick.key.frame]
