# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Scores of regions learn of tracks: which track each region is part of, and how much its sweeps disagree."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lidal3d.config import Config
from lidal3d.errors import DataError, UsageError
from lidal3d.jobs.score_arrays import SCORES_FILE
from lidal3d.jobs.score_tracks import member_distributions, prediction_scores
from lidal3d.jobs.select import partition_of, source_paths, units_of
from lidal3d.predictions.store import PredictionStore
from lidal3d.scene.scene import Scene
from lidal3d.scores.table import ScoreTable
from lidal3d.tracks.store import TrackStore
from lidal3d.tracks.units import KIND, main_track
from lidal3d.units.base import Partition

# What is added to a table of regions; NaN in the second and third for a region of no track.
COLUMNS = {
    "track": "the track that holds at least half of the region's points, −1 where none does",
    "track_disagreement": "that track's: 1 − share of its sweeps that are predicted as the commonest class",
    "track_information": "that track's: entropy of the mean over its sweeps − mean of their entropies, nats",
}


def add_track_columns(
    scores_folder: Path,
    scenes: Sequence[Scene],
    store: TrackStore,
    tick: Callable[[], None] = lambda: None,
) -> ScoreTable:
    """Add COLUMNS to `scores_folder`/scores.parquet; columns that are there are made anew.

    Args:
        scenes: those that were scored, by any name.
        store: their tracks.
        tick: called for each sweep read.

    Raises:
        DataError: a scene of the scores is missing, or its sweeps have changed.
        UsageError: the scores are of tracks already, or of a model whose predictions weren't saved.
    """
    table = ScoreTable.read(scores_folder / SCORES_FILE)
    if table.kind == KIND:
        raise UsageError(f"{scores_folder}: its units are tracks already; give scores of regions")
    source = source_paths(scores_folder, scenes[0].root, None)
    if "predictions" not in source:
        raise UsageError(f"{scores_folder}: scored with a model; score with saved predictions (`lidal3d predict`)")
    predictions = PredictionStore.open(source["predictions"])
    partition = partition_of(units_of(table, Config()))
    added = {name: np.full(len(table), np.nan) for name in COLUMNS}
    by_id = {scene.id: scene for scene in scenes}
    for number, name in enumerate(table.scenes):
        if name not in by_id:
            raise DataError(
                f"{scores_folder}: scene {name} was scored, the drive has {', '.join(by_id)}; give its drive"
            )
        rows = np.flatnonzero(table.scene == number)
        track = _tracks_of_regions(table, rows, by_id[name], store, partition)
        path = store.path(name)
        scores = prediction_scores(path, member_distributions(by_id[name], store, predictions, tick))
        added["track"][rows] = track
        place = np.searchsorted(np.unique(path.track), track[track >= 0])
        for column in ("track_disagreement", "track_information"):
            added[column][rows[track >= 0]] = scores[column][place]
    table = table.with_scores(**added)
    table.write(scores_folder / SCORES_FILE)
    return table


def _tracks_of_regions(
    table: ScoreTable, rows: npt.NDArray[np.int64], scene: Scene, store: TrackStore, partition: Partition
) -> npt.NDArray[np.int32]:
    """The main track of each of a scene's rows."""
    track = np.full(len(rows), -1, np.int32)
    frame = table.frame[rows]
    for index in np.unique(frame).tolist():
        points = scene[index].points()
        unit = partition(points)
        here = np.flatnonzero(frame == index)
        size = np.bincount(unit)
        asked = table.unit[rows[here]]
        if int(asked.max()) >= len(size) or not np.array_equal(size[asked], table.points[rows[here]]):
            path = scene.source.points_path(index)
            raise DataError(f"{path}: cut into other regions than the scores say; the drive has changed, score again")
        ids = store.ids(scene.id, scene.frame_names[index], len(points))
        track[here] = main_track(ids, unit, len(size))[asked]
    return track
