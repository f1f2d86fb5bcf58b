# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""PandaSet's cuboids (annotations/cuboids/FF.pkl.gz): boxes that people drew around things, as instances of points.

A cuboid stands in world coordinates, is turned by `yaw` about z, and is `dimensions.x` wide and `dimensions.y` long.
Those of the forward sensor alone (sensor_id 1) are left out, as its points are. A uuid names a thing in all sweeps; its
instance is the number that its first eight digits are, so that each sweep can be read alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lidal3d.errors import DataError
from lidal3d.scene.readers.base import DriveProblem, unreadable
from lidal3d.scene.restricted_pickle import load_table

FORWARD_SENSOR = 1
_CENTER, _SIZE = ("position.x", "position.y", "position.z"), ("dimensions.x", "dimensions.y", "dimensions.z")


@dataclass(frozen=True)
class Cuboids:
    """B cuboids of one sweep.

    Attributes:
        instance: (B,) uint32, never 0.
        center_m: (B, 3) in the world.
        size_m: (B, 3) along the cuboid's own axes.
        yaw_rad: (B,).
        stationary: (B,) whether the thing stands still in the whole log.
    """

    instance: npt.NDArray[np.uint32]
    center_m: npt.NDArray[np.float64]
    size_m: npt.NDArray[np.float64]
    yaw_rad: npt.NDArray[np.float64]
    stationary: npt.NDArray[np.bool_]

    def instances(self, xyz_world: npt.NDArray[np.float64]) -> npt.NDArray[np.uint32]:
        """The instance of each point (N, 3), 0 outside all cuboids; of two that hold it the smaller one has it."""
        result = np.zeros(len(xyz_world), np.uint32)
        for box in np.argsort(-self.size_m.prod(axis=1), kind="stable").tolist():
            near = np.flatnonzero(
                (np.abs(xyz_world - self.center_m[box]) <= np.linalg.norm(self.size_m[box]) / 2).all(1)
            )
            offset = xyz_world[near] - self.center_m[box]
            cosine, sine = np.cos(self.yaw_rad[box]), np.sin(self.yaw_rad[box])
            own = np.stack(
                [offset[:, 0] * cosine + offset[:, 1] * sine, offset[:, 1] * cosine - offset[:, 0] * sine], 1
            )
            inside = (np.abs(own) <= self.size_m[box, :2] / 2).all(axis=1)
            inside &= np.abs(offset[:, 2]) <= self.size_m[box, 2] / 2
            result[near[inside]] = self.instance[box]
        return result


def read_cuboids(path: Path) -> Cuboids:
    """The cuboids of a file. Raises DriveProblem where it is missing, damaged or no table of cuboids."""
    try:
        columns = load_table(path).columns
    except OSError as error:
        raise unreadable(path, error, "LABELS") from None
    except DataError as error:
        raise DriveProblem("LABELS-TRUNCATED", path, str(error).removeprefix(f"{path}: ")) from None
    missing = [name for name in ("uuid", "yaw", "stationary", *_CENTER, *_SIZE) if name not in columns]
    if missing:
        raise DriveProblem("LABELS-UNREADABLE", path, f"no column '{missing[0]}' among {sorted(columns)}")
    kept = np.ones(len(columns["uuid"]), bool)
    if "cuboids.sensor_id" in columns:
        kept = columns["cuboids.sensor_id"] != FORWARD_SENSOR
    return Cuboids(
        np.array([_instance(uuid, path) for uuid in columns["uuid"][kept]], np.uint32),
        np.stack([columns[name][kept] for name in _CENTER], axis=1).astype(np.float64),
        np.stack([columns[name][kept] for name in _SIZE], axis=1).astype(np.float64),
        columns["yaw"][kept].astype(np.float64),
        columns["stationary"][kept].astype(bool),
    )


def _instance(uuid: Any, path: Path) -> int:
    try:
        return max(int(str(uuid)[:8], 16), 1)
    except ValueError:
        raise DriveProblem("LABELS-UNREADABLE", path, f"'{uuid}' is no uuid") from None
