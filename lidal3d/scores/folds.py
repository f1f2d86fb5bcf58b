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
    """(N,) the units to ask whether labelled and unlabelled can be told: whole logs, else runs of a log's frames.

    Of all logs (runs), that with about `share` of the labelled units, and where it has no unlabelled unit beside them, one
    more that has. Both kinds are there on both sides; None where no log and no run allows that.

    Args:
        log, frame: (N,) of the units.
        labelled: (N,).
        share: of the labelled units.
    """
    for group in (log, _runs(log, frame)):
        aside = _group_of(group, labelled, share)
        if not (~labelled & aside).any():
            free = ~np.isin(group, group[labelled])
            if free.any():
                aside |= free & _group_of(np.where(free, group, -1), ~labelled & free, share)
        if all((kind & side).any() for kind in (labelled, ~labelled) for side in (aside, ~aside)):
            return aside
    return None


def _group_of(group: Int64, counted: npt.NDArray[np.bool_], share: float) -> npt.NDArray[np.bool_]:
    """(N,) the members of the group that has about this share of what is counted, the first of equals."""
    names, size = np.unique(group[counted], return_counts=True)
    return group == names[np.abs(size / max(size.sum(), 1) - share).argmin()]


def _runs(log: Int64, frame: Int64) -> Int64:
    """(N,) a number for the run of frames of each unit: RUNS a log, at most one a frame."""
    result = np.zeros(len(log), np.int64)
    for number in np.unique(log):
        some = log == number
        frames, place = np.unique(frame[some], return_inverse=True)
        runs = min(RUNS, len(frames))
        result[some] = number * RUNS + place.ravel() * runs // len(frames)
    return result
