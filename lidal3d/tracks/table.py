# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""The tracks of one scene as a table: where each was in every sweep that shows it, and each as a whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lidal3d.tracks.tracker import TrackedSweep

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True)
class TrackPath:
    """K sightings, in the order of (track, frame).

    Attributes:
        track, frame: (K,) int32.
        points: (K,) int64 points of the track in the frame.
        center_m: (K, 3) their mean in the scene's frame.
        velocity_mps: (K, 3) of the track after the sweep, in the scene's frame.
    """

    track: npt.NDArray[np.int32]
    frame: npt.NDArray[np.int32]
    points: Int64
    center_m: Float64
    velocity_mps: Float64

    def __len__(self) -> int:
        return len(self.track)

    def take(self, rows: npt.NDArray) -> TrackPath:
        """Some of the sightings, in the given order."""
        return TrackPath(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))

    def long_enough(self, min_sweeps: int) -> TrackPath:
        """The tracks that so many sweeps show."""
        return self.take(np.bincount(self.track, minlength=1)[self.track] >= min_sweeps)


@dataclass(frozen=True)
class Tracks:
    """T tracks as a whole, by id.

    Attributes:
        track: (T,) int32.
        sweeps: (T,) how many show it.
        first, last: (T,) frames.
        points: (T,) in all of them.
        speed_mps: (T,) of its median velocity over the sweeps: 0 for what stands, whatever part of it is seen.
    """

    track: npt.NDArray[np.int32]
    sweeps: Int64
    first: npt.NDArray[np.int32]
    last: npt.NDArray[np.int32]
    points: Int64
    speed_mps: Float64

    def __len__(self) -> int:
        return len(self.track)


def sightings(frame: int, sweep: TrackedSweep) -> TrackPath:
    """The rows of one sweep; pieces of one track are one."""
    segments = sweep.segments
    track, first, place = np.unique(sweep.track, return_index=True, return_inverse=True)
    points = np.bincount(place, weights=segments.points, minlength=len(track))
    center_m = np.zeros((len(track), 3))
    np.add.at(center_m, place, segments.center_m * segments.points[:, None])
    return TrackPath(
        track, np.full(len(track), frame, np.int32), points.astype(np.int64), center_m / points[:, None],
        sweep.velocity_mps[first],
    )  # fmt: skip


def path_of(sweeps: Sequence[TrackPath]) -> TrackPath:
    """The sightings of all sweeps of a scene, in order."""
    if not sweeps:
        none = np.empty(0, np.int32)
        return TrackPath(none, none, np.empty(0, np.int64), np.empty((0, 3)), np.empty((0, 3)))
    joined = TrackPath(
        *(np.concatenate([getattr(one, name) for one in sweeps]) for name in TrackPath.__dataclass_fields__)
    )
    return joined.take(np.lexsort((joined.frame, joined.track)))


def tracks_of(path: TrackPath) -> Tracks:
    """Each track as a whole."""
    track, first, sweeps = np.unique(path.track, return_index=True, return_counts=True)
    last = first + sweeps - 1
    speed = [np.linalg.norm(np.median(path.velocity_mps[a : b + 1], axis=0)) for a, b in zip(first, last, strict=True)]
    points = np.add.reduceat(path.points, first) if len(first) else np.empty(0, np.int64)
    return Tracks(track, sweeps, path.frame[first], path.frame[last], points, np.array(speed, np.float64))
