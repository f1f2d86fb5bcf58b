# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""LabelQueue: a selection together with the points of its units. Exporters and the report read nothing else of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lidal3d.errors import DataError
from lidal3d.scene.pixels import CAMERA
from lidal3d.scene.scene import Frame, Scene
from lidal3d.select.selection import Pick, Selection


@dataclass(frozen=True)
class QueuedUnit:
    """One unit and its points.

    Attributes:
        pick: the unit.
        indices: (K,) its points' places in the frame's sweep.
        labels: (K,) train ids assumed by the model for a pseudo-labelled unit, 255 for none; None for an asked unit.
    """

    pick: Pick
    indices: npt.NDArray[np.integer]
    labels: npt.NDArray[np.uint8] | None = None


@dataclass(frozen=True)
class LabelQueue:
    """What people are asked (in order of rank) and what the model assumed.

    Attributes:
        selection: the asked units and the budget's account.
        asked: one entry a pick of `selection`, in its order.
        pseudo_selection: the pseudo-labelled units, or None where there are none.
        assumed: one entry a pick of `pseudo_selection`.
    """

    selection: Selection
    asked: tuple[QueuedUnit, ...]
    pseudo_selection: Selection | None = None
    assumed: tuple[QueuedUnit, ...] = ()

    def scene_ids(self) -> tuple[str, ...]:
        """The scenes with an asked unit, sorted."""
        return tuple(sorted({unit.pick.key.scene for unit in self.asked}))


def label_queue(
    selection: Selection,
    points: Sequence[npt.NDArray[np.integer]],
    pseudo: Selection | None = None,
    pseudo_points: Sequence[npt.NDArray[np.integer]] = (),
    pseudo_labels: Sequence[npt.NDArray[np.uint8]] = (),
) -> LabelQueue:
    """Put selections and their points together.

    Args:
        points: one array of point indices a pick of `selection`.
        pseudo_points, pseudo_labels: the same for `pseudo`, with a train id a point.

    Raises:
        DataError: another number of point sets than picks, or of labels than points.
    """
    pseudo_picks = () if pseudo is None else pseudo.picks
    for name, picks, sets in (("asked", selection.picks, points), ("pseudo-labelled", pseudo_picks, pseudo_points)):
        if len(picks) != len(sets):
            raise DataError(f"{len(picks)} {name} units, but points of {len(sets)}; run `lidal3d select` again")
    asked = tuple(QueuedUnit(pick, indices) for pick, indices in zip(selection.picks, points, strict=True))
    return LabelQueue(selection, asked, pseudo, _assumed(pseudo_picks, pseudo_points, pseudo_labels))


def _assumed(
    picks: Sequence[Pick],
    points: Sequence[npt.NDArray[np.integer]],
    labels: Sequence[npt.NDArray[np.uint8]],
) -> tuple[QueuedUnit, ...]:
    units = tuple(QueuedUnit(*parts) for parts in zip(picks, points, labels, strict=True))
    for unit in units:
        if unit.labels is not None and len(unit.labels) != len(unit.indices):
            raise DataError(
                f"{unit.pick.key}: {len(unit.indices)} points, but {len(unit.labels)} pseudo-labels; "
                "run `lidal3d select` again"
            )
    return units


def by_frame(units: Sequence[QueuedUnit]) -> dict[tuple[str, int], list[QueuedUnit]]:
    """The units of each (scene, frame index), in their order."""
    groups: dict[tuple[str, int], list[QueuedUnit]] = {}
    for unit in units:
        groups.setdefault((unit.pick.key.scene, unit.pick.key.frame), []).append(unit)
    return groups


def frame_of(scenes: Mapping[str, Scene], scene: str, index: int) -> Frame:
    """A frame of the drive that a selection names. Raises DataError when the drive has no such scene or frame."""
    if scene not in scenes:
        raise DataError(f"the selection names scene '{scene}', the drive has {', '.join(sorted(scenes)) or 'no scene'}")
    if not 0 <= index < len(scenes[scene]):
        raise DataError(
            f"{scenes[scene].root}: the selection names frame {index}, scene {scene} has {len(scenes[scene])}"
        )
    return scenes[scene][index]


def check_indices(unit: QueuedUnit, points: int, frame: Frame) -> None:
    """Raise DataError where a unit names a point that the sweep does not have."""
    if len(unit.indices) and not 0 <= int(unit.indices.min()) <= int(unit.indices.max()) < points:
        path, named = frame.scene.source.points_path(frame.index), int(unit.indices.max())
        one, whole = ("pixel", "picture") if frame.scene.sensor == CAMERA else ("point", "sweep")
        raise DataError(
            f"{path}: unit {unit.pick.key.unit} names {one} {named}, the {whole} has {points}; "
            "the selection was made on another drive"
        )
