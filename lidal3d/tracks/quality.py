# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""How good tracks are where the truth is known: purity, fragmentation, completeness against instances.

A thing is an instance that is seen, with enough points, in enough sweeps. In each of them the track with most of its
points is its main one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import numpy.typing as npt

Int64 = npt.NDArray[np.int64]
NO_TRACK = -1
NO_THING = 0


@dataclass(frozen=True)
class TrackQuality:
    """Figures over all sweeps; NaN where there is nothing to measure.

    Attributes:
        things: how many.
        purity: of the points of all tracks that have any of a thing, the share that belongs to their track's main thing
            (all that is no thing counts as one).
        thing_purity: mean over things: the share of their main track's points that is theirs.
        completeness: mean over things: the share of their points in the one track that has most of them.
        covered: mean over things: the share of their sweeps in which some track has points of them.
        fragments: mean over things: how many tracks are their main one in some sweep. 1 is perfect.
        unbroken: share of things with one main track throughout.
        switches: changes of the main track for every 100 sweeps of a thing.
    """

    things: int
    purity: float
    thing_purity: float
    completeness: float
    covered: float
    fragments: float
    unbroken: float
    switches: float


@dataclass
class Overlaps:
    """How many points each track and each instance share in each sweep; add sweeps in order of time."""

    _rows: list[Int64] = field(default_factory=list)
    _sweeps: int = 0

    def add(self, track: npt.NDArray[np.integer], instance: npt.NDArray[np.integer]) -> None:
        """Count a sweep's tracks (N,), −1 for none, and instances (N,), 0 for none."""
        pairs, points = np.unique(np.stack([track, instance]).astype(np.int64), axis=1, return_counts=True)
        self._rows.append(np.vstack([np.full(len(points), self._sweeps), pairs, points]))
        self._sweeps += 1

    def table(self) -> Int64:
        """(4, K) sweep, track, instance, points; every pair that occurs, in order."""
        return np.concatenate(self._rows, axis=1) if self._rows else np.empty((4, 0), np.int64)


def track_quality(
    table: Int64,
    min_points: int = 20,
    min_sweeps: int = 3,
    among: Callable[[int], bool] = lambda instance: True,
) -> TrackQuality:
    """Judge tracks by an `Overlaps.table`.

    Args:
        min_points: an instance counts in sweeps where it has as many.
        min_sweeps: and only if there are as many such sweeps.
        among: which instances to look at.
    """
    things = _things(table, min_points, min_sweeps, among)
    judged = [_judge(table, thing, min_points) for thing in things]
    means = np.array(judged, np.float64).mean(axis=0) if judged else np.full(6, np.nan)
    sweeps = sum(one[5] for one in judged)
    return TrackQuality(
        things=len(things),
        purity=_purity(table, things),
        thing_purity=float(means[0]),
        completeness=float(means[1]),
        covered=float(means[2]),
        fragments=float(means[3]),
        unbroken=float(np.mean([one[3] == 1 for one in judged])) if judged else float("nan"),
        switches=100 * sum(one[4] for one in judged) / sweeps if sweeps else float("nan"),
    )


def _things(table: Int64, min_points: int, min_sweeps: int, among: Callable[[int], bool]) -> list[int]:
    sweep, _, instance, points = table
    keys, place = np.unique(np.stack([instance, sweep]), axis=1, return_inverse=True)
    seen = np.bincount(place.ravel(), weights=points, minlength=keys.shape[1]) >= min_points
    found, sweeps = np.unique(keys[0, seen], return_counts=True)
    return [int(one) for one in found[sweeps >= min_sweeps] if one != NO_THING and among(int(one))]


def _judge(table: Int64, thing: int, min_points: int) -> tuple[float, float, float, int, int, int]:
    """(purity of its main track, completeness, share of sweeps covered, main tracks, switches, sweeps)."""
    sweep, track, _, points = table[:, table[2] == thing]
    held = track != NO_TRACK
    tracks, place = np.unique(track[held], return_inverse=True)
    total = np.bincount(place, weights=points[held], minlength=1)
    best = int(total.argmax())
    size = int(table[3, table[1] == tracks[best]].sum()) if len(tracks) else 0
    mains: list[int] = []
    sweeps = 0
    for one in np.unique(sweep):
        rows = np.flatnonzero(sweep == one)
        if points[rows].sum() >= min_points:
            sweeps += 1
            tracked = rows[held[rows]]
            if len(tracked):
                mains.append(int(track[tracked[points[tracked].argmax()]]))
    switches = sum(a != b for a, b in pairwise(mains))
    pure = float(total[best] / size) if size else 0.0
    return pure, float(total[best] / points.sum()), len(mains) / sweeps, len(set(mains)), switches, sweeps


def class_purity(table: Int64) -> float:
    """Of the points of all tracks that have a class, the share that has their track's commonest one.

    Args:
        table: of `Overlaps` with classes from 1 in place of instances, 0 for none.
    """
    return _share_of_commonest(*table[1:, (table[1] != NO_TRACK) & (table[2] != NO_THING)])


def _purity(table: Int64, things: Sequence[int]) -> float:
    _, track, instance, points = table
    thing = np.where(np.isin(instance, things), instance, NO_THING)
    touched = np.unique(track[(thing != NO_THING) & (track != NO_TRACK)])
    inside = np.isin(track, touched)
    return _share_of_commonest(track[inside], thing[inside], points[inside])


def _share_of_commonest(track: Int64, group: Int64, points: Int64) -> float:
    """The share of points that are in the commonest group of their track; NaN for none."""
    if not len(track):
        return float("nan")
    (tracks, _), place = np.unique(np.stack([track, group]), axis=1, return_inverse=True)
    shared = np.bincount(place.ravel(), weights=points)
    first = np.flatnonzero(np.diff(tracks, prepend=tracks[0] - 1))
    return float(np.maximum.reduceat(shared, first).sum() / shared.sum())
