# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""The `track` units: a unit is a whole track, asked about in one sweep and answered for all that show it.

A track spans sweeps, so what it is in one of them is not found in that sweep's points alone: it is read from a store.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from lidal3d.scene.scene import Scene
from lidal3d.tracks.store import TrackStore
from lidal3d.tracks.table import TrackPath

KIND = "track"


@dataclass(frozen=True)
class FrameTracks:
    """The tracks in one frame. A Partition, but for the −1 of points without a track, and only of this frame's points."""

    store: TrackStore
    scene: str
    frame: str
    kind: str = field(default=KIND, init=False)

    def __call__(self, points: npt.NDArray[np.float32]) -> npt.NDArray[np.int32]:
        """The track (N,) of each point of the frame, or −1. Raises DataError as `TrackStore.ids`."""
        return self.store.ids(self.scene, self.frame, len(points))


@dataclass(frozen=True)
class TrackUnits:
    """The tracks of a whole drive, a FramePartition.

    Attributes:
        store: where they lie.
        frame_names: scene id -> names of its frames.
    """

    store: TrackStore
    frame_names: dict[str, tuple[str, ...]]
    kind: str = field(default=KIND, init=False)

    @classmethod
    def of(cls, store: TrackStore, scenes: Sequence[Scene]) -> TrackUnits:
        """Those of some scenes."""
        return cls(store, {scene.id: scene.frame_names for scene in scenes})

    def at(self, scene: str, frame: int) -> FrameTracks:
        """What cuts one frame."""
        return FrameTracks(self.store, scene, self.frame_names[scene][frame])


def representatives(path: TrackPath, is_key_frame: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """(T,) the sighting to ask about of each track: in a key frame where there is one, the one with the most points.

    Of equals the earliest. Rows of `path`, by track.
    """
    order = np.lexsort((path.frame, -path.points, ~is_key_frame[path.frame], path.track))
    _, first = np.unique(path.track[order], return_index=True)
    return order[first]


def main_track(
    ids: npt.NDArray[np.int32], unit: npt.NDArray[np.int32], units: int, least_share: float = 0.5
) -> npt.NDArray[np.int32]:
    """(units,) the track that holds the most points of each unit, and at least a share of them; −1 where none does.

    Args:
        ids: (N,) track of each point, −1 for none.
        unit: (N,) unit of each point, 0 … units − 1.
    """
    size = np.bincount(unit, minlength=units)
    held = ids >= 0
    pairs, points = np.unique(np.stack([unit[held], ids[held]]), axis=1, return_counts=True)
    result = np.full(units, -1, np.int32)
    # Last writes stay: those with more points come last, of equals the lower id.
    order = np.lexsort((-pairs[1], points))
    enough = order[points[order] >= least_share * size[pairs[0, order]]]
    result[pairs[0, enough]] = pairs[1, enough]
    return result
