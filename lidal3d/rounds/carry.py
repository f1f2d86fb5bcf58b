# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""A person's label holds for the place, not only for the sweep it was given in: neighbouring sweeps get it too.

Every point without a label takes that of the nearest labelled point of the neighbouring sweeps, in scene coordinates, if
that is near enough. The world is taken to stand still, as LiDAL's measure does: what moves finds few such points. Only
people's labels are carried; nothing is a label that people would have had to give. Not in LiDAL's paper.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lidal3d.interframe.grid import build_grid
from lidal3d.interframe.match import UNMATCHED, match
from lidal3d.interframe.stream import refuse_bad_pose
from lidal3d.rounds.label_store import LabelStore
from lidal3d.rounds.masks import FrameLabels, LedgerLabels
from lidal3d.rounds.world import World
from lidal3d.scene.labels import IGNORE
from lidal3d.scene.pose import transform
from lidal3d.scene.scene import Frame, Scene
from lidal3d.settings.carry import CarryConfig

COUNTS_FILE = "carried.json"


@dataclass(frozen=True)
class CarriedLabels:
    """A label source: the ledger's labels, and carried ones where it has none.

    Attributes:
        own: of the ledger.
        store: the carried labels of every frame that got some.
        weight: theirs.
        counts: (scene id, frame index) -> how many.
    """

    own: LedgerLabels
    store: LabelStore
    weight: float
    counts: Mapping[tuple[str, int], int] = field(default_factory=dict)

    def frames(self, scenes: Mapping[str, Scene]) -> list[Frame]:
        """The frames with a label, own or carried, in order."""
        keys = {(frame.scene.id, frame.index) for frame in self.own.frames(scenes)} | set(self.counts)
        return [scenes[scene][index] for scene, index in sorted(keys)]

    def points(self, frame: Frame) -> int:
        """How many points of a frame have a label."""
        return self.own.points(frame) + self.counts.get((frame.scene.id, frame.index), 0)

    def __call__(self, frame: Frame) -> FrameLabels:
        """Train ids (N,), 255 where there is no label, and weights (N,), None where all are 1."""
        labels, weights = self.own(frame)
        if (frame.scene.id, frame.index) not in self.counts:
            return labels, weights
        carried = self.store.labels(frame.scene.id, frame.name, len(labels))
        free = (labels == IGNORE) & (carried != IGNORE)
        if self.weight != 1 and weights is None:
            weights = np.ones(len(labels), np.float32)
        if weights is not None:
            weights = np.where(free, np.float32(self.weight), weights)
        return np.where(free, carried, labels).astype(np.uint8), weights


def carry_labels(
    own: LedgerLabels, scenes: Mapping[str, Scene], classes: tuple[str, ...], config: CarryConfig, folder: Path
) -> CarriedLabels:
    """Carry the ledger's human labels to the key frames around them, by way of files in `folder`.

    Args:
        own: where people's labels come from.
        scenes: by id, those that may be trained on.
        classes: C names.
        config: how far.
        folder: made anew; remove it when the training is done.

    Raises:
        DataError: a sweep or a pose of a scene is damaged.
    """
    return carried_labels(
        own,
        scenes,
        classes,
        config.weight,
        folder,
        lambda scene, labelled: _carried_in_scene(own, scene, labelled, config),
    )


def carried_labels(
    own: LedgerLabels,
    scenes: Mapping[str, Scene],
    classes: tuple[str, ...],
    weight: float,
    folder: Path,
    of_scene: Callable[[Scene, list[int]], Iterator[tuple[int, npt.NDArray[np.uint8]]]],
) -> CarriedLabels:
    """Labels that are carried scene by scene, by way of files in `folder`, which is made anew.

    Args:
        weight: of a carried label in training.
        of_scene: (scene, its labelled frames) -> (frame index, carried labels (N,), 255 for none) of frames that get any.
    """
    if folder.is_dir():
        shutil.rmtree(folder)
    store = LabelStore.open_or_create(folder, classes)
    counts = {}
    by_scene: dict[str, list[int]] = {}
    for frame in own.frames(scenes):
        by_scene.setdefault(frame.scene.id, []).append(frame.index)
    for scene, labelled in sorted(by_scene.items()):
        for index, carried in of_scene(scenes[scene], labelled):
            store.write(scene, scenes[scene].frame_names[index], carried)
            counts[scene, index] = int((carried != IGNORE).sum())
    return CarriedLabels(own, store, weight, counts)


