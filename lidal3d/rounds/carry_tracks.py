# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""A person's label holds for the thing: it is carried to all sweeps that show the same track, also where it moves.

A track is answered where people gave labels to most of its points in some sweep, nearly all of them the same. All its
points in all other key frames then get that class, where people gave none. As with `lidal3d.rounds.carry` only people's
labels are carried, and nothing is a label that people would have had to give. ODCT's constraint that a track has one
label (Alfani et al., ICPR 2022) is used here on answers; the thresholds are this package's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lidal3d.rounds.carry import CarriedLabels, carried_labels
from lidal3d.rounds.masks import LedgerLabels
from lidal3d.scene.labels import IGNORE
from lidal3d.scene.scene import Scene
from lidal3d.tracks.store import TrackStore

MOSTLY_LABELLED = 0.5  # share of a track's points in a sweep that people labelled: more than a corner of it
SAME = 0.9  # share of these that must have one class: a track that holds two things is not carried


def carry_by_track(
    own: LedgerLabels,
    scenes: Mapping[str, Scene],
    classes: tuple[str, ...],
    tracks: TrackStore,
    weight: float,
    folder: Path,
) -> CarriedLabels:
    """Carry the ledger's human labels along tracks, by way of files in `folder`.

    Args:
        own: where people's labels come from.
        scenes: by id, those that may be trained on.
        classes: C names.
        tracks: of these scenes.
        weight: of a carried label in training.
        folder: made anew; remove it when the training is done.

    Raises:
        DataError: a sweep is damaged, or its tracks are missing or of another sweep.
    """

    def of_scene(scene: Scene, labelled: list[int]) -> Iterator[tuple[int, npt.NDArray[np.uint8]]]:
        answers = _answers(own, scene, labelled, tracks, len(classes))
        return _carried(own, scene, set(labelled), answers, tracks)

    return carried_labels(own, scenes, classes, weight, folder, of_scene)


def answers_of_tracks(
    ids: npt.NDArray[np.int32], labels: npt.NDArray[np.uint8], tracks: int, classes: int
) -> npt.NDArray[np.int64]:
    """(tracks, classes) how many points of each track got each class in a sweep; 0 where too few of them got any.

    Args:
        ids: (N,) track of each point, −1 for none.
        labels: (N,) people's train ids, 255 where they gave none.
    """
    held = ids >= 0
    size = np.bincount(ids[held], minlength=tracks)
    given = held & (labels != IGNORE)
    place = ids[given].astype(np.int64) * classes + labels[given]
    votes = np.bincount(place, minlength=tracks * classes).reshape(tracks, classes)
    return np.where((votes.sum(axis=1) >= MOSTLY_LABELLED * size)[:, None], votes, 0)


def _answers(
    own: LedgerLabels, scene: Scene, labelled: list[int], tracks: TrackStore, classes: int
) -> npt.NDArray[np.uint8]:
    """The class of each track of a scene by its id, 255 where it isn't answered, or not by one class."""
    count = int(tracks.path(scene.id).track.max(initial=-1)) + 1
    votes = np.zeros((count, classes), np.int64)
    for index in labelled:
        labels = own.by_people(scene[index])
        votes += answers_of_tracks(tracks.ids(scene.id, scene.frame_names[index], len(labels)), labels, count, classes)
    total = votes.sum(axis=1)
    agreed = (total > 0) & (votes.max(axis=1, initial=0) >= SAME * total)
    return np.where(agreed, votes.argmax(axis=1) if classes else 0, IGNORE).astype(np.uint8)


def _carried(
    own: LedgerLabels, scene: Scene, labelled: set[int], answers: npt.NDArray[np.uint8], tracks: TrackStore
) -> Iterator[tuple[int, npt.NDArray[np.uint8]]]:
    """(frame index, carried labels (N,), 255 for none) of the key frames that get any."""
    path = tracks.path(scene.id)
    frames = np.unique(path.frame[answers[path.track] != IGNORE])
    by_id = np.append(answers, np.uint8(IGNORE))  # −1, the last, is no track
    for index in frames[scene.is_key_frame[frames]].tolist():
        points = len(scene[index].points())
        carried = by_id[tracks.ids(scene.id, scene.frame_names[index], points)]
        if index in labelled:
            carried[own.by_people(scene[index]) != IGNORE] = IGNORE
        if (carried != IGNORE).any():
            yield index, carried
