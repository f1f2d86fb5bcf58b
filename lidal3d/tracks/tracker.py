# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""The class-agnostic segment tracker: sweep by sweep, with nothing held but the last state of each open track.

Segments are placed in the scene's frame, so that the vehicle's own motion drops out. A track is expected to go on as it
went (constant velocity); the segments within a gate around that are assigned to tracks at least cost in all. A tile of
something wide stands still and is its own track. The same sweeps give the same ids.

ODCT (Alfani et al., ICPR 2022) learns from the tracks of an unsupervised, class-agnostic generator; which one that is
isn't stated in what was at hand of the paper. This one is lidal3d's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lidal3d.settings.tracks import TracksConfig
from lidal3d.tracks.association import assign, moves, reshaping
from lidal3d.tracks.carving import carve, share_inside
from lidal3d.tracks.segments import NO_TILE, Segments, segments_of, standing_parts

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

FOLLOWED = 0.5  # how much of a newly measured velocity is believed
PIECE_INSIDE = 0.8  # share of a piece's box in the box where a thing should be
HEIGHT_COUNTS = 0.5  # two things may stand on each other, but what moves stays on the ground


@dataclass(frozen=True)
class TrackedSweep:
    """One sweep's segments, and the track of each.

    Attributes:
        segments: S of them.
        track: (S,) int32.
        velocity_mps: (S, 3) of the track after this sweep, in the scene's frame.
    """

    segments: Segments
    track: npt.NDArray[np.int32]
    velocity_mps: Float64

    @property
    def of_point(self) -> npt.NDArray[np.int32]:
        """(N,) track of each point, −1 for none."""
        return np.append(self.track, np.int32(-1))[self.segments.of_point]


@dataclass(frozen=True)
class _Open:
    """T tracks that may go on, by id: when and where each was seen last, how fast it went, how often it was seen."""

    track: npt.NDArray[np.int32]
    seen_s: Float64
    low_m: Float64
    high_m: Float64
    velocity_mps: Float64
    missed: Int64
    sweeps: Int64

    def take(self, rows: npt.NDArray) -> _Open:
        return _Open(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))


_NONE = _Open(
    np.empty(0, np.int32), np.empty(0), np.empty((0, 3)), np.empty((0, 3)), np.empty((0, 3)),
    np.empty(0, np.int64), np.empty(0, np.int64),
)  # fmt: skip


