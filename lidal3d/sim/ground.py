# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""The ground: how the street grid is bent, how high it lies, and which surface is where.

Planning happens on a straight grid ("plan" coordinates, metres); the world is the plan bent by two shears, so streets
curve, houses stand askew, and the inverse is exact. Junction (i, j) is at plan (i·S, j·S), and is the middle of the
square tile (i, j).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lidal3d.sim.lanes import BOX_M, STRIP_M
from lidal3d.sim.materials import Material, Raw
from lidal3d.sim.shapes import Mesh, Solid
from lidal3d.sim.styles import TownStyle

Array = npt.NDArray[np.float64]

CELL_M = 0.2
CURB_HEIGHT_M = 0.12
GROUND = 0xFFFF  # semantic of a ground triangle: look the class up in the tile's raster

# Surface codes in a tile's raster, and for each: raw id, material, RGB.
ROAD, MARK, PARKING, PARKING_MARK, SIDEWALK, TERRAIN, SOIL, OTHER = range(8)
SURFACE_SEMANTIC = np.array(
    [Raw.ROAD, Raw.LANE_MARKING, Raw.PARKING, Raw.PARKING, Raw.SIDEWALK, Raw.TERRAIN, Raw.TERRAIN, Raw.OTHER_GROUND],
    dtype=np.uint16,
)
SURFACE_MATERIAL = np.array(
    [Material.ASPHALT, Material.PAINT, Material.ASPHALT, Material.PAINT, Material.CONCRETE, Material.GRASS,
     Material.GRAVEL, Material.GRAVEL], dtype=np.uint8,
)  # fmt: skip
SURFACE_COLOR = np.array(
    [(78, 78, 82), (222, 222, 214), (92, 88, 90), (214, 214, 206), (150, 146, 142), (92, 118, 58), (122, 100, 72),
     (140, 124, 112)], dtype=np.uint8,
)  # fmt: skip


@dataclass(frozen=True)
class Ground:
    """Shape of the ground of one town; `phases` are four angles drawn from the town's seed."""

    style: TownStyle
    phases: tuple[float, float, float, float]

    def bend(self, plan_xy: Array) -> Array:
        """Plan (N, 2) to world (N, 2): x += A sin(y), then y += A sin(x)."""
        amplitude, p = self.style.bend_m, self.phases
        x = plan_xy[:, 0] + amplitude * np.sin(plan_xy[:, 1] / 46.0 + p[0])
        return np.column_stack([x, plan_xy[:, 1] + amplitude * np.sin(x / 53.0 + p[1])])

    def unbend(self, world_xy: Array) -> Array:
        """World (N, 2) to plan (N, 2), exact."""
        amplitude, p = self.style.bend_m, self.phases
        y = world_xy[:, 1] - amplitude * np.sin(world_xy[:, 0] / 53.0 + p[1])
        return np.column_stack([world_xy[:, 0] - amplitude * np.sin(y / 46.0 + p[0]), y])

    def yaw(self, plan_xy: Array, plan_yaw: Array) -> Array:
        """World headings (N,) of plan headings (N,) at plan places (N, 2)."""
        step = 0.05 * np.column_stack([np.cos(plan_yaw), np.sin(plan_yaw)])
        delta = self.bend(plan_xy + step) - self.bend(plan_xy - step)
        return np.arctan2(delta[:, 1], delta[:, 0])

    def road_z(self, world_xy: Array) -> Array:
        """(N,) height of the road surface (rolling ground) at world places."""
        x, y = world_xy.T
        a, b = self.phases[2:]
        waves = 0.5 * np.sin(x / 27.0 + a) + 0.5 * np.sin(y / 33.0 + b) + 0.6 * np.sin((x + 0.7 * y) / 61.0 + a - b)
        return self.style.relief_m * waves

    def above_road(self, plan_xy: Array) -> Array:
        """(N,) what curbs, lawns and mounds add to the road's height."""
        spacing, lot = self.style.spacing_m, self.style.lot_m
        local = np.abs(plan_xy - spacing * np.round(plan_xy / spacing))
        inner = local.min(axis=1)
        x, y = plan_xy.T
        rough = 0.05 * np.sin(1.7 * x + 0.6 * y) + 0.04 * np.sin(0.5 * x - 1.9 * y) + 0.03 * np.sin(2.9 * x + 2.3 * y)
        mound = 0.35 * np.sin(0.19 * x + self.phases[0]) * np.sin(0.23 * y + self.phases[1])
        inside = np.clip((inner - lot) / 6.0, 0.0, 1.0)
        curb = np.clip((inner - self.style.curb_m) / 0.04, 0.0, 1.0) * CURB_HEIGHT_M
        return curb + inside * (mound + rough)

    def z(self, plan_xy: Array) -> Array:
        """(N,) height of the ground at plan places."""
        return self.road_z(self.bend(plan_xy)) + self.above_road(plan_xy)

    def tile_mesh(self, tile: tuple[int, int]) -> Mesh:
        """The tile's ground as a grid of triangles, with lines along both edges of every curb stone."""
        spacing, curb = self.style.spacing_m, self.style.curb_m
        inner = np.linspace(0, curb, 5)
        outer = np.linspace(curb + 0.04, spacing / 2, round((spacing / 2 - curb) / 1.5))
        half = np.concatenate([inner, outer])
        lines = np.concatenate([-half[:0:-1], half])
        u, v = np.meshgrid(lines, lines, indexing="ij")
        plan = np.column_stack([u.ravel() + tile[0] * spacing, v.ravel() + tile[1] * spacing])
        n = len(lines)
        corner = (np.arange(n - 1)[:, None] * n + np.arange(n - 1)).ravel()
        faces = np.concatenate(
            [
                np.column_stack([corner, corner + n, corner + 1]),
                np.column_stack([corner + n, corner + n + 1, corner + 1]),
            ]
        )
        vertices = np.column_stack([self.bend(plan), self.z(plan)])
        return Solid(vertices, faces).painted(GROUND, Material.ASPHALT, (0, 0, 0))


