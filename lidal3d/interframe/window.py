# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Which frames a frame is compared with. Decided from poses alone, before any point is read."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lidal3d.scene.pose import Float64
from lidal3d.settings.interframe import InterframeConfig


def neighbour_frames(world_SE3_lidar: Float64, config: InterframeConfig) -> list[npt.NDArray[np.int64]]:
    """For each of T frames the indices of its neighbours, ascending, at most 2·half_window, never itself.

    `window="index"` takes the frames next in number, and at a sequence's ends takes the missing side's share from the
    other side, as LiDAL's released code does for sequences of more than 2·half_window frames; shorter ones use all
    the frames there are. `window="distance"` applies the same rule to those frames only for which the car had moved or
    turned since the last one taken: a car that stands still makes near copies, which agree whatever the model knows.

    Args:
        world_SE3_lidar: (T, 4, 4) poses.
        config: half_window, window, min_step_m, min_turn_rad.
    """
    frames = len(world_SE3_lidar)
    useful = np.arange(frames) if config.window == "index" else moved_frames(world_SE3_lidar, config)
    width = 2 * config.half_window
    windows = []
    for frame in range(frames):
        others = useful[useful != frame]
        behind = int(np.searchsorted(others, frame))
        first = min(max(behind - config.half_window, 0), max(len(others) - width, 0))
        windows.append(others[first : first + width])
    return windows


def moved_frames(world_SE3_lidar: Float64, config: InterframeConfig) -> npt.NDArray[np.int64]:
    """Frames at which the car had moved by min_step_m or turned by min_turn_rad since the last such frame.

    A drive with fewer of them than a window needs (a parked car) is filled up with frames spread evenly over time.
    """
    frames = len(world_SE3_lidar)
    taken = [0]
    for frame in range(1, frames):
        last, now = world_SE3_lidar[taken[-1]], world_SE3_lidar[frame]
        step_m = np.linalg.norm(now[:3, 3] - last[:3, 3])
        # tr(RᵀR') = 1 + 2 cos θ; the arccos argument is clipped because rounding can push it past 1.
        cosine = (np.sum(last[:3, :3] * now[:3, :3]) - 1) / 2
        if step_m >= config.min_step_m or np.arccos(np.clip(cosine, -1, 1)) >= config.min_turn_rad:
            taken.append(frame)
    if len(taken) <= 2 * config.half_window:
        spread = np.linspace(0, frames - 1, min(frames, 2 * config.half_window + 1)).round().astype(np.int64)
        return np.union1d(np.array(taken, dtype=np.int64), spread)
    return np.array(taken, dtype=np.int64)