class SegmentTracker:
    """Tracks the segments of one scene; give it its sweeps in order of time.

    >>> tracker = SegmentTracker(TracksConfig(min_points=1))
    >>> post = np.array([[9.0, 1.0, z] for z in (-1.7, -0.7, -0.6, -0.5)], np.float32)
    >>> [tracker.update(post, np.eye(4), time).of_point.tolist() for time in (0, 100_000_000)]
    [[-1, 0, 0, 0], [-1, 0, 0, 0]]
    """

    def __init__(self, config: TracksConfig) -> None:
        self._config = config
        self._open = _NONE
        self._tiles: dict[int, int] = {}
        self._born = 0

    def update(self, points: npt.NDArray[np.float32], scene_SE3_lidar: Float64, timestamp_ns: int) -> TrackedSweep:
        """Track the next sweep.

        Args:
            points: (N, 3 or more) in the sensor's frame, metres.
            scene_SE3_lidar: (4, 4) its pose; small numbers, as `Scene.scene_SE3_lidar` gives them.
            timestamp_ns: when it was taken.

        Raises:
            DataError: coordinates that are not finite.
        """
        now_s = timestamp_ns * 1e-9
        known = self._open.sweeps >= self._config.min_sweeps
        low, high = self._expected(now_s)
        parts = carve(standing_parts(points, scene_SE3_lidar, self._config), low[known], high[known])
        segments = segments_of(parts, self._config.min_points)
        track = np.full(len(segments), -1, np.int32)
        velocity = np.zeros((len(segments), 3))
        things = np.flatnonzero(segments.tile == NO_TILE)
        self._follow(segments, things, now_s, track, velocity)
        for row in np.flatnonzero(segments.tile != NO_TILE).tolist():
            track[row] = self._tiles.setdefault(int(segments.tile[row]), self._born)
            self._born += int(track[row] == self._born)
        return TrackedSweep(segments, track, velocity)

    def _expected(self, now_s: float) -> tuple[Float64, Float64]:
        """Corners (T, 3) of the boxes where open tracks should be now."""
        ahead = self._open.velocity_mps * (now_s - self._open.seen_s)[:, None]
        return self._open.low_m + ahead, self._open.high_m + ahead

    def _follow(
        self, segments: Segments, things: Int64, now_s: float, track: npt.NDArray[np.int32], velocity: Float64
    ) -> None:
        """Fill in the tracks and velocities of whole segments, and remember where they are."""
        before, low, high = self._open, segments.low_m[things], segments.high_m[things]
        rows, columns, moved = self._matches(before, low, high, now_s)
        # What was seen once has no velocity yet: the first one measured is believed whole.
        believed = np.where(before.sweeps[rows] > 1, FOLLOWED, 1.0) / (now_s - before.seen_s[rows])
        of_thing = np.full(len(things), -1, np.int64)
        of_thing[columns] = rows
        self._join_pieces(before, of_thing, low, high, now_s)
        found = np.flatnonzero(of_thing >= 0)
        speed = np.zeros((len(before.track), 3))
        speed[rows] = before.velocity_mps[rows] + believed[:, None] * moved
        track[things[found]], velocity[things[found]] = before.track[of_thing[found]], speed[of_thing[found]]
        newborn = things[of_thing < 0]
        track[newborn] = self._born + np.arange(len(newborn))
        self._born += len(newborn)
        self._open = self._still_open(before, rows, self._seen(segments, things, track, velocity, now_s))

    def _join_pieces(self, before: _Open, of_thing: Int64, low: Float64, high: Float64, now_s: float) -> None:
        """Give pieces that no track took to the known thing, seen now, in whose box they lie: it has come apart."""
        taken = np.unique(of_thing[of_thing >= 0])
        known = taken[before.sweeps[taken] >= self._config.min_sweeps]
        pieces = np.flatnonzero(of_thing < 0)
        if len(known) and len(pieces):
            expected_low, expected_high = self._expected(now_s)
            share = share_inside(expected_low[known], expected_high[known], low[pieces], high[pieces])
            best = share.argmax(axis=0)
            inside = share[best, np.arange(len(pieces))] >= PIECE_INSIDE
            of_thing[pieces[inside]] = known[best[inside]]

    def _seen(
        self, segments: Segments, things: Int64, track: npt.NDArray[np.int32], velocity: Float64, now_s: float
    ) -> _Open:
        """The tracks of whole segments as they are now; pieces of one are in one box."""
        tracks, first, place = np.unique(track[things], return_index=True, return_inverse=True)
        low, high = np.full((len(tracks), 3), np.inf), np.full((len(tracks), 3), -np.inf)
        np.minimum.at(low, place, segments.low_m[things])
        np.maximum.at(high, place, segments.high_m[things])
        sweeps = np.ones(len(tracks), np.int64)
        old, rows = np.isin(tracks, self._open.track), np.isin(self._open.track, tracks)
        sweeps[old] += self._open.sweeps[rows]  # both ascend by track
        return _Open(
            tracks, np.full(len(tracks), now_s), low, high, velocity[things[first]], np.zeros(len(tracks), np.int64),
            sweeps,
        )  # fmt: skip

    def _matches(self, before: _Open, low: Float64, high: Float64, now_s: float) -> tuple[Int64, Int64, Float64]:
        """Tracks and segments that go together, and how far each segment (M, 3) is from where the track should be."""
        passed = now_s - before.seen_s
        expected = self._expected(now_s)
        moved = moves(*expected, low, high)
        distance = np.sqrt((moved**2 * [1, 1, HEIGHT_COUNTS]).sum(axis=2))
        slack = np.where(before.sweeps > 1, self._config.gate_mps, self._config.new_gate_mps)
        allowed = distance <= (self._config.gate_m + slack * passed)[:, None]
        rows, columns = assign(distance + reshaping(*expected, low, high), allowed)
        return rows, columns, moved[rows, columns]

    def _still_open(self, before: _Open, matched: Int64, seen: _Open) -> _Open:
        """The tracks seen now, and those that were missed not too often yet, by id."""
        hidden = np.setdiff1d(np.flatnonzero(before.missed < self._config.max_missed), matched)
        left = before.take(hidden)
        both = [
            np.concatenate([getattr(seen, name), getattr(left, name) + (name == "missed")])
            for name in _Open.__dataclass_fields__
        ]
        joined = _Open(*both)
        return joined.take(np.argsort(joined.track))
