# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Information density (Settles and Craven, EMNLP 2008): how much a unit is like the rest of the pool.

    density(u) = mean over v of cos(f_u, f_v) = f̂_u · mean_v f̂_v

With the cosine as similarity the mean over all v is one product with the mean direction: there is no N × N matrix.
Neighbouring sweeps are near copies, and a red light would look like the commonest thing there is, so the sweeps close
in time to u's own are left out of its mean; that takes sums over frames and nothing more.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]


def density(features: npt.NDArray[np.floating], frame: npt.NDArray[np.integer], first: Int64, last: Int64) -> Float64:
    """Mean cosine similarity of each unit to the units of other times, at least 0.

    Args:
        features: (R, D), finite.
        frame: (R,) a number for each unit's frame, from 0 to F − 1.
        first, last: (F,) the frames [first, last) near each frame, itself among them: they do not count.

    Returns:
        (R,) float64 in [0, 1]; where all units are near in time, all of them count.
    """
    directions = unit_vectors(features)
    frames = len(first)
    sums = np.zeros((frames + 1, directions.shape[1]))
    np.add.at(sums[1:], frame, directions)
    counts = np.concatenate([[0], np.bincount(frame, minlength=frames)]).cumsum()
    sums = sums.cumsum(axis=0)
    others = sums[-1] - (sums[last] - sums[first])
    number = counts[-1] - (counts[last] - counts[first])
    alone = number == 0
    others[alone], number[alone] = sums[-1], counts[-1]
    means = others / np.maximum(number, 1)[:, None]
    return np.maximum(np.einsum("rd,rd->r", directions, means[frame]), 0)


def unit_vectors(features: npt.NDArray[np.floating]) -> Float64:
    """Rows (R, D) of length 1; a row of zeros stays one."""
    wide = features.astype(np.float64)
    length = np.linalg.norm(wide, axis=1, keepdims=True)
    return wide / np.where(length > 0, length, 1)


def near_in_time(scene: npt.NDArray[np.integer], time_ns: Int64, apart_ns: int) -> tuple[Int64, Int64]:
    """For F frames in the order of (scene, time): the run [first, last) of frames of its scene within `apart_ns`."""
    first, last = np.empty(len(scene), np.int64), np.empty(len(scene), np.int64)
    for place in np.unique(scene):
        rows = np.flatnonzero(scene == place)
        first[rows] = rows[0] + np.searchsorted(time_ns[rows], time_ns[rows] - apart_ns, side="left")
        last[rows] = rows[0] + np.searchsorted(time_ns[rows], time_ns[rows] + apart_ns, side="right")
    return first, last
