# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""A simulated drive: any frame on demand, the same bytes each time, whichever others were asked for.

>>> from lidal3d.sim import SimConfig, simulate
>>> drive = simulate(SimConfig(frames=2, beams=4, columns=32, camera=False))
>>> drive.frame(1).points.shape[1]
4
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lidal3d.scene.pose import Float64, from_rotation_translation
from lidal3d.sim.actors import VISIBLE_M, Actor, Cast, crossing_people, round_blocks, vehicles_at
from lidal3d.sim.camera import Camera, Picture, front_camera, take_picture
from lidal3d.sim.config import SimConfig
from lidal3d.sim.ego import ego_poses
from lidal3d.sim.raycast import Float32, MeshCaster, Neighbourhood, Neighbourhoods
from lidal3d.sim.sensor import SENSORS, SensorModel, measure
from lidal3d.sim.styles import STYLES
from lidal3d.sim.traffic import Crossing, State, Traffic
from lidal3d.sim.world import build_town

START_NS = 1_600_000_000_000_000_000


@dataclass(frozen=True)
class SimulatedSweep:
    """One sweep and what was really there.

    Attributes:
        points: (N, 4) float32 x, y, z, intensity 0-1, in the sensor frame (x forward, y left, z up, metres).
        semantic: (N,) uint16 raw SemanticKITTI ids.
        instance: (N,) uint16, 0 for none; the same number is the same thing in every frame.
        ring: (N,) uint8 beam, 0 at the bottom.
        world_SE3_lidar: (4, 4) float64.
        timestamp_ns: integer nanoseconds.
        picture: the front camera's, taken at the same instant, or None.
    """

    points: Float32
    semantic: npt.NDArray[np.uint16]
    instance: npt.NDArray[np.uint16]
    ring: npt.NDArray[np.uint8]
    world_SE3_lidar: Float64
    timestamp_ns: int
    picture: Picture | None


class SimulatedDrive:
    """`len(drive)` sweeps of one config. Making it runs the traffic; a sweep is cast when asked for.

    Attributes:
        config, sensor: what was asked for.
        camera: the front camera, or None.
        world_SE3_lidar, world_SE3_ego: (T, 4, 4) float64; the ego frame is on the road below the sensor.
        timestamps_ns: (T,) int64.
    """

    def __init__(self, config: SimConfig) -> None:
        self.config = config
        self.style = STYLES[config.style]
        self.sensor: SensorModel = SENSORS[config.sensor].resampled(config.beams, config.columns)
        self.camera: Camera | None = front_camera(config.camera_width, config.camera_height) if config.camera else None
        self.town = build_town(config.style, config.seed)
        self._cast = Cast.build(self.town)
        self._states, self._crossings = _run_traffic(config)
        ego = [states[0] for states in self._states]
        self.world_SE3_ego = ego_poses(self.town.ground, ego, config.hz, config.seed)
        self.ego_SE3_lidar = from_rotation_translation(np.eye(3), [0, 0, self.sensor.height_m])
        self.world_SE3_lidar = self.world_SE3_ego @ self.ego_SE3_lidar
        self.ego_speed = np.array([s.speed for s in ego])
        self.timestamps_ns = START_NS + np.round(np.arange(config.frames) * (1e9 / config.hz)).astype(np.int64)
        spacing = self.style.spacing_m
        self._tiles = [(round(s.x / spacing), round(s.y / spacing)) for s in ego]
        self._near = Neighbourhoods(self.town, self._tiles)
        self._directions = self.sensor.directions()
        self._rings = self.sensor.rings()

    def __len__(self) -> int:
        return self.config.frames

    def __iter__(self) -> Iterator[SimulatedSweep]:
        return (self.frame(index) for index in range(len(self)))

    def actors(self, index: int) -> list[Actor]:
        """Everything that moves and is near the ego vehicle at frame `index`."""
        ego = self._states[index][0]
        time_s = index / self.config.hz
        everyone = vehicles_at(self._states[index])
        everyone += round_blocks(self.town, ego.x, ego.y, time_s)
        everyone += crossing_people(self.town, self._crossings, time_s)
        return [a for a in everyone if abs(a.x - ego.x) < VISIBLE_M and abs(a.y - ego.y) < VISIBLE_M]

    def frame(self, index: int) -> SimulatedSweep:
        """Cast sweep `index`. Raises IndexError beyond the drive's end."""
        if not 0 <= index < len(self):
            raise IndexError(f"the drive has {len(self)} frames, frame {index} was asked for")
        near = self._near.at(self._tiles[index])
        movers = MeshCaster(self._cast.mesh(self.actors(index)), near.origin)
        pose = self.world_SE3_lidar[index]
        hits = near.hits(_rays(pose, self._directions, near), movers)
        rng = np.random.default_rng(np.random.SeedSequence([self.config.seed, 9, index]))
        measured = measure(self.sensor, hits, rng, self.config.noise)
        ray = measured.ray
        points = np.empty((len(ray), 4), dtype=np.float32)
        points[:, :3] = self._directions[ray] * measured.range_m[:, None]
        points[:, 3] = measured.intensity
        return SimulatedSweep(
            points, hits.semantic[ray], hits.instance[ray], self._rings[ray], pose, int(self.timestamps_ns[index]),
            self._picture(pose, near, movers),
        )  # fmt: skip

    def _picture(self, pose: Float64, near: Neighbourhood, movers: MeshCaster) -> Picture | None:
        if self.camera is None:
            return None
        directions = self.camera.directions()
        place = -self.camera.camera_SE3_lidar[:3, :3].T @ self.camera.camera_SE3_lidar[:3, 3]
        rays = _rays(pose @ from_rotation_translation(np.eye(3), place), directions, near)
        return take_picture(self.camera, near.hits(rays, movers), rays[:, 3:], near, movers, self.style.sky_color)


def _rays(pose: Float64, directions: Float32, near: Neighbourhood) -> Float32:
    rays = np.empty((len(directions), 6), dtype=np.float32)
    rays[:, :3] = pose[:3, 3] - near.origin
    rays[:, 3:] = directions @ pose[:3, :3].T.astype(np.float32)
    return rays


def _run_traffic(config: SimConfig) -> tuple[list[list[State]], list[Crossing]]:
    """States at every frame; the traffic steps at least ten times a second."""
    steps = max(1, int(np.ceil(10.0 / config.hz)))
    traffic = Traffic(STYLES[config.style], config.seed)
    states = [traffic.states()]
    for _ in range(config.frames - 1):
        for _ in range(steps - 1):
            traffic.step(1.0 / (config.hz * steps))
        states.append(traffic.step(1.0 / (config.hz * steps)))
    return states, traffic.crossings


def simulate(config: SimConfig) -> SimulatedDrive:
    """The simulated drive of `config`.

    Raises:
        MissingDependency: Open3D or a system library it loads is missing (when the first sweep is cast).
    """
    return SimulatedDrive(config)
