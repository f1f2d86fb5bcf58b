# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Score the tracks of a drive: Scene + Predictions -> tracks, and a ScoreTable of kind `track`, one row a track.

    OUT/tracks/                              the tracks themselves (`lidal3d.tracks.store`)
    OUT/scores.parquet, config.yaml, source.yaml, run.json      as for regions

A row stands in the frame that is asked about; its points and centre are the track's in that frame, because that is what
a person labels. Sweeps are read twice: once to track, once to gather what is predicted in each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml

from lidal3d.config import Config
from lidal3d.errors import DataError
from lidal3d.files import fingerprint, remove_abandoned, write_json, write_text
from lidal3d.jobs.score_arrays import SCORES_FILE
from lidal3d.jobs.score_folder import ScoreResult, read_run
from lidal3d.jobs.track import track_drive
from lidal3d.predictions.maps import MapSource, refuse_bad_rows
from lidal3d.scene.scene import Scene
from lidal3d.scores.entropy import entropy
from lidal3d.scores.table import ScoreTable, concatenate
from lidal3d.scores.track_disagreement import track_disagreement, track_information
from lidal3d.tracks.store import TrackStore
from lidal3d.tracks.table import TrackPath, tracks_of
from lidal3d.tracks.units import KIND, representatives
from lidal3d.units.regions import region_means

TRACKS_FOLDER = "tracks"


def score_tracks(
    scenes: Sequence[Scene],
    predictions: MapSource,
    out: Path,
    config: Config,
    metadata: Mapping[str, Any],
    drive: Path | None = None,
    workers: int = 1,
    start: Callable[[int], None] = lambda frames: None,
    tick: Callable[[], None] = lambda: None,
) -> ScoreResult:
    """Track some scenes into `out`/tracks and score their tracks.

    Args:
        metadata: for the table.
        drive: the path that the scenes were opened from, noted in source.yaml for the steps that follow.
        workers: processes that track; the table is the same for any number.
        start: told how many sweeps are to be read.
        tick: called for each.

    Raises:
        DataError: a sweep or a map is missing or damaged, no scene has a track, or the folder holds other scores.
    """
    _claim(out, {**metadata, "predicted": predictions.run})
    remove_abandoned(out)
    source = {"drive": drive or scenes[0].root, **predictions.origin}
    write_text(out / "source.yaml", yaml.safe_dump({name: str(path.resolve()) for name, path in source.items()}))
    config.write(out / "config.yaml")
    if (out / SCORES_FILE).is_file():
        return ScoreResult(ScoreTable.read(out / SCORES_FILE), ())
    frames = sum(map(len, scenes))
    start(2 * frames)
    store = track_drive(scenes, out / TRACKS_FOLDER, config.tracks, workers, tick=tick)
    table = concatenate([track_table(scene, store, predictions, metadata, tick) for scene in scenes])
    if not len(table):
        raise DataError(f"{out}: 0 tracks of {config.tracks.min_sweeps} sweeps in {frames} frames; nothing to score")
    table.write(out / SCORES_FILE)
    return ScoreResult(table, ())


def _claim(out: Path, settings: Mapping[str, Any]) -> None:
    """Note what the folder is made with, or refuse one that was made with something else."""
    run = {"settings": dict(settings), "parts": [], "fingerprint": fingerprint(settings)}
    path = out / "run.json"
    if not path.is_file():
        write_json(path, run)
    elif read_run(out)["fingerprint"] != run["fingerprint"]:
        raise DataError(f"{out}: holds scores of another drive, model or settings; choose another --out, or remove it")


def track_table(
    scene: Scene,
    store: TrackStore,
    predictions: MapSource,
    metadata: Mapping[str, Any],
    tick: Callable[[], None] = lambda: None,
) -> ScoreTable:
    """The rows of one scene; holds a distribution for each member."""
    path = store.path(scene.id)
    tracks, asked = tracks_of(path), representatives(path, scene.is_key_frame)
    sensor_m = scene.scene_SE3_lidar[path.frame[asked], :3, 3]
    scores: dict[str, npt.NDArray[np.float64]] = {
        **prediction_scores(path, member_distributions(scene, store, predictions, tick)),
        "sweeps": tracks.sweeps.astype(np.float64),
        "track_points": tracks.points.astype(np.float64),
        "speed_mps": tracks.speed_mps,
        "range_m": np.linalg.norm(path.center_m[asked] - sensor_m, axis=1),
        "is_key_frame": scene.is_key_frame[path.frame[asked]].astype(np.float64),
    }
    table = ScoreTable(
        scenes=(scene.id,),
        scene=np.zeros(len(tracks), np.int32),
        frame=path.frame[asked],
        unit=tracks.track,
        points=path.points[asked],
        center_m=path.center_m[asked],
        scores=scores,
        kind=KIND,
        metadata=metadata,
    )
    return concatenate([table])


def prediction_scores(path: TrackPath, members: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[np.float64]]:
    """The columns, one value a track by id, that are made of what is predicted in each sighting (K, C)."""
    found, place = np.unique(path.track, return_inverse=True)
    mean = region_means(place.astype(np.int32), len(found), members)
    return {
        "track_disagreement": track_disagreement(members.argmax(axis=1), place, len(found), members.shape[1]),
        "track_information": track_information(members, place, len(found)),
        "entropy": entropy(mean),
        "predicted_class": mean.argmax(axis=1).astype(np.float64),
        "confidence": mean.max(axis=1, initial=0),
    }


def member_distributions(
    scene: Scene, store: TrackStore, predictions: MapSource, tick: Callable[[], None] = lambda: None
) -> npt.NDArray[np.float32]:
    """(K, C) mean class probabilities of each sighting of `store.path`, in its order."""
    path: TrackPath = store.path(scene.id)
    result = np.zeros((len(path), len(predictions.classes)), np.float32)
    for frame in scene:
        points = frame.points()
        ids = store.ids(scene.id, frame.name, len(points))
        maps = predictions.maps(frame, points)
        refuse_bad_rows(maps, predictions.place(frame))
        rows = np.flatnonzero(path.frame == frame.index)  # by track
        held = ids >= 0
        place = np.searchsorted(path.track[rows], ids[held]).astype(np.int32)
        found = np.bincount(place, minlength=len(rows))
        if not np.array_equal(found, path.points[rows]):
            raise DataError(
                f"{store.ids_path(scene.id, frame.name)}: other points than the scene's table says; track again"
            )
        result[rows] = region_means(place, len(rows), maps.probabilities[held].astype(np.float32))
        tick()
    return result
