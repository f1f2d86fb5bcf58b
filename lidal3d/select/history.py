# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""What earlier rounds asked of people and assumed without them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lidal3d.errors import DataError
from lidal3d.scores.table import ScoreTable
from lidal3d.select.selection import Pick, Selection, UnitKey


@dataclass(frozen=True)
class History:
    """Earlier rounds.

    Attributes:
        labelled: what people were asked in all earlier rounds.
        pseudo: what the last round pseudo-labelled.
        labelled_frames: (scene, frame index) of frames that people labelled whole.
        rounds: how many rounds there were; 0 before the first.
    """

    labelled: tuple[Pick, ...] = ()
    pseudo: tuple[Pick, ...] = ()
    labelled_frames: frozenset[tuple[str, int]] = frozenset()
    rounds: int = 0


def history_of(
    rounds: Sequence[tuple[Selection, Selection]], labelled_frames: Collection[tuple[str, int]] = ()
) -> History:
    """The history of earlier (selection, pseudo selection), the first round first."""
    labelled = tuple(pick for selection, _ in rounds for pick in selection.picks)
    return History(labelled, rounds[-1][1].picks if rounds else (), frozenset(labelled_frames), len(rounds))


def is_labelled(table: ScoreTable, history: History) -> npt.NDArray[np.bool_]:
    """(R,) whether a person has labelled a unit, alone or with its frame. Raises DataError as `is_picked`."""
    frames = np.zeros(len(table), bool)
    for scene, frame in history.labelled_frames:
        if scene in table.scenes:
            frames |= (table.scene == table.scenes.index(scene)) & (table.frame == frame)
    return frames | is_picked(table, history.labelled)


def is_picked(table: ScoreTable, picks: Sequence[Pick]) -> npt.NDArray[np.bool_]:
    """(R,) whether a unit of a table in order is among picks; picks of other scenes are passed over.

    Raises:
        DataError: a pick is of another kind, or the table has it with another number of points or not at all: the
            drive or the settings of the units have changed, and the same id means something else.
    """
    result = np.zeros(len(table), bool)
    places = {scene: place for place, scene in enumerate(table.scenes)}
    frames = table.scene.astype(np.int64) << 32 | table.frame
    for pick in picks:
        if pick.key.scene in places:
            row = _row_of(pick.key, places[pick.key.scene], frames, table.unit)
            _refuse_another(pick, table, row)
            result[row] = True
    return result


def _row_of(key: UnitKey, scene: int, frames: npt.NDArray[np.int64], units: npt.NDArray[np.int32]) -> int | None:
    frame = scene << 32 | key.frame
    first, last = np.searchsorted(frames, frame, side="left"), np.searchsorted(frames, frame, side="right")
    row = int(first + np.searchsorted(units[first:last], key.unit))
    return row if row < last and units[row] == key.unit else None


def _refuse_another(pick: Pick, table: ScoreTable, row: int | None) -> None:
    where = f"scene {pick.key.scene} frame {pick.key.frame} unit {pick.key.unit}"
    redo = "score again with the units of the earlier round, or leave it out of --earlier"
    if pick.kind != table.kind:
        raise DataError(f"{where}: an earlier round chose {pick.kind} units, this table has {table.kind}; {redo}")
    points = 0 if row is None else int(table.points[row])
    if points != pick.points:
        raise DataError(f"{where}: {pick.points} points in an earlier round, {points} in this table; {redo}")
