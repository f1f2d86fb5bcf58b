# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Casting rays against the still town (built once per neighbourhood) and the movers (built per sweep)."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lidal3d.errors import MissingDependency
from lidal3d.sim.ground import CELL_M, GROUND, SURFACE_COLOR, SURFACE_MATERIAL, SURFACE_SEMANTIC
from lidal3d.sim.shapes import Mesh, join
from lidal3d.sim.world import INSTANCES_A_TILE, Tile, Town, build_tile, build_town

Float32 = npt.NDArray[np.float32]
STILL_INSTANCE_LIMIT = 29000


@dataclass(frozen=True)
class Hits:
    """What N rays hit; where `range_m` is inf, nothing.

    Attributes:
        range_m: (N,) float32 distance along the unit ray.
        cosine: (N,) float32 |cos| of the incidence angle.
        normal: (N, 3) float32 towards the sensor.
        position: (N, 3) float32 from the neighbourhood's origin.
        semantic, instance: (N,) uint16; material: (N,) uint8; color: (N, 3) uint8.
    """

    range_m: Float32
    cosine: Float32
    normal: Float32
    position: Float32
    semantic: npt.NDArray[np.uint16]
    instance: npt.NDArray[np.uint16]
    material: npt.NDArray[np.uint8]
    color: npt.NDArray[np.uint8]


def open3d() -> Any:
    """Open3D, or a one-line error that says what is missing."""
    try:
        import open3d as package
    except ImportError as error:
        raise MissingDependency(
            f"simulated drives need Open3D, which does not load ({str(error).splitlines()[0]}); on Debian or Ubuntu: "
            "apt-get install libusb-1.0-0 libegl1 libgl1 libx11-6 libidn2-0"
        ) from None
    return package


class MeshCaster:
    """One mesh in Embree's tree, coordinates taken from `origin` so that float32 is enough."""

    def __init__(self, mesh: Mesh, origin: npt.NDArray[np.float64]) -> None:
        self.mesh = mesh
        core = open3d()
        self._core = core.core
        self._scene = core.t.geometry.RaycastingScene()
        if len(mesh):
            vertices = np.ascontiguousarray(mesh.vertices - origin, dtype=np.float32)
            self._scene.add_triangles(
                core.core.Tensor(vertices), core.core.Tensor(np.ascontiguousarray(mesh.triangles, dtype=np.uint32))
            )

    def cast(self, rays: Float32) -> tuple[Float32, npt.NDArray[np.int64], Float32]:
        """(N,) range (inf for a miss), (N,) triangle and (N, 3) unit normal of the nearest hit of rays (N, 6)."""
        if not len(self.mesh):
            nothing = np.full(len(rays), np.inf, dtype=np.float32)
            return nothing, np.zeros(len(rays), dtype=np.int64), np.zeros((len(rays), 3), dtype=np.float32)
        answer = self._scene.cast_rays(self._core.Tensor(rays))
        triangle = answer["primitive_ids"].numpy().astype(np.int64)
        return answer["t_hit"].numpy(), triangle, answer["primitive_normals"].numpy()


