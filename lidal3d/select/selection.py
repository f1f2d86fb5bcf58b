# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Selection: the ordered units that are worth a label, and what became of the budget."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class UnitKey:
    """A unit's name in a drive: ties are broken by it, so it orders as (scene, frame, unit)."""

    scene: str
    frame: int
    unit: int


@dataclass(frozen=True)
class Pick:
    """One chosen unit.

    Attributes:
        rank: 1 is asked first.
        key: scene, frame index and unit id.
        frame_name, timestamp_ns: the frame, as its drive names it.
        kind: the kind of unit.
        points: its number of points.
        cost: what it costs in the budget's currency.
        center_m: (x, y, z) in the scene's frame, metres.
        scores: every score of the unit.
        reason: one sentence for the person who labels.
        suppressed: the units left out because this one was chosen.
        box: x y z of the centre, length, width, height, yaw in the lidar coordinates of the frame, for units of kind
            "box"; None for others.
    """

    rank: int
    key: UnitKey
    frame_name: str
    timestamp_ns: int
    kind: str
    points: int
    cost: float
    center_m: tuple[float, float, float]
    scores: Mapping[str, float]
    reason: str
    suppressed: tuple[UnitKey, ...] = ()
    box: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Selection:
    """Picks in order of rank, and the budget's account.

    Attributes:
        picks: rank 1 first.
        strategy: its name ("lidal", "lidal pseudo").
        currency: what the budget counts: points, regions, boxes, frames or seconds.
        budget, used: in that currency; used never exceeds budget; what is left is budget − used.
    """

    picks: tuple[Pick, ...]
    strategy: str
    currency: str
    budget: float
    used: float