def counts_of(labels: CarriedLabels, world: World) -> dict[str, int]:
    """How many labels were carried to frames of the world, and how many of them are right: a report, for nobody's use."""
    carried = right = 0
    for scene, index in sorted(labels.counts):
        frame = world.train_by_id[scene][index]
        truth = frame.labels()
        if truth is not None:
            found = labels.store.labels(scene, frame.name, len(truth))
            given = found != IGNORE
            carried += int(given.sum())
            right += int((found[given] == truth[given]).sum())
    return {"points": carried, "right": right}


def carried_points(folder: Path) -> int:
    """How many labels were carried for the training whose model lies in a folder."""
    path = folder / COUNTS_FILE
    return int(json.loads(path.read_text(encoding="utf-8"))["points"]) if path.is_file() else 0


@dataclass(frozen=True)
class _Labelled:
    """The points with a human label of one frame: (K, 3) in scene coordinates, and (K,) uint8."""

    xyz_scene: npt.NDArray[np.float64]
    labels: npt.NDArray[np.uint8]


def _carried_in_scene(
    own: LedgerLabels, scene: Scene, labelled: list[int], config: CarryConfig
) -> Iterator[tuple[int, npt.NDArray[np.uint8]]]:
    """(frame index, carried labels (N,), 255 for none) of the frames that get any; holds a window of labelled points."""
    window: dict[int, _Labelled] = {}
    for index in range(len(scene)):
        near = [j for j in labelled if abs(j - index) <= config.half_window]
        window = {j: window[j] if j in window else _labelled_points(own, scene, j) for j in near}
        others = [window[j] for j in near if j != index]
        if not scene.is_key_frame[index] or not sum(len(other.labels) for other in others):
            continue
        frame = scene[index]
        refuse_bad_pose(scene, index)
        carried = nearest_labels(
            transform(scene.scene_SE3_lidar[index], frame.points()[:, :3]),
            np.concatenate([other.xyz_scene for other in others]),
            np.concatenate([other.labels for other in others]),
            config.radius_m,
        )
        if index in window:
            carried[own.by_people(frame) != IGNORE] = IGNORE
        if (carried != IGNORE).any():
            yield index, carried


def _labelled_points(own: LedgerLabels, scene: Scene, index: int) -> _Labelled:
    frame = scene[index]
    labels = own.by_people(frame)
    given = labels != IGNORE
    refuse_bad_pose(scene, index)
    return _Labelled(transform(scene.scene_SE3_lidar[index], frame.points()[given, :3]), labels[given])


def nearest_labels(
    xyz: npt.NDArray[np.float64],
    labelled_xyz: npt.NDArray[np.float64],
    labels: npt.NDArray[np.uint8],
    radius_m: float,
) -> npt.NDArray[np.uint8]:
    """The label of each point's nearest labelled point, 255 where none lies within the radius.

    Args:
        xyz: (N, 3) scene coordinates, metres.
        labelled_xyz: (K, 3) likewise.
        labels: (K,) train ids.
        radius_m: a point at exactly this distance counts.
    """
    query, reference = build_grid(xyz, radius_m), build_grid(labelled_xyz, radius_m)
    places = match(query, reference, radius_m)
    found = places != UNMATCHED
    carried = np.full(len(xyz), IGNORE, np.uint8)
    carried[query.order[found]] = labels[reference.order[places[found]]]
    return carried
