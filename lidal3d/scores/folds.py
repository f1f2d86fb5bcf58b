# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""What a density may learn from, so that it doesn't take a drive's copies of itself for something common.

Whatever learns "source or target" also learns to recognise a drive, hence folds by scene. And a parked car stands in a
hundred sweeps, more at a red light, hence one unit a place.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Int64 = npt.NDArray[np.int64]
NO_FOLD = -1
RUNS = 8


def fold_numbers(scene: Int64, frame: Int64, of_scene: Int64, of_frame: Int64, most: int) -> Int64:
    """The fold of units, as the target's units are cut into folds.

    Target scenes are dealt out in turn. Where there is a single one, its frames are cut into blocks of neighbours, as
    many as folds: the ends of a block then still have near copies in the next, so scores are less sharp with one scene.

    Args:
        scene, frame: (N,) of the units that are asked about.
        of_scene, of_frame: (T,) of the target's units.
        most: how many folds at most.

    Returns:
        (N,) from 0, NO_FOLD for units of other scenes, which belong to no fold.
    """
    scenes, frames = np.unique(of_scene), np.unique(of_frame)
    if not len(scenes):
        return np.full(len(scene), NO_FOLD, np.int64)
    known = np.isin(scene, scenes)
    if len(scenes) > 1:
        fold = np.searchsorted(scenes, scene) % most
    else:
        place = np.clip(np.searchsorted(frames, frame, side="right") - 1, 0, len(frames) - 1)
        fold = place * min(most, len(frames)) // len(frames)
    return np.where(known, fold, NO_FOLD).astype(np.int64)


def one_a_place(
    scene: Int64, category: Int64, center_m: npt.NDArray[np.float64], points: Int64, cell_m: float
) -> npt.NDArray[np.bool_]:
    """(N,) of the units of one class and scene in one cell of the world the one with most points, the first of equals.

    Args:
        center_m: (N, 3) in the scene's frame; a unit without a known place is kept.
        cell_m: edge of a cell; 0 keeps all.
    """
    known = np.isfinite(center_m).all(axis=1)
    kept = np.ones(len(scene), bool)
    if cell_m <= 0 or not known.any():
        return kept
    rows = np.flatnonzero(known)
    cell = np.floor(center_m[rows] / cell_m).astype(np.int64)
    names = np.column_stack([scene[rows], category[rows], cell])
    place = np.unique(names, axis=0, return_inverse=True)[1].ravel()
    order = np.lexsort((rows, -points[rows], place))
    first = np.ones(len(order), bool)
    first[1:] = place[order][1:] != place[order][:-1]
    kept[rows] = False
    kept[rows[order[first]]] = True
    return kept


def held_out(log: Int64, frame: Int64, labelled: npt.NDArray[np.bool_], share: float) -> npt.NDArray[np.bool_] | None:
    """(N,) the units to ask whether labelled and unlabelled can be told: a log, else the same run of all logs' frames.

    Of the logs (runs) that have units of both kinds, that with about `share` of the labelled ones; where none has, one of
    either kind. Both kinds are there on both sides; None where neither logs nor runs allow that.

    Args:
        log, frame: (N,) of the units.
        labelled: (N,).
        share: of the labelled units.
    """
    for group in (log, _runs(log, frame)):
        both = np.isin(group, group[labelled]) & np.isin(group, group[~labelled])
        if both.any():
            aside = _group_of(group, labelled & both, labelled.sum() * share)
        else:
            aside = _group_of(group, labelled, labelled.sum() * share)
            aside |= _group_of(group, ~labelled, (~labelled).sum() * share)
        if all((kind & side).any() for kind in (labelled, ~labelled) for side in (aside, ~aside)):
            return aside
    return None


def _group_of(group: Int64, counted: npt.NDArray[np.bool_], wanted: float) -> npt.NDArray[np.bool_]:
    """(N,) the members of the group that has about so many of what is counted, the first of equals."""
    names, size = np.unique(group[counted], return_counts=True)
    return group == names[np.abs(size - wanted).argmin()] if len(names) else np.zeros(len(group), bool)


def _runs(log: Int64, frame: Int64) -> Int64:
    """(N,) which of the RUNS equal runs of its log's frames a unit is in; of fewer frames each is a run."""
    result = np.zeros(len(log), np.int64)
    for number in np.unique(log):
        some = log == number
        frames, place = np.unique(frame[some], return_inverse=True)
        result[some] = place.ravel() * min(RUNS, len(frames)) // len(frames)
    return result