PARK_HERE, MARKED, VERGE = range(3)  # what a strip along a curb is for
SIDES = ((1, 1), (1, -1), (-1, 1), (-1, -1))  # sign across the street, sign along it


def street_raster(style: TownStyle, medians: tuple[bool, bool], strips: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
    """Surface codes of a tile's streets and sidewalks, (S / 0.2, S / 0.2); lots are left as terrain.

    Args:
        medians: whether the street along y (at u = 0), along x (at v = 0) has a paved strip in its middle.
        strips: (8,) uses of the strips along the curbs, `SIDES` of the street along y, then of the one along x.
    """
    count = round(style.spacing_m / CELL_M)
    center = (np.arange(count) + 0.5) * CELL_M - style.spacing_m / 2
    raster = np.full((count, count), TERRAIN, dtype=np.uint8)
    u, v = np.meshgrid(center, center, indexing="ij")
    a, b = np.abs(u), np.abs(v)
    inner, outer = np.minimum(a, b), np.maximum(a, b)
    raster[(inner < style.lot_m) & ((inner >= style.sidewalk_m) | (outer < style.lot_m))] = SIDEWALK
    raster[inner < style.curb_m] = ROAD
    for axis, (across, along, side) in enumerate(((a, b, u), (b, a, v))):
        other = v if axis == 0 else u
        _mark_street(raster, style, across, along, side, other, axis, medians[axis])
        strip = (across > STRIP_M) & (across < style.curb_m) & (along > 15) & (along < style.spacing_m / 2 - 1)
        for k, (s, t) in enumerate(SIDES):
            here = strip & (side * s > 0) & (other * t > 0)
            if strips[4 * axis + k] == VERGE and style.verge_is_grass:
                raster[here] = TERRAIN
            elif strips[4 * axis + k] == MARKED:
                raster[here] = PARKING
                raster[here & ((across < STRIP_M + 0.2) | (np.mod(along, 6.2) < 0.2))] = PARKING_MARK
    return raster


def _mark_street(
    raster: npt.NDArray[np.uint8],
    style: TownStyle,
    across: Array,
    along: Array,
    side: Array,
    other: Array,
    axis: int,
    median: bool,
) -> None:
    """Centre line or median, zebra crossing and stop line of one street, in place."""
    dashed = (across < 0.1) & (np.mod(along, 6.0) < 3.0) & (along > 12)
    raster[dashed] = MARK
    if median:
        raster[(across < 0.6) & (along > 14) & (along < style.spacing_m / 2 - 6)] = OTHER
    zebra = (across < style.curb_m - 0.2) & (along > 7.2) & (along < 9.4) & (np.mod(across + 0.25, 1.0) < 0.5)
    raster[zebra] = MARK
    # Traffic keeps right: towards the junction on the street along y one drives at u < 0 where v > 0.
    incoming = side * other < 0 if axis == 0 else side * other > 0
    raster[(across < STRIP_M) & (along > BOX_M) & (along < BOX_M + 0.4) & incoming] = MARK
