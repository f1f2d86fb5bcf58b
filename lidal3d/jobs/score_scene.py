# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""From the sweeps of a scene to scored units: all that `lidal3d score` and the rounds of an experiment share.

While a sweep's probabilities pass by, it is cut into units, and what is wanted of them is taken; its inter-frame scores
come once its last neighbour has been read. Nothing is held longer than the window, maps not even that long.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lidal3d.errors import DataError
from lidal3d.interframe.measure import PointScores
from lidal3d.interframe.regions import region_scores
from lidal3d.interframe.stream import score_frames
from lidal3d.jobs.signals import Signal
from lidal3d.predictions.guesses import BestGuesses
from lidal3d.predictions.maps import FrameMaps, MapSource, refuse_bad_rows
from lidal3d.scene.labels import IGNORE
from lidal3d.scene.pixels import CAMERA, COLUMNS
from lidal3d.scene.scene import Frame, Scene
from lidal3d.scores.columns import frame_unit_scores
from lidal3d.scores.table import ScoreTable
from lidal3d.settings.interframe import InterframeConfig
from lidal3d.strategies.pool import UnitPool
from lidal3d.strategies.wanted import Wanted
from lidal3d.units.base import Partition
from lidal3d.units.regions import region_centers, region_means, region_sizes

Failure = Callable[[int, DataError], None]


@dataclass(frozen=True)
class Recipe:
    """How sweeps are scored. Survives pickling where its source does.

    Attributes:
        source: what the model says; reads the extras that are wanted.
        partition: cuts a sweep into units.
        interframe: settings of the inter-frame measure.
        wanted: what is made beside its columns.
        guesses: where the likeliest class of every point goes, or None.
        metadata: for the score table.
        signals: what others than the model say of the units.
    """

    source: MapSource
    partition: Partition
    interframe: InterframeConfig
    wanted: Wanted
    guesses: BestGuesses | None
    metadata: Mapping[str, Any]
    signals: tuple[Signal, ...] = ()


def score_scene(
    scene: Scene, recipe: Recipe, frames: Sequence[int], failed: Failure | None = None
) -> Iterator[tuple[int, UnitPool]]:
    """(frame index, its scored units) of some frames of a scene, ascending; which are asked for changes none of them.

    Args:
        failed: told of frames that cannot be read, which are then left out; without it the first such frame raises.

    Raises:
        DataError: a sweep, a map or a label file is missing, damaged or does not fit the others.
    """
    if not recipe.wanted.model:
        yield from _bare(scene, recipe, frames, failed)
        return

    def keep(index: int, points: npt.NDArray[np.float32], maps: FrameMaps) -> _Kept:
        return _keep(recipe, scene[index], points, maps)

    if scene.sensor == CAMERA:
        yield from _pictures(scene, recipe, frames, failed)
        return
    for scored in score_frames(scene, recipe.source, recipe.interframe, frames, failed, keep):
        first = _interframe(scene, recipe, scored.index, scored.kept.cut, scored.scores)
        yield scored.index, _pool(scene, recipe, scored.index, scored.kept, first)


def empty_pool(scene: Scene, recipe: Recipe) -> UnitPool:
    """What `score_scene` gives of a sweep without points."""
    points = np.empty((0, 4), np.float32)
    cut = _Cut(np.empty(0, np.int32), np.empty(0, np.int64), np.empty((0, 3)), np.empty(0, np.float32))
    if not recipe.wanted.model:
        nothing = FrameMaps(np.empty((0, 0), np.float32))
        return _pool(scene, recipe, 0, _kept(recipe, scene[0], cut, points, nothing, None), _places(scene, 0, cut))
    classes = len(recipe.source.classes)
    maps = FrameMaps(np.empty((0, classes), np.float32), np.empty((0, 0), np.float32), [np.empty((0, classes))])
    floats, small = np.empty(0, np.float32), np.empty(0, np.uint8)
    if scene.sensor == CAMERA:
        pixels = np.empty((0, COLUMNS), np.float32)
        kept = _kept(recipe, scene[0], cut, pixels, maps, np.empty(0, np.uint8))
        return _pool(scene, recipe, 0, kept, _picture_columns(scene, 0, cut, maps.probabilities))
    scores = PointScores(divergence=floats, entropy=floats, matches=small, confidence=floats, predicted=small)
    kept = _kept(recipe, scene[0], cut, points, maps, np.empty(0, np.uint8))
    return _pool(scene, recipe, 0, kept, _interframe(scene, recipe, 0, cut, scores))


@dataclass(frozen=True)
class _Cut:
    """A sweep cut into R units: unit (N,), size (R,), center_m (R, 3) in the scene frame, range_m (N,) float32."""

    unit: npt.NDArray[np.int32]
    size: npt.NDArray[np.int64]
    center_m: npt.NDArray[np.float64]
    range_m: npt.NDArray[np.float32]


@dataclass(frozen=True)
class _Kept:
    """What is kept of a sweep until its neighbours have been read: score columns (R,), and arrays (R, …) beside them."""

    cut: _Cut
    columns: Mapping[str, npt.NDArray[np.float64]]
    arrays: Mapping[str, npt.NDArray[np.float32]]


def _keep(recipe: Recipe, frame: Frame, points: npt.NDArray[np.float32], maps: FrameMaps) -> _Kept:
    cut = _cut_frame(recipe, frame, points)
    labels = _labels(frame, len(points)) if recipe.wanted.labels else None
    kept = _kept(recipe, frame, cut, points, maps, labels)
    if recipe.guesses is not None and frame.is_key_frame:
        recipe.guesses.write(frame.scene.id, frame.name, maps.probabilities)
    return kept


