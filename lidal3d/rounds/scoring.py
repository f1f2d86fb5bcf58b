# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""From a model to the pool that a strategy chooses from: units, their scores, mean features and probabilities.

One scene is one file, written whole: a kill costs at most the open scene. Labels are not read here,
but for a strategy that is an upper reference and says so.

    SCORES/SCENE.parquet        the scene's score table
    SCORES/SCENE.npz            mean features and probabilities of its units, where the strategy needs them
    SCORES/guesses/SCENE/…      most probable class of every point, where it pseudo-labels
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import numpy.typing as npt

from lidal3d.config import Config
from lidal3d.files import replacing
from lidal3d.interframe.regions import region_scores
from lidal3d.interframe.stream import ScoredFrame, score_frames
from lidal3d.predictions.store import PredictionStore
from lidal3d.rounds.live import BestGuesses, LivePredictions
from lidal3d.scene.pose import transform
from lidal3d.scene.scene import Frame, Scene
from lidal3d.scores.columns import NAMES, frame_unit_scores
from lidal3d.scores.table import ScoreTable, concatenate
from lidal3d.strategies.pool import UnitPool
from lidal3d.strategies.strategy import Strategy
from lidal3d.units.base import Partition

if TYPE_CHECKING:
    from lidal3d.learn.model import Model

Scores = dict[str, npt.NDArray[np.float64]]


@dataclass(frozen=True)
class Wanted:
    """What a strategy needs of the model, beside the score table's own columns."""

    model: bool
    features: bool
    probabilities: bool
    members: bool
    labels: bool
    guesses: bool
    columns: tuple[str, ...]

    @classmethod
    def by(cls, strategy: Strategy) -> Wanted:
        """What `strategy` says it needs; one that needs nothing is spared the model."""
        return cls(
            model=bool(strategy.needs or strategy.columns or strategy.pseudo),
            features="features" in strategy.needs,
            probabilities="probabilities" in strategy.needs,
            members="members" in strategy.needs,
            labels="labels" in strategy.needs,
            guesses=strategy.pseudo is not None,
            columns=tuple(name for name in strategy.columns if name in NAMES),
        )


def score_pool(
    scenes: Sequence[Scene],
    model: Model,
    config: Config,
    partition: Partition,
    wanted: Wanted,
    folder: Path,
    device: str = "cpu",
) -> tuple[UnitPool, BestGuesses]:
    """Score the frames of some scenes that can be asked about, those with labels behind the oracle's back.

    Args:
        folder: for the files of scenes that are done; remove it when the choice is made.

    Raises:
        DataError: a sweep cannot be read.
    """
    guesses = BestGuesses(folder / "guesses", model.classes)
    tables, arrays = [], []
    asked = [scene for scene in scenes if any(_can_be_asked(frame) for frame in scene)]
    for scene in sorted(asked, key=lambda scene: scene.id):
        table_path, arrays_path = folder / f"{scene.id}.parquet", folder / f"{scene.id}.npz"
        if not table_path.is_file():
            _score_scene(scene, model, config, partition, wanted, guesses, table_path, arrays_path, device)
        tables.append(ScoreTable.read(table_path))
        with np.load(arrays_path, allow_pickle=False) as archive:
            arrays.append({name: archive[name] for name in archive.files})
    table = concatenate(tables)
    joined = {name: np.concatenate([one[name] for one in arrays]) for name in (arrays[0] if arrays else {})}
    return UnitPool(table, joined.get("features"), joined.get("probabilities")), guesses


def _score_scene(
    scene: Scene,
    model: Model,
    config: Config,
    partition: Partition,
    wanted: Wanted,
    guesses: BestGuesses,
    table_path: Path,
    arrays_path: Path,
    device: str,
) -> None:
    frames = [frame for frame in scene if _can_be_asked(frame)]
    taken = _Taken({frame.index for frame in frames}, partition, wanted, guesses)
    if wanted.model:
        live = LivePredictions(
            scene, model, config.predict, taken, features=wanted.features, members=wanted.members, device=device
        )
        indices = [frame.index for frame in frames]
        rows = [
            _interframe_rows(scene, scored, taken, config, len(live.classes))
            for scored in score_frames(scene, cast(PredictionStore, live), config.interframe, indices)
        ]
    else:
        rows = [_bare_rows(frame, partition) for frame in frames]
    metadata: dict[str, object] = {
        "classes": list(model.classes),
        "model": model.name,
        "units": config.units.model_dump(),
    }
    tables = [
        _table(scene, index, points, unit, scores, partition.kind, metadata) for index, points, unit, scores in rows
    ]
    arrays = {
        name: np.concatenate([taken.arrays[frame.index][name] for frame in frames])
        for name in ("features", "probabilities")
        if frames and name in taken.arrays.get(frames[0].index, {})
    }
    with replacing(arrays_path) as temporary, open(temporary, "wb") as file:
        np.savez(file, **arrays)
    # The table comes last: where it lies, the scene is done.
    concatenate(tables).write(table_path)


