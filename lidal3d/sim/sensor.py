# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Spinning LiDARs: where their beams point, and what they measure of what a ray hits.

A sweep is taken at one instant: there is no motion distortion to undo, as in data that was motion compensated.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lidal3d.sim.materials import LOSS, REFLECTANCE, SCATTER_M, Material
from lidal3d.sim.raycast import Float32, Hits


@dataclass(frozen=True)
class SensorModel:
    """One LiDAR.

    Attributes:
        elevations_deg: (B,) of the beams, top to bottom.
        columns: firings a turn.
        height_m: above the road.
        min_range_m, max_range_m: what it reports.
        noise_m: standard deviation of a range.
        threshold: received power (reflectance · cos, at 25 m) below which pulses begin to be lost.
    """

    name: str
    elevations_deg: tuple[float, ...]
    columns: int
    height_m: float
    min_range_m: float
    max_range_m: float
    noise_m: float
    threshold: float

    def resampled(self, beams: int | None, columns: int | None) -> SensorModel:
        """The same sensor with fewer beams (evenly thinned) and another number of columns."""
        count = min(beams or len(self.elevations_deg), len(self.elevations_deg))
        chosen = np.linspace(0, len(self.elevations_deg) - 1, count).round().astype(int)
        elevations = tuple(self.elevations_deg[k] for k in chosen)
        return SensorModel(
            self.name, elevations, columns or self.columns, self.height_m, self.min_range_m, self.max_range_m,
            self.noise_m, self.threshold,
        )  # fmt: skip

    def directions(self) -> Float32:
        """(B·columns, 3) unit rays in the sensor frame, beam by beam from the top, each turning clockwise from behind.

        Beams are a little off in elevation and azimuth, the same in every sweep, as a real sensor's are.
        """
        beams = len(self.elevations_deg)
        rng = np.random.default_rng(beams)
        elevation = np.radians(np.array(self.elevations_deg) + rng.normal(0, 0.02, beams))
        azimuth = np.pi - 2 * np.pi * (np.arange(self.columns) + 0.5) / self.columns
        turned = azimuth[None] + np.radians(rng.uniform(-0.08, 0.08, beams))[:, None]
        level = np.cos(elevation)[:, None]
        rays = np.stack(
            [level * np.cos(turned), level * np.sin(turned), np.broadcast_to(np.sin(elevation)[:, None], turned.shape)],
            axis=-1,
        )
        return rays.reshape(-1, 3).astype(np.float32)

    def rings(self) -> npt.NDArray[np.uint8]:
        """(B·columns,) beam of every ray, 0 at the bottom."""
        beams = len(self.elevations_deg)
        return np.repeat(np.arange(beams - 1, -1, -1, dtype=np.uint8), self.columns)


def _hdl64() -> tuple[float, ...]:
    upper = np.linspace(2.0, -8.33, 32)
    lower = np.linspace(-8.83, -24.8, 32)
    return tuple(float(e) for e in np.concatenate([upper, lower]))


SENSORS: dict[str, SensorModel] = {
    "hdl64": SensorModel("hdl64", _hdl64(), 2048, 1.73, 2.2, 80.0, 0.018, 0.0025),
    "vlp32": SensorModel(
        "vlp32", tuple(float(e) for e in np.linspace(10.0, -30.0, 32)), 1088, 1.84, 1.8, 70.0, 0.022, 0.0045
    ),
}


@dataclass(frozen=True)
class Measurement:
    """What came back: the rays that returned (indices), their ranges in metres and intensities 0-1."""

    ray: npt.NDArray[np.int64]
    range_m: Float32
    intensity: Float32


def measure(model: SensorModel, hits: Hits, rng: np.random.Generator, noise: bool = True) -> Measurement:
    """Ranges with noise, lost pulses, and intensity by material and incidence angle.

    Received power is taken as reflectance · cos^0.7 / range², a pulse is lost with probability
    exp(-power / threshold) or with its material's own share (glass, gloss). The same number of random draws is made
    whatever is hit.
    """
    with np.errstate(invalid="ignore"):
        inside = (hits.range_m >= model.min_range_m) & (hits.range_m <= model.max_range_m)
    count = len(hits.range_m)
    gauss = rng.standard_normal((2, count), dtype=np.float32)
    uniform = rng.random((2, count), dtype=np.float32)
    range_m = np.where(inside, hits.range_m, np.float32(1.0))
    cosine = np.maximum(hits.cosine, np.float32(0.01))
    returned = REFLECTANCE[hits.material] * texture(hits.position)
    mirror = hits.material == Material.RETRO
    returned *= np.where(mirror, cosine ** np.float32(0.2), cosine ** np.float32(0.7))
    intensity = np.clip(returned * (1 + np.float32(0.08) * gauss[1] * noise), 0.0, 0.99)
    if noise:
        power = returned * (25.0 / range_m) ** 2
        kept = (uniform[0] > np.exp(-power / model.threshold)) & (uniform[1] > LOSS[hits.material])
        inside &= kept
        range_m = range_m + model.noise_m * gauss[0] * (0.6 + 0.4 * range_m / 40.0)
        range_m += SCATTER_M[hits.material] * np.abs(gauss[1])
    ray = np.flatnonzero(inside)
    return Measurement(ray, range_m[ray].astype(np.float32), intensity[ray].astype(np.float32))


def texture(position: Float32, cell_m: float = 0.35) -> Float32:
    """(N,) factor 0.82-1.18 that varies from patch to patch of a surface: stains, bricks, paint."""
    cell = np.floor(position * np.float32(1 / cell_m)).astype(np.int32).view(np.uint32)
    mixed = cell[:, 0] * np.uint32(73856093) ^ cell[:, 1] * np.uint32(19349663) ^ cell[:, 2] * np.uint32(83492791)
    mixed = (mixed ^ (mixed >> np.uint32(13))) * np.uint32(1274126177)
    return np.float32(0.82) + np.float32(0.36 / 65535) * (mixed >> np.uint32(16)).astype(np.float32)