def _cut_frame(recipe: Recipe, frame: Frame, points: npt.NDArray[np.float32]) -> _Cut:
    unit, xyz_scene = recipe.partition(points), frame.positions(points)
    units = int(unit.max()) + 1 if len(unit) else 0
    center_m = region_centers(unit, units, xyz_scene)
    return _Cut(unit, region_sizes(unit, units), center_m, frame.ranges(points, xyz_scene))


def _kept(
    recipe: Recipe,
    frame: Frame,
    cut: _Cut,
    points: npt.NDArray[np.float32],
    maps: FrameMaps,
    labels: npt.NDArray[np.uint8] | None,
) -> _Kept:
    """What strategies want of a sweep beside its inter-frame scores."""
    wanted, units = recipe.wanted, len(cut.size)
    columns: dict[str, npt.NDArray[np.float64]] = {}
    arrays: dict[str, npt.NDArray[np.float32]] = {}
    if wanted.columns or wanted.features or wanted.probabilities:
        features = maps.features if wanted.features else None
        found = frame_unit_scores(
            points, maps.probabilities, features, maps.members, cut.unit, units, wanted.columns, labels
        )
        means = {"features": found.features, "probabilities": found.probabilities if wanted.probabilities else None}
        columns |= found.scores
        arrays |= {name: array for name, array in means.items() if array is not None}
    for signal in recipe.signals:
        said = signal.of_units(frame, points, maps, cut.unit, units)
        columns |= said.columns
        arrays |= said.arrays
    return _Kept(cut, columns, arrays)


def _labels(frame: Frame, points: int) -> npt.NDArray[np.uint8]:
    """The true classes (N,) of a sweep; 255 where it has no labels."""
    labels = frame.labels()
    if labels is None:
        return np.full(points, IGNORE, np.uint8)
    if len(labels) != points:
        path = frame.scene.source.labels_path(frame.index)
        raise DataError(f"{path}: {len(labels)} labels for {points} points; one a point is needed")
    return labels


def _interframe(
    scene: Scene, recipe: Recipe, index: int, cut: _Cut, scores: PointScores
) -> dict[str, npt.NDArray[np.float64]]:
    return region_scores(
        scores,
        cut.unit,
        len(cut.size),
        range_m=cut.range_m,
        is_key_frame=bool(scene.is_key_frame[index]),
        min_matches=recipe.interframe.min_matches,
        classes=len(recipe.source.classes),
    )


def _pool(
    scene: Scene, recipe: Recipe, index: int, kept: _Kept, first: Mapping[str, npt.NDArray[np.float64]]
) -> UnitPool:
    return UnitPool(_table(scene, recipe, index, kept.cut, {**first, **kept.columns}), **kept.arrays)


def _pictures(
    scene: Scene, recipe: Recipe, frames: Sequence[int], failed: Failure | None
) -> Iterator[tuple[int, UnitPool]]:
    """Units of pictures: each is looked at by itself, so there is nothing between frames."""
    for index in frames:
        frame = scene[index]
        try:
            points = frame.points()
            maps = recipe.source.maps(frame, points)
            refuse_bad_rows(maps, recipe.source.place(frame))
            kept = _keep(recipe, frame, points, maps)
        except DataError as error:
            if failed is None:
                raise
            failed(index, error)
            continue
        yield index, _pool(scene, recipe, index, kept, _picture_columns(scene, index, kept.cut, maps.probabilities))


def _picture_columns(
    scene: Scene, index: int, cut: _Cut, probabilities: npt.NDArray[np.floating]
) -> dict[str, npt.NDArray[np.float64]]:
    """Those columns of `region_scores` that a single picture can have."""
    units, classes = len(cut.size), probabilities.shape[1]
    if not units:
        return {"confidence": np.empty(0), "predicted_class": np.empty(0), **_places(scene, index, cut)}
    votes = np.bincount(cut.unit.astype(np.int64) * classes + probabilities.argmax(axis=1), minlength=units * classes)
    return {
        "confidence": region_means(cut.unit, units, probabilities.max(axis=1).astype(np.float32)),
        "predicted_class": votes.reshape(units, classes).argmax(axis=1).astype(np.float64),
        **_places(scene, index, cut),
    }


def _bare(
    scene: Scene, recipe: Recipe, frames: Sequence[int], failed: Failure | None
) -> Iterator[tuple[int, UnitPool]]:
    """Units and where they are: whoever draws at random asks no model."""
    for index in frames:
        try:
            points = scene[index].points()
            cut = _cut_frame(recipe, scene[index], points)
            nothing = FrameMaps(np.empty((len(points), 0), np.float32))
            kept = _kept(recipe, scene[index], cut, points, nothing, None)
        except DataError as error:
            if failed is None:
                raise
            failed(index, error)
            continue
        yield index, _pool(scene, recipe, index, kept, _places(scene, index, cut))


def _places(scene: Scene, index: int, cut: _Cut) -> dict[str, npt.NDArray[np.float64]]:
    """What is known of units without any model."""
    units = len(cut.size)
    return {
        "range_m": region_means(cut.unit, units, cut.range_m),
        "is_key_frame": np.full(units, float(scene.is_key_frame[index])),
    }


def _table(
    scene: Scene, recipe: Recipe, index: int, cut: _Cut, scores: Mapping[str, npt.NDArray[np.float64]]
) -> ScoreTable:
    """The rows of one sweep."""
    units = len(cut.size)
    return ScoreTable(
        scenes=(scene.id,),
        scene=np.zeros(units, np.int32),
        frame=np.full(units, index, np.int32),
        unit=np.arange(units, dtype=np.int32),
        points=cut.size,
        center_m=cut.center_m,
        scores=scores,
        kind=recipe.partition.kind,
        metadata=recipe.metadata,
    )
