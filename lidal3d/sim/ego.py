# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Where the ego vehicle is: poses on the ground's slope, with the pitch and roll of driving."""

from __future__ import annotations

import numpy as np

from lidal3d.scene.pose import Float64
from lidal3d.sim.ground import Ground
from lidal3d.sim.traffic import State


def standing_on(ground: Ground, plan_xy: Float64, plan_yaw: Float64, lift_m: float = 0.0) -> Float64:
    """(T, 4, 4) poses x forward, y left, z along the road's normal, for plan places (T, 2) and headings (T,)."""
    place = ground.bend(plan_xy)
    yaw = ground.yaw(plan_xy, plan_yaw)
    forward = np.column_stack([np.cos(yaw), np.sin(yaw)])
    left = np.column_stack([-forward[:, 1], forward[:, 0]])
    rise = (ground.road_z(place + 1.4 * forward) - ground.road_z(place - 1.4 * forward)) / 2.8
    tilt = (ground.road_z(place + 0.8 * left) - ground.road_z(place - 0.8 * left)) / 1.6
    x = np.column_stack([forward, rise])
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    y = np.column_stack([left, tilt])
    y -= (y * x).sum(axis=1, keepdims=True) * x
    y /= np.linalg.norm(y, axis=1, keepdims=True)
    pose = np.zeros((len(plan_xy), 4, 4))
    pose[:, :3, 0], pose[:, :3, 1], pose[:, :3, 2] = x, y, np.cross(x, y)
    pose[:, :3, 3] = np.column_stack([place, ground.road_z(place) + lift_m])
    pose[:, 3, 3] = 1.0
    return pose


def ego_poses(ground: Ground, states: list[State], hz: float, seed: int) -> Float64:
    """(T, 4, 4) world_SE3_ego: origin on the road under the sensor; braking dips the nose, the road shakes the body."""
    xy = np.array([(s.x, s.y) for s in states])
    yaw = np.array([s.yaw for s in states])
    speed = np.array([s.speed for s in states])
    acceleration = np.array([s.acceleration for s in states])
    rng = np.random.default_rng(np.random.SeedSequence([seed, 5]))
    phase = rng.uniform(0, 2 * np.pi, 4)
    time_s = np.arange(len(states)) / hz
    shake = np.minimum(speed / 6.0, 1.0) * 0.0025
    pitch = -0.004 * acceleration + shake * (np.sin(9.1 * time_s + phase[0]) + 0.6 * np.sin(3.3 * time_s + phase[1]))
    roll = shake * (np.sin(7.3 * time_s + phase[2]) + 0.5 * np.sin(2.1 * time_s + phase[3]))
    return standing_on(ground, xy, yaw) @ _pitch_roll(pitch, roll)


def _pitch_roll(pitch: Float64, roll: Float64) -> Float64:
    about_y, about_x = np.zeros((len(pitch), 4, 4)), np.zeros((len(pitch), 4, 4))
    about_y[:] = about_x[:] = np.eye(4)
    about_y[:, 0, 0] = about_y[:, 2, 2] = np.cos(pitch)
    about_y[:, 0, 2], about_y[:, 2, 0] = np.sin(pitch), -np.sin(pitch)
    about_x[:, 1, 1] = about_x[:, 2, 2] = np.cos(roll)
    about_x[:, 1, 2], about_x[:, 2, 1] = -np.sin(roll), np.sin(roll)
    return about_y @ about_x
