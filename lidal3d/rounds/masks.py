# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""From records to what training reads: the labels and weights of a frame's points.

A record names a unit; which points it has is found by cutting the sweep again, since partitions are deterministic.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from lidal3d.errors import DataError
from lidal3d.rounds.oracle import Oracle, refuse_mask
from lidal3d.rounds.record import WHOLE_FRAME, Record, in_force
from lidal3d.scene.labels import IGNORE
from lidal3d.scene.scene import Frame, Scene
from lidal3d.select.selection import UnitKey
from lidal3d.units.base import Partition

FrameLabels = tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32] | None]


@dataclass(frozen=True)
class Assumed:
    """Pseudo-labels of a unit's points (K,), in the order of the sweep, and their weights (K,)."""

    labels: npt.NDArray[np.uint8]
    weights: npt.NDArray[np.float32]


@dataclass(frozen=True)
class LedgerLabels:
    """A label source for training: people's answers for the units they labelled, assumptions for the others.

    Attributes:
        records: of the ledger; only those in force count.
        oracle: answers for units that people labelled.
        partition: what cut the sweeps when they were chosen from.
        assumed: gives the pseudo-labels of a unit.
    """

    records: Sequence[Record]
    oracle: Oracle
    partition: Partition
    assumed: Mapping[UnitKey, Assumed] = field(default_factory=dict)

    def __post_init__(self) -> None:
        grouped: dict[tuple[str, int], list[Record]] = {}
        for record in in_force(self.records):
            grouped.setdefault((record.scene, record.frame), []).append(record)
        object.__setattr__(self, "_by_frame", grouped)

    def frames(self, scenes: Mapping[str, Scene]) -> list[Frame]:
        """The frames with a unit in force, in order. Raises DataError for one that the drive doesn't have."""
        for scene, frame in self._by_frame:  # type: ignore[attr-defined]
            if scene not in scenes or frame >= len(scenes[scene]):
                has = len(scenes[scene]) if scene in scenes else 0
                raise DataError(f"ledger: scene {scene} frame {frame} is labelled, the drive has {has} frames of it")
        return [scenes[scene][frame] for scene, frame in sorted(self._by_frame)]  # type: ignore[attr-defined]

    def points(self, frame: Frame) -> int:
        """How many points of a frame lie in units in force."""
        found: list[Record] = self._by_frame.get((frame.scene.id, frame.index), [])  # type: ignore[attr-defined]
        return sum(record.points for record in found)

    def __call__(self, frame: Frame) -> FrameLabels:
        """Train ids (N,), 255 where there is no label, and weights (N,), None where all are 1."""
        units = self._by_frame.get((frame.scene.id, frame.index), [])  # type: ignore[attr-defined]
        ids = unit_ids(frame, units, self.partition)
        labels = self._by_people(frame, units, ids)
        pseudo = [record for record in units if record.labeller == "pseudo"]
        if not pseudo:
            return labels, None
        weights = np.ones(len(ids), np.float32)
        for record in pseudo:
            _assume(record, frame, ids, self.assumed[record.key], labels, weights)
        return labels, weights

    def by_people(self, frame: Frame) -> npt.NDArray[np.uint8]:
        """People's labels alone (N,), 255 where they gave none."""
        units = self._by_frame.get((frame.scene.id, frame.index), [])  # type: ignore[attr-defined]
        people = [record for record in units if record.labeller != "pseudo"]
        return self._by_people(frame, people, unit_ids(frame, people, self.partition))

    def _by_people(self, frame: Frame, units: Sequence[Record], ids: npt.NDArray[np.int32]) -> npt.NDArray[np.uint8]:
        people = [record for record in units if record.labeller != "pseudo"]
        labels = self.oracle.answer(frame, mask_of(ids, people))
        refuse_mask(frame, labels, len(ids))
        return labels


def mask_of(ids: npt.NDArray[np.int32], records: Sequence[Record]) -> npt.NDArray[np.bool_]:
    """(N,) whether a point lies in one of the units, given the unit of every point (N,)."""
    if any(record.kind == WHOLE_FRAME for record in records):
        return np.ones(len(ids), bool)
    return np.isin(ids, [record.unit for record in records])


def unit_ids(frame: Frame, records: Sequence[Record], partition: Partition) -> npt.NDArray[np.int32]:
    """The unit of every point (N,), all 0 where only whole frames are asked for.

    Raises:
        DataError: a unit that has another number of points than in its record.
    """
    points = frame.points()
    parts = [record for record in records if record.kind != WHOLE_FRAME]
    ids = partition(points) if parts else np.zeros(len(points), np.int32)
    for record in records:
        found = len(points) if record.kind == WHOLE_FRAME else int((ids == record.unit).sum())
        if found != record.points:
            raise DataError(
                f"{frame.scene.source.points_path(frame.index)}: {record.kind} {record.unit} has {found} points, the "
                f"ledger says {record.points}; drive or unit settings have changed"
            )
    return ids


def _assume(
    record: Record,
    frame: Frame,
    ids: npt.NDArray[np.int32],
    assumed: Assumed,
    labels: npt.NDArray[np.uint8],
    weights: npt.NDArray[np.float32],
) -> None:
    """Write a unit's pseudo-labels where people gave none."""
    places = np.arange(len(ids)) if record.kind == WHOLE_FRAME else np.flatnonzero(ids == record.unit)
    if len(assumed.labels) != len(places) or len(assumed.weights) != len(places):
        raise DataError(
            f"{frame.scene.source.points_path(frame.index)}: {record.kind} {record.unit} has {len(places)} points, but "
            f"{len(assumed.labels)} pseudo-labels; select again"
        )
    free = labels[places] == IGNORE
    labels[places[free]] = assumed.labels[free]
    weights[places[free]] = assumed.weights[free]
