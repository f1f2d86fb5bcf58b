# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""The score table of the boxes of one scene."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from lidal3d.config import Config
from lidal3d.errors import DataError
from lidal3d.interframe.boxes import PlacedBoxes, View, compare_boxes, placed
from lidal3d.interframe.window import neighbour_frames
from lidal3d.jobs.box_counts import Counts
from lidal3d.predictions.boxes import BoxStore, FrameBoxes
from lidal3d.scene.scene import Scene
from lidal3d.scores.boxes import box_distribution
from lidal3d.scores.entropy import entropy
from lidal3d.scores.least_confidence import least_confidence
from lidal3d.scores.margin import margin
from lidal3d.scores.table import ScoreTable, concatenate
from lidal3d.units.boxes import KIND


def scene_table(
    scene: Scene,
    store: BoxStore,
    config: Config,
    counts: Counts,
    metadata: Mapping[str, Any],
    keep_going: bool,
) -> ScoreTable:
    """The rows of one scene; all its boxes are held, but no sweep and no features."""
    found = _read_scene(scene, store, keep_going)
    poses = scene.scene_SE3_lidar
    places = {index: placed(box_distribution(f.scores), f.boxes, poses[index]) for index, f in found.items()}
    windows = neighbour_frames(scene.world_SE3_lidar, config.interframe)
    view = View(config.boxes.view_m, store.view_m)
    rows = [_empty_table(scene, len(store.classes), config, metadata)]
    for index in range(len(scene)):
        if (scene.id, index) in counts and len(found[index]):
            around = [places[int(other)] for other in windows[index] if int(other) in places]
            columns = compare_boxes(places[index], around, view, config.boxes.match_m, config.interframe.epsilon)
            rows.append(
                _frame_table(scene, index, found[index], places[index], counts[scene.id, index], columns, metadata)
            )
    return concatenate(rows)


def _read_scene(scene: Scene, store: BoxStore, keep_going: bool) -> dict[int, FrameBoxes]:
    read = ((index, _read(store, scene.id, name, keep_going)) for index, name in enumerate(scene.frame_names))
    return {index: found for index, found in read if found is not None}


def _read(store: BoxStore, scene: str, frame: str, keep_going: bool) -> FrameBoxes | None:
    """The boxes of a frame without their features; None where they cannot be read, which counting has noted."""
    try:
        found = store.read(scene, frame)
    except DataError:
        if keep_going:
            return None
        raise
    return FrameBoxes(found.boxes, found.scores)


def _frame_table(
    scene: Scene,
    index: int,
    found: FrameBoxes,
    place: PlacedBoxes,
    points: npt.NDArray[np.int64],
    columns: Mapping[str, npt.NDArray[np.float64]],
    metadata: Mapping[str, Any],
) -> ScoreTable:
    """The rows of one frame."""
    boxes, rows = len(found), place.distribution
    scores: dict[str, npt.NDArray[np.float64]] = {
        **columns,
        "least_confidence": least_confidence(rows).astype(np.float64),
        "margin": margin(rows),
        "softmax_entropy": entropy(rows),
        "objectness": found.objectness,
        "predicted_class": found.scores.argmax(axis=1).astype(np.float64),
        "range_m": np.linalg.norm(found.boxes[:, :3].astype(np.float64), axis=1),
        "is_key_frame": np.full(boxes, float(scene.is_key_frame[index])),
    }
    return ScoreTable(
        scenes=(scene.id,),
        scene=np.zeros(boxes, np.int32),
        frame=np.full(boxes, index, np.int32),
        unit=np.arange(boxes, dtype=np.int32),
        points=points,
        center_m=place.center_m,
        scores=scores,
        kind=KIND,
        metadata=metadata,
        boxes=found.boxes,
    )


def _empty_table(scene: Scene, classes: int, config: Config, metadata: Mapping[str, Any]) -> ScoreTable:
    """No row, all columns: what a scene without a box adds."""
    none = FrameBoxes(np.empty((0, 7), np.float32), np.empty((0, classes), np.float32))
    place = placed(box_distribution(none.scores), none.boxes, np.eye(4))
    columns = compare_boxes(place, [], View(config.boxes.view_m), config.boxes.match_m, config.interframe.epsilon)
    return _frame_table(scene, 0, none, place, np.empty(0, np.int64), columns, metadata)
