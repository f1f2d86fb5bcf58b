# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Tracks of a whole scene, by way of a store: one sweep in memory at a time."""

from __future__ import annotations

from collections.abc import Callable

from lidal3d.errors import DataError
from lidal3d.interframe.stream import refuse_bad_pose
from lidal3d.scene.scene import Scene
from lidal3d.tracks.store import TrackStore
from lidal3d.tracks.table import path_of, sightings
from lidal3d.tracks.tracker import SegmentTracker


def track_scene(scene: Scene, store: TrackStore, tick: Callable[[], None] = lambda: None) -> None:
    """Track a scene's sweeps and save ids and sightings; a scene that is done isn't done again.

    Args:
        tick: called for each sweep done.

    Raises:
        DataError: a sweep is missing or damaged, or a pose or time makes no sense.
    """
    if store.table_path(scene.id).is_file():
        return
    tracker = SegmentTracker(store.config)
    seen = []
    for frame in scene:
        refuse_bad_pose(scene, frame.index)
        try:
            sweep = tracker.update(frame.points(), scene.scene_SE3_lidar[frame.index], frame.timestamp_ns)
        except DataError as error:
            path = scene.source.points_path(frame.index)
            raise DataError(str(error) if str(path) in str(error) else f"{path}: {error}") from None
        store.write_ids(scene.id, frame.name, sweep.of_point)
        seen.append(sightings(frame.index, sweep))
        tick()
    store.write_path(scene.id, path_of(seen).long_enough(store.config.min_sweeps))
