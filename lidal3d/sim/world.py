# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""An endless town in square tiles, each made from the seed and its own place alone, so any part can be built alone."""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from lidal3d.sim import furniture
from lidal3d.sim.figures import FIGURES
from lidal3d.sim.ground import CELL_M, MARKED, PARK_HERE, VERGE, Ground, street_raster
from lidal3d.sim.quarters import Quadrant
from lidal3d.sim.shapes import Mesh, join
from lidal3d.sim.styles import STYLES, TownStyle

INSTANCES_A_TILE = 60


@dataclass(frozen=True)
class Tile:
    """A square of town round junction (i, j): its still surfaces and its ground classes."""

    index: tuple[int, int]
    mesh: Mesh
    raster: npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Library:
    """Models that are placed many times, made once a town."""

    trees: tuple[Mesh, ...]
    conifers: tuple[Mesh, ...]
    bushes: tuple[Mesh, ...]
    figures: dict[str, tuple[Mesh, ...]]

    @classmethod
    def build(cls, style: TownStyle, rng: np.random.Generator) -> Library:
        """A few variants of everything."""
        counts = {"car": 14, "truck": 5, "bus": 3, "other-vehicle": 6, "person": 8}
        return cls(
            tuple(furniture.tree(rng, False) for _ in range(7)),
            tuple(furniture.tree(rng, True) for _ in range(3)),
            tuple(furniture.bush(rng) for _ in range(6)),
            {
                kind: tuple(make(rng, style.car_variants) for _ in range(counts.get(kind, 4)))
                for kind, make in FIGURES.items()
            },
        )


@dataclass(frozen=True)
class Town:
    """The town of one seed and style."""

    style: TownStyle
    seed: int
    ground: Ground
    library: Library

    @classmethod
    def build(cls, style: TownStyle, seed: int) -> Town:
        """Draw the lie of the land and the models."""
        rng = np.random.default_rng(np.random.SeedSequence([seed, 0]))
        phases = rng.uniform(0, 2 * np.pi, 4)
        ground = Ground(style, (float(phases[0]), float(phases[1]), float(phases[2]), float(phases[3])))
        return cls(style, seed, ground, Library.build(style, rng))

    def tile(self, index: tuple[int, int], first_instance: int = 1) -> Tile:
        """Build tile (i, j); its parked vehicles and standing people are numbered from `first_instance`."""
        return TileBuilder(self, index, first_instance).build()

    def street_has_median(self, axis: int, line: int) -> bool:
        """Whether street number `line` along y (axis 0) or x (axis 1) has a paved strip in its middle."""
        rng = np.random.default_rng(np.random.SeedSequence([self.seed, 2, axis, line + 2**20]))
        return bool(rng.random() < self.style.median_share)


@functools.lru_cache(maxsize=2)
def build_town(style: str, seed: int) -> Town:
    """The town of a style and seed; the last two are kept."""
    return Town.build(STYLES[style], seed)


@functools.lru_cache(maxsize=12)
def build_tile(style: str, seed: int, index: tuple[int, int], first_instance: int) -> Tile:
    """A tile of a town; the last few are kept, for the next neighbourhood and the next drive there."""
    return build_town(style, seed).tile(index, first_instance)


@dataclass
class TileBuilder:
    """Fills one tile. Places inside the tile are (u, v): plan metres from the junction."""

    town: Town
    index: tuple[int, int]
    next_instance: int
    meshes: list[Mesh] = field(default_factory=list)
    taken: list[tuple[float, float, float]] = field(default_factory=list)  # u, v, radius

    def __post_init__(self) -> None:
        i, j = self.index
        self.rng = np.random.default_rng(np.random.SeedSequence([self.town.seed, 1, i + 2**20, j + 2**20]))
        self.style = self.town.style
        self.origin = np.array([i, j]) * self.style.spacing_m
        self.last_instance = self.next_instance + INSTANCES_A_TILE - 1

    def build(self) -> Tile:
        """All of the tile."""
        medians = (self.town.street_has_median(0, self.index[0]), self.town.street_has_median(1, self.index[1]))
        marked, verge = self.style.marked_parking_share, self.style.verge_share
        self.strips = self.rng.choice([PARK_HERE, MARKED, VERGE], 8, p=[1 - marked - verge, marked, verge])
        if sum(self.index) % 2 == 0:
            self.strips[0] = PARK_HERE
        self.raster = street_raster(self.style, medians, self.strips)
        self.meshes.append(self.town.ground.tile_mesh(self.index))
        for sx in (1, -1):
            for sy in (1, -1):
                Quadrant(self, sx, sy).build()
        return Tile(self.index, join(self.meshes), self.raster)

    # --- placing -----------------------------------------------------------------------------------------------

    def place(
        self, mesh: Mesh, u: float, v: float, yaw_rad: float = 0.0, scale: float = 1.0, lift_m: float = 0.0
    ) -> None:
        """Put a rigid thing on the ground at (u, v), turned with the bent street."""
        plan = self.origin + np.array([[u, v]])
        ground = self.town.ground
        place = (*ground.bend(plan)[0], float(ground.z(plan)[0]) + lift_m)
        self.meshes.append(mesh.placed(place, float(ground.yaw(plan, np.array([yaw_rad]))[0]), scale))

    def drape(self, mesh: Mesh, u: float, v: float, yaw_rad: float, level: bool) -> None:
        """Put a long thing on the plan and bend it; unless `level`, every vertex follows the ground."""
        ground = self.town.ground
        placed = mesh.placed((*(self.origin + np.array([u, v])), 0.0), yaw_rad)
        plan = placed.vertices[:, :2]
        z = ground.z(self.origin + np.array([[u, v]])) if level else ground.z(plan)
        bent = np.column_stack([ground.bend(plan), placed.vertices[:, 2] + z])
        self.meshes.append(dataclasses.replace(placed, vertices=bent))

    def figure(self, kind: str, u: float, v: float, yaw_rad: float) -> None:
        """A parked vehicle or standing person with an instance id of its own."""
        models = self.town.library.figures[kind]
        model = models[int(self.rng.integers(len(models)))].labelled(instance=self.next_instance)
        self.next_instance = min(self.next_instance + 1, self.last_instance)
        self.place(model, u, v, yaw_rad)

    def free(self, u: float, v: float, radius_m: float) -> bool:
        """Whether a disc is free; takes it if so."""
        if any((u - x) ** 2 + (v - y) ** 2 < (radius_m + r) ** 2 for x, y, r in self.taken):
            return False
        self.taken.append((u, v, radius_m))
        return True

    def cover(self, u: tuple[float, float], v: tuple[float, float], code: int) -> None:
        """Give a rectangle of the raster a surface code."""
        half = self.style.spacing_m / 2
        low, high = (np.round((np.sort(np.array([u, v]), axis=1) + half) / CELL_M).astype(int)).T
        low = np.maximum(low, 0)
        self.raster[low[0] : high[0], low[1] : high[1]] = code
