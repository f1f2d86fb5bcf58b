# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""AnsweredFrame: what came back for one frame, whichever labelling tool it came from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lidal3d.export.queue import QueuedUnit
from lidal3d.scene.labels import IGNORE
from lidal3d.select.selection import UnitKey


@dataclass(frozen=True)
class AnsweredFrame:
    """What came back for one frame.

    Attributes:
        scene, frame, name: which.
        labels: (N,) uint8 train ids where people or, unchanged, the model gave one; 255 elsewhere.
        answered: the asked units with at least one labelled point.
        open: the asked units without one.
        corrected: how many points of pseudo-labelled units people gave another class.
        outside: how many points had a label that no unit of the queue holds; they are left out.
    """

    scene: str
    frame: int
    name: str
    labels: npt.NDArray[np.uint8]
    answered: tuple[UnitKey, ...]
    open: tuple[UnitKey, ...]
    corrected: int
    outside: int


def in_units(units: Sequence[QueuedUnit], points: int) -> npt.NDArray[np.bool_]:
    """(N,) whether one of the units holds a point."""
    held = np.zeros(points, bool)
    for unit in units:
        held[unit.indices] = True
    return held


def answered_frame(
    frame: tuple[str, int, str],
    labels: npt.NDArray[np.uint8],
    asked: Sequence[QueuedUnit],
    assumed: Sequence[QueuedUnit],
) -> AnsweredFrame:
    """Sort a frame's labels into the units of the queue.

    Args:
        frame: scene, index and name.
        labels: (N,) train ids as a tool brought them, 255 for none.
        asked, assumed: the frame's units, each with points of these N only.
    """
    mine = in_units([*asked, *assumed], len(labels))
    given = labels != IGNORE
    kept = np.where(mine, labels, np.uint8(IGNORE))
    done = [bool(given[unit.indices].any()) for unit in asked]
    keys = [unit.pick.key for unit in asked]
    return AnsweredFrame(
        *frame,
        labels=kept,
        answered=tuple(key for key, yes in zip(keys, done, strict=True) if yes),
        open=tuple(key for key, yes in zip(keys, done, strict=True) if not yes),
        corrected=sum(_corrected(labels, unit) for unit in assumed),
        outside=int((given & ~mine).sum()),
    )


def _corrected(labels: npt.NDArray[np.uint8], unit: QueuedUnit) -> int:
    if unit.labels is None:
        return 0
    given = labels[unit.indices]
    return int(((given != IGNORE) & (given != unit.labels)).sum())