class Neighbourhood:
    """The nine tiles round one tile, ready to be hit."""

    def __init__(self, town: Town, tiles: list[Tile], middle: tuple[int, int]) -> None:
        self.town, self.middle = town, middle
        plan = np.array([middle], dtype=np.float64) * town.style.spacing_m
        self.origin = np.array([*town.ground.bend(plan)[0], 0.0])
        self.still = MeshCaster(join([t.mesh for t in tiles]), self.origin)
        count = len(tiles[0].raster)
        self.raster = np.zeros((3 * count, 3 * count), dtype=np.uint8)
        for tile in tiles:
            row, column = tile.index[0] - middle[0] + 1, tile.index[1] - middle[1] + 1
            self.raster[row * count : (row + 1) * count, column * count : (column + 1) * count] = tile.raster

    def hits(self, rays: Float32, movers: MeshCaster) -> Hits:
        """Nearest hit among the still and the moving; `rays` (N, 6) have unit directions, from `self.origin`."""
        range_m, triangle, normal = self.still.cast(rays)
        other_range, other_triangle, other_normal = movers.cast(rays)
        still = self.still.mesh
        missed = ~np.isfinite(range_m)
        triangle[missed] = 0
        semantic, instance = still.semantic[triangle], still.instance[triangle]
        material, color = still.material[triangle], still.color[triangle]
        nearer = np.flatnonzero(other_range < range_m)
        chosen = other_triangle[nearer]
        range_m[nearer], normal[nearer] = other_range[nearer], other_normal[nearer]
        semantic[nearer], instance[nearer] = movers.mesh.semantic[chosen], movers.mesh.instance[chosen]
        material[nearer], color[nearer] = movers.mesh.material[chosen], movers.mesh.color[chosen]
        direction = rays[:, 3:]
        finite = np.where(np.isfinite(range_m), range_m, np.float32(0))
        position = rays[:, :3] + finite[:, None] * direction
        ground = np.flatnonzero((semantic == GROUND) & (finite > 0))
        code = self.surface(position[ground])
        semantic[ground], material[ground], color[ground] = (
            SURFACE_SEMANTIC[code], SURFACE_MATERIAL[code], SURFACE_COLOR[code],
        )  # fmt: skip
        semantic[finite == 0] = instance[finite == 0] = 0
        facing = np.einsum("ij,ij->i", normal, direction)
        normal *= -np.sign(facing)[:, None]
        return Hits(range_m, np.abs(facing), normal, position, semantic, instance, material, color)

    def surface(self, position: Float32) -> npt.NDArray[np.uint8]:
        """Surface codes of ground hits (N, 3) given from `self.origin`."""
        plan = self.town.ground.unbend(position[:, :2] + self.origin[:2])
        spacing = self.town.style.spacing_m
        corner = (np.array(self.middle) - 1.5) * spacing
        cell = np.clip(((plan - corner) / CELL_M).astype(np.int64), 0, len(self.raster) - 1)
        return self.raster[cell[:, 0], cell[:, 1]]

    def lit(self, position: Float32, normal: Float32, sun: Float32, movers: MeshCaster) -> npt.NDArray[np.bool_]:
        """(N,) whether the sun is not hidden by anything."""
        rays = np.empty((len(position), 6), dtype=np.float32)
        rays[:, :3] = position + 0.03 * normal
        rays[:, 3:] = sun
        return ~np.isfinite(np.minimum(self.still.cast(rays)[0], movers.cast(rays)[0]))


@functools.lru_cache(maxsize=2)
def build_neighbourhood(style: str, seed: int, tiles: tuple[tuple[tuple[int, int], int], ...]) -> Neighbourhood:
    """The neighbourhood of nine (tile, its first instance id), the middle one fifth; the last two are kept."""
    built = [build_tile(style, seed, index, first) for index, first in tiles]
    return Neighbourhood(build_town(style, seed), built, tiles[4][0])


class Neighbourhoods:
    """Neighbourhoods as the ego vehicle reaches them.

    Args:
        route: the tiles that the ego vehicle visits, in order; still instance ids are numbered along it.
    """

    def __init__(self, town: Town, route: list[tuple[int, int]]) -> None:
        self.town = town
        self._first: dict[tuple[int, int], int] = {}
        for middle in route:
            for index in around(middle):
                first = len(self._first) * INSTANCES_A_TILE % STILL_INSTANCE_LIMIT + 1
                self._first.setdefault(index, first)

    def at(self, middle: tuple[int, int]) -> Neighbourhood:
        """The neighbourhood round a tile of the route."""
        tiles = tuple((index, self._first[index]) for index in around(middle))
        return build_neighbourhood(self.town.style.name, self.town.seed, tiles)


def around(middle: tuple[int, int]) -> list[tuple[int, int]]:
    """A tile and its eight neighbours."""
    return [(middle[0] + i, middle[1] + j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
