# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""What the selection consists of, next to the whole drive: by score, by predicted class, by range."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from lidal3d.export.queue import LabelQueue, QueuedUnit, by_frame, frame_of
from lidal3d.predictions.store import PredictionStore
from lidal3d.scene.pixels import CAMERA
from lidal3d.scene.scene import Scene
from lidal3d.scores.table import ScoreTable

RANGES_M = (0, 10, 20, 30, 50)  # the last bin is open
SAMPLED_FRAMES = 48
SAMPLED_POINTS_STEP = 7


@dataclass(frozen=True)
class Comparison:
    """Shares of the picked points and of the whole drive's, (K,) each, summing to 1; `note` says how they were got."""

    names: tuple[str, ...]
    picked: npt.NDArray[np.float64]
    drive: npt.NDArray[np.float64]
    note: str


def elements_of(scenes: Mapping[str, Scene]) -> str:
    """What a drive's units are made of: "pixels" of its pictures, or "points"."""
    return "pixels" if any(scene.sensor == CAMERA for scene in scenes.values()) else "points"


def picked_rows(queue: LabelQueue, table: ScoreTable) -> npt.NDArray[np.bool_]:
    """(R,) whether a row of the score table was picked."""
    places = {scene: place for place, scene in enumerate(table.scenes)}
    keys = [unit.pick.key for unit in queue.asked if unit.pick.key.scene in places]
    wanted = np.array([[places[key.scene], key.frame, key.unit] for key in keys], dtype=np.int64).reshape(-1, 3)
    rows = np.stack([table.scene, table.frame, table.unit], axis=1).astype(np.int64)
    spans = np.maximum(rows.max(axis=0, initial=0), wanted.max(axis=0, initial=0)) + 1
    return np.isin(np.ravel_multi_index(tuple(rows.T), spans), np.ravel_multi_index(tuple(wanted.T), spans))


def ranges_m(table: ScoreTable, scenes: Mapping[str, Scene]) -> npt.NDArray[np.float64]:
    """(R,) horizontal distance of each unit's centre from the sensor at its frame; NaN for a scene not in the drive."""
    result = np.full(len(table), np.nan)
    for place, scene_id in enumerate(table.scenes):
        if scene_id in scenes:
            rows = table.scene == place
            sensor = scenes[scene_id].scene_SE3_lidar[table.frame[rows], :2, 3]
            result[rows] = np.linalg.norm(table.center_m[rows, :2] - sensor, axis=1)
    return result


def range_breakdown(queue: LabelQueue, table: ScoreTable, scenes: Mapping[str, Scene]) -> Comparison:
    """Points by range of their unit."""
    distance = ranges_m(table, scenes)
    known = np.isfinite(distance)
    picked = picked_rows(queue, table) & known
    bins = np.searchsorted(RANGES_M, distance, side="right") - 1
    names = [f"{low}–{high} m" for low, high in pairwise(RANGES_M)] + [f"over {RANGES_M[-1]} m"]
    of_picked, of_drive = (np.bincount(bins[r], table.points[r], minlength=len(names)) for r in (picked, known))
    note = f"{elements_of(scenes)}, by how far their unit's centre is from the sensor"
    return Comparison(tuple(names), _shares(of_picked), _shares(of_drive), note)


def class_breakdown(queue: LabelQueue, scenes: Mapping[str, Scene], predictions: PredictionStore) -> Comparison:
    """Predicted classes of the picked points and of the drive, each counted on frames spread evenly over it."""
    groups = sorted(by_frame(queue.asked).items())
    picked = np.zeros(len(predictions.classes))
    for (scene, index), units in _spread(groups, SAMPLED_FRAMES):
        picked += _counts(predictions, scenes, scene, index, _all_points(units))
    frames = [
        (scene.id, index)
        for _, scene in sorted(scenes.items())
        for index, name in enumerate(scene.frame_names)
        if predictions.probabilities_path(scene.id, name).is_file()
    ]
    drive = np.zeros(len(predictions.classes))
    sampled = _spread(frames, SAMPLED_FRAMES)
    for scene, index in sampled:
        drive += _counts(predictions, scenes, scene, index, slice(None, None, SAMPLED_POINTS_STEP))
    note = f"drive: every {SAMPLED_POINTS_STEP}th {elements_of(scenes)[:-1]} of {len(sampled)} of {len(frames)} predicted frames"
    if len(groups) > SAMPLED_FRAMES:
        note += f"; picks: {SAMPLED_FRAMES} of their {len(groups)} frames"
    return Comparison(predictions.classes, _shares(picked), _shares(drive), note)


def _all_points(units: Sequence[QueuedUnit]) -> npt.NDArray[np.integer]:
    return np.concatenate([unit.indices for unit in units])


def _counts(predictions: PredictionStore, scenes: Mapping[str, Scene], scene: str, index: int,
            points: npt.NDArray[np.integer] | slice) -> npt.NDArray[np.float64]:  # fmt: skip
    probabilities = predictions.probabilities(scene, frame_of(scenes, scene, index).name)[points]
    return np.bincount(probabilities.argmax(axis=1), minlength=len(predictions.classes)).astype(np.float64)


def _spread(items: Sequence, count: int) -> list:
    places = np.unique(np.linspace(0, len(items) - 1, min(count, len(items))).round().astype(int)) if items else []
    return [items[place] for place in places]


def _shares(counts: npt.NDArray) -> npt.NDArray[np.float64]:
    return counts / max(float(counts.sum()), 1.0)