def _can_be_asked(frame: Frame) -> bool:
    # Whether there is a label file, not what stands in it: the oracle must be able to answer.
    return frame.is_key_frame and frame.has_labels


Rows = tuple[int, npt.NDArray[np.float32], npt.NDArray[np.int32], Scores]


class _Taken:
    """What is taken of every frame while its probabilities pass by."""

    def __init__(self, wanted_frames: set[int], partition: Partition, wanted: Wanted, guesses: BestGuesses) -> None:
        self.unit: dict[int, npt.NDArray[np.int32]] = {}
        self.scores: dict[int, Scores] = {}
        self.arrays: dict[int, dict[str, npt.NDArray[np.float32]]] = {}
        self._frames, self._partition, self._wanted, self._guesses = wanted_frames, partition, wanted, guesses

    def __call__(
        self,
        frame: Frame,
        points: npt.NDArray[np.float32],
        probabilities: npt.NDArray[np.float32],
        features: npt.NDArray[np.float32] | None,
        members: npt.NDArray[np.float32] | None,
    ) -> None:
        if frame.index not in self._frames:
            return
        unit = self._partition(points)
        units = int(unit.max()) + 1 if len(unit) else 0
        # An upper reference alone looks at the truth, and says so in its `needs`.
        labels = frame.labels() if self._wanted.labels else None
        split = None if members is None else list(members)
        columns = frame_unit_scores(points, probabilities, features, split, unit, units, self._wanted.columns, labels)
        self.unit[frame.index], self.scores[frame.index] = unit, columns.scores
        means = {"features": columns.features, "probabilities": columns.probabilities}
        wanted = {"features": self._wanted.features, "probabilities": self._wanted.probabilities}
        self.arrays[frame.index] = {name: mean for name, mean in means.items() if mean is not None and wanted[name]}
        if self._wanted.guesses:
            self._guesses.write(frame.scene.id, frame.name, probabilities)


def _interframe_rows(scene: Scene, scored: ScoredFrame, taken: _Taken, config: Config, classes: int) -> Rows:
    unit = taken.unit.pop(scored.index)
    scores = region_scores(
        scored.scores,
        unit,
        int(unit.max()) + 1 if len(unit) else 0,
        range_m=np.linalg.norm(scored.kept[:, :3].astype(np.float64), axis=1),
        is_key_frame=bool(scene.is_key_frame[scored.index]),
        min_matches=config.interframe.min_matches,
        classes=classes,
    )
    return scored.index, scored.kept, unit, {**scores, **taken.scores.pop(scored.index)}


def _bare_rows(frame: Frame, partition: Partition) -> Rows:
    points = frame.points()
    unit = partition(points)
    return frame.index, points, unit, {"is_key_frame": np.ones(int(unit.max()) + 1 if len(unit) else 0)}


def _table(
    scene: Scene,
    index: int,
    points: npt.NDArray[np.float32],
    unit: npt.NDArray[np.int32],
    scores: Scores,
    kind: str,
    metadata: dict[str, object],
) -> ScoreTable:
    units = int(unit.max()) + 1 if len(unit) else 0
    size = np.bincount(unit, minlength=units)
    xyz_scene = transform(scene.scene_SE3_lidar[index], points[:, :3])
    center_m = np.stack([np.bincount(unit, weights=xyz_scene[:, axis], minlength=units) for axis in range(3)], axis=1)
    return ScoreTable(
        scenes=(scene.id,),
        scene=np.zeros(units, np.int32),
        frame=np.full(units, index, np.int32),
        unit=np.arange(units, dtype=np.int32),
        points=size.astype(np.int64),
        center_m=center_m / np.maximum(size, 1)[:, None],
        scores=scores,
        kind=kind,
        metadata=metadata,
    )
