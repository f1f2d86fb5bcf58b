# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""What a card of the report is: the pictures and the numbers of one pick."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lidal3d.export.queue import QueuedUnit
from lidal3d.select.selection import Pick


@dataclass(frozen=True)
class Panel:
    """One picture of a card.

    Attributes:
        html: its SVG or `<img>`.
        title, caption: what it shows, plain text.
        columns: how many of a card's six columns it takes.
    """

    html: str
    title: str
    caption: str
    columns: int = 1


@dataclass(frozen=True)
class Card:
    """What is shown of a pick.

    Attributes:
        pick: the unit.
        range_m: horizontal distance of its points' mean from the sensor.
        panels: its pictures, from left to right.
        predicted: (class, share of the unit's points) in this frame, largest first.
        elements: what the unit is made of: "points" or "pixels".
    """

    pick: Pick
    range_m: float
    panels: tuple[Panel, ...]
    predicted: tuple[tuple[int, float], ...]
    elements: str = "points"


@dataclass(frozen=True)
class CardSettings:
    """How cards are drawn.

    Attributes:
        picks: how many of the best ranks get a card.
        crop_m: edge of a bird's-eye crop.
        half_window: neighbour frames come from this many frames before and after.
        largest_divergence: the top of the colour ramp, nats.
        cameras: draw the camera crops.
    """

    picks: int
    crop_m: float
    half_window: int
    largest_divergence: float
    cameras: bool = True


def predicted_shares(unit: QueuedUnit, probabilities: npt.NDArray[np.floating] | None) -> tuple[tuple[int, float], ...]:
    """(class, share of the unit's elements), largest first, of its frame's probabilities (N, C); empty without them."""
    if probabilities is None or not len(unit.indices):
        return ()
    rows = probabilities[unit.indices]
    shares = np.bincount(rows.argmax(axis=1), minlength=rows.shape[1]) / len(rows)
    return tuple((int(c), float(shares[c])) for c in np.argsort(-shares, kind="stable") if shares[c] > 0)
