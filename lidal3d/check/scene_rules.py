# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Rules on a scene's poses and times: each yields (frame index or None, message) for what breaks it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import numpy.typing as npt

from lidal3d.scene.pose import RIGIDITY_TOLERANCE, Float64, inverse, rigidity_error
from lidal3d.scene.scene import Scene

MAX_SPEED_M_S = 70.0  # 252 km/h
MAX_TURN_DEG_S = 180.0
MAX_GAP = 1.75

SceneRule = Callable[[Scene], Iterator[tuple["int | None", str]]]


def one_frame(scene: Scene) -> Iterator[tuple[int | None, str]]:
    """SCENE-ONE-FRAME."""
    if len(scene) == 1:
        yield None, "1 sweep, at least 2 needed to compare neighbours"


def not_finite(scene: Scene) -> Iterator[tuple[int | None, str]]:
    """POSES-NOT-FINITE."""
    for index in np.flatnonzero(~_finite(scene)):
        bad = int(np.sum(~np.isfinite(scene.world_SE3_lidar[index])))
        yield int(index), f"{bad} of the pose's 16 numbers are NaN or infinite"


def not_rigid(scene: Scene) -> Iterator[tuple[int | None, str]]:
    """POSES-NOT-RIGID: |R Rᵀ − I| above the tolerance, or a mirror image."""
    known = np.flatnonzero(_finite(scene))
    poses = scene.world_SE3_lidar[known]
    for index, error, handed in zip(known, rigidity_error(poses), np.linalg.det(poses[:, :3, :3]), strict=True):
        if error > RIGIDITY_TOLERANCE:
            yield int(index), f"rotation is off by {error:.3g}, at most {RIGIDITY_TOLERANCE:g} allowed"
        elif handed < 0:
            yield int(index), f"rotation has determinant {handed:.3g}, expected 1: it mirrors"


def jump(scene: Scene) -> Iterator[tuple[int | None, str]]:
    """POSES-JUMP: between two sweeps the vehicle moved faster than MAX_SPEED_M_S."""
    for index, seconds, step in _steps(scene):
        metres = float(np.linalg.norm(step[:3, 3]))
        if metres > MAX_SPEED_M_S * seconds:
            speed = f"{metres:.2f} m in {seconds:.3f} s is {metres / seconds:.0f} m/s"
            yield index, f"{speed}, at most {MAX_SPEED_M_S:.0f} m/s is plausible"


def turn(scene: Scene) -> Iterator[tuple[int | None, str]]:
    """POSES-TURN: between two sweeps the vehicle turned faster than MAX_TURN_DEG_S."""
    for index, seconds, step in _steps(scene):
        degrees = _angle_deg(step[:3, :3])
        if degrees > MAX_TURN_DEG_S * seconds:
            rate = f"{degrees:.0f}° in {seconds:.3f} s is {degrees / seconds:.0f}°/s"
            yield index, f"{rate}, at most {MAX_TURN_DEG_S:.0f}°/s is plausible"


def time_backwards(scene: Scene) -> Iterator[tuple[int | None, str]]:
    """TIME-BACKWARDS: a time equal to or before the one before."""
    times = scene.timestamps_ns
    for index in np.flatnonzero(np.diff(times) <= 0) + 1:
        yield int(index), f"time {times[index]} ns is not after the previous sweep's {times[index - 1]} ns"


def time_gap(scene: Scene) -> Iterator[tuple[int | None, str]]:
    """TIME-GAP: sweeps may be missing where the time since the one before is MAX_GAP times the median or more."""
    steps_s = np.diff(scene.timestamps_ns) * 1e-9
    usual_s = float(np.median(steps_s)) if len(steps_s) else 0.0
    for index in np.flatnonzero(steps_s >= MAX_GAP * usual_s) + 1:
        if usual_s > 0:
            missing = round(steps_s[index - 1] / usual_s) - 1
            gap = f"{steps_s[index - 1]:.3f} s since the sweep before, usually {usual_s:.3f} s"
            yield int(index), f"{gap}: about {missing} missing"


def _finite(scene: Scene) -> npt.NDArray[np.bool_]:
    return np.isfinite(scene.world_SE3_lidar).all(axis=(1, 2))


def _steps(scene: Scene) -> Iterator[tuple[int, float, Float64]]:
    """(index, seconds since the sweep before, previous_SE3_this) where both poses are finite and time moves on."""
    finite = _finite(scene)
    for index in range(1, len(scene)):
        seconds = float(scene.timestamps_ns[index] - scene.timestamps_ns[index - 1]) * 1e-9
        if seconds > 0 and finite[index - 1] and finite[index]:
            yield index, seconds, inverse(scene.world_SE3_lidar[index - 1]) @ scene.world_SE3_lidar[index]


def _angle_deg(rotation: Float64) -> float:
    return float(np.degrees(np.arccos(np.clip((np.trace(rotation) - 1) / 2, -1, 1))))


SCENE_RULES: Mapping[str, SceneRule] = {
    "SCENE-ONE-FRAME": one_frame,
    "TIME-BACKWARDS": time_backwards,
    "TIME-GAP": time_gap,
    "POSES-NOT-FINITE": not_finite,
    "POSES-NOT-RIGID": not_rigid,
    "POSES-JUMP": jump,
    "POSES-TURN": turn,
}
