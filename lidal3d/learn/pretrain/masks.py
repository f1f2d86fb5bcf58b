# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""What a mask hides: blocks of a sweep or cells of a picture, four masks to a set, every block in exactly one of a set."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lidal3d.scene.pixels import is_picture
from lidal3d.settings.masked import MaskedConfig

PARTS = 4  # masks of a set; each hides a quarter
NEAREST_M = 1.0
Int64 = npt.NDArray[np.int64]


def hidden_by(elements: npt.NDArray[np.float32], number: int, config: MaskedConfig) -> npt.NDArray[np.bool_]:
    """(N,) what mask `number` = 0, 1, … hides of points (N, 4) or pixels (N, 5); the same every time.

    Masks 0 … 3 hide every element once, so do 4 … 7, and so on with other blocks together.
    """
    mixed = _mixed(blocks(elements, config).astype(np.uint64) * np.uint64(PARTS + 1) + np.uint64(number // PARTS))
    return np.asarray(mixed % np.uint64(PARTS) == number % PARTS)


def blocks(elements: npt.NDArray[np.float32], config: MaskedConfig) -> Int64:
    """(N,) the number of each element's block, at least 0.

    Blocks of a sweep are sectors of rings around the sensor, of all heights; they widen with distance as the gaps
    between beams do, so that far things aren't hidden more than near ones.
    """
    if is_picture(elements):
        column, row = (elements[:, axis].astype(np.int64) // config.cell_px for axis in (0, 1))
        return row << 24 | column
    range_m = np.maximum(np.hypot(elements[:, 0], elements[:, 1]).astype(np.float64), NEAREST_M)
    turn = (np.arctan2(elements[:, 1], elements[:, 0]).astype(np.float64) + np.pi) / np.radians(config.sector_deg)
    ring = np.log(range_m / NEAREST_M) / np.log1p(config.ring_share)
    return ring.astype(np.int64) << 24 | turn.astype(np.int64)


def _mixed(keys: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """The finaliser of SplitMix64: neighbouring numbers become unlike ones."""
    x = keys + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(x ^ (x >> np.uint64(31)))
