# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""A quarter of a tile, the land between two arms of a junction: curbside, lots with houses or gardens, greenery."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lidal3d.sim import furniture
from lidal3d.sim.ground import MARKED, OTHER, PARKING, PARKING_MARK, SIDES, SIDEWALK, SOIL, VERGE
from lidal3d.sim.lanes import STRIP_M

if TYPE_CHECKING:
    from lidal3d.sim.world import TileBuilder

PARKED_KINDS, PARKED_SHARES = ("car", "truck", "other-vehicle", "motorcycle"), (0.93, 0.01, 0.04, 0.02)
PARKED_LENGTH_M = {"car": 6.2, "truck": 9.6, "other-vehicle": 6.6, "motorcycle": 1.9}


@dataclass
class Quadrant:
    """The land between two arms of a junction. (a, b) are distances from the two streets' middles."""

    tile: TileBuilder
    sx: int
    sy: int

    def __post_init__(self) -> None:
        self.rng, self.style = self.tile.rng, self.tile.style
        self.size = (self.style.spacing_m / 2 - self.style.lot_m) / 2
        self.blocked: list[tuple[float, float, float, float]] = []

    def build(self) -> None:
        """Street furniture, parked things, lots with houses, fences and greenery."""
        self.corner()
        for axis in (0, 1):
            self.curbside(axis)
        for i, j in ((0, 0), (0, 1), (1, 0), (1, 1)):
            self.lot(i, j)
        self.scatter()

    def uv(self, axis: int, across: float, along: float) -> tuple[float, float]:
        """(u, v) of a place given by its distance across and along the street of `axis` (0: the one along y)."""
        a, b = (across, along) if axis == 0 else (along, across)
        return self.sx * a, self.sy * b

    def strip(self, axis: int) -> int:
        """What the strip along this side of the street of `axis` is for."""
        signs = (self.sx, self.sy) if axis == 0 else (self.sy, self.sx)
        return int(self.tile.strips[4 * axis + SIDES.index(signs)])

    def facing(self, axis: int) -> float:
        """Yaw that turns a mesh's -y side towards the street of `axis`."""
        if axis == 0:
            return -self.sx * np.pi / 2
        return 0.0 if self.sy > 0 else np.pi

    def heading(self, axis: int) -> float:
        """Yaw of traffic on this side of the street of `axis`: it keeps right."""
        return self.sx * np.pi / 2 if axis == 0 else (np.pi if self.sy > 0 else 0.0)

    # --- along the streets ----------------------------------------------------------------------------------------

    def corner(self) -> None:
        """Traffic light, signs and bollards at the junction."""
        tile, rng = self.tile, self.rng
        near, far = self.style.curb_m + 0.5, self.style.lot_m - 0.2
        axis = 0 if self.sx * self.sy > 0 else 1
        tile.place(furniture.traffic_light(), self.sx * near, self.sy * near, self.heading(axis) + np.pi)
        tile.place(furniture.sign(3), self.sx * far, self.sy * far, rng.uniform(0, 6.28))
        if self.sx > 0 and self.sy > 0:
            tile.figure("bicycle", near + 0.2, 13.5, rng.uniform(0, 6.28))  # one at every junction
        if self.sx < 0 and self.sy < 0 and sum(tile.index) % 2:
            tile.figure("motorcycle", -near - 0.2, -13.5, rng.uniform(0, 6.28))  # one at every second
        if rng.random() < 0.5:
            tile.place(furniture.clutter(3, rng), self.sx * (near + 0.1), self.sy * 10.4)

    def curbside(self, axis: int) -> None:
        """Parked vehicles, street trees, lamps, signs, bins, bicycles and people along one street."""
        style, tile = self.style, self.tile
        half = style.spacing_m / 2
        self.park_along(axis)
        busy = [14.0]
        for along in np.arange(19.0, half, style.lamps_every_m):
            wooden = style.name == "suburb" and axis == 1
            toward = self.facing(axis) - np.pi / 2
            tile.place(
                furniture.lamp(6.5 if wooden else 7.5, wooden), *self.uv(axis, style.curb_m + 0.4, float(along)), toward
            )
            busy.append(float(along))
        self.line_up(axis, style.street_trees_every_m, busy, self.street_tree)
        self.line_up(axis, 21.0, busy, self.street_sign)
        self.line_up(axis, 28.0, busy, self.street_item)

    def park_along(self, axis: int) -> None:
        """Parked vehicles bumper to bumper with gaps, or in marked spaces."""
        style, rng, strip = self.style, self.rng, self.strip(axis)
        along, end = 15.5, style.spacing_m / 2 - 1.0
        # Every second tile has a lorry, so that no long drive lacks one.
        lorry = axis == 0 and self.sx > 0 and self.sy > 0 and sum(self.tile.index) % 2 == 0
        while strip != VERGE and along + 6.2 < end:
            kind = "car" if strip == MARKED else str(rng.choice(PARKED_KINDS, p=PARKED_SHARES))
            kind = "truck" if lorry and along + PARKED_LENGTH_M["truck"] < end else kind
            length = PARKED_LENGTH_M[kind]
            if (lorry or rng.random() < style.parked_share) and along + length < end:
                self.parked(axis, kind, along + length / 2)
                along += length + (0.0 if strip == MARKED else rng.uniform(0.2, 1.5))
            else:
                along += 6.2
            lorry = False

    def parked(self, axis: int, kind: str, along: float) -> None:
        """One parked vehicle in the strip along the curb."""
        turn = np.pi / 2 * self.rng.choice([-1, 1]) if kind == "motorcycle" else self.rng.normal(0, 0.02)
        across = (STRIP_M + self.style.curb_m) / 2 + 0.05 + self.rng.uniform(-0.08, 0.08)
        self.tile.figure(kind, *self.uv(axis, across, along), self.heading(axis) + turn)

    def line_up(self, axis: int, every_m: float, busy: list[float], put: Callable[[int, float], None]) -> None:
        """Call `put` at random places along the street that keep 2 m from those already busy."""
        half = self.style.spacing_m / 2
        for _ in range(max(1, round((half - 14) / every_m * 1.3))):
            along = float(self.rng.uniform(13.0, half - 1.0))
            if all(abs(along - other) > 2.0 for other in busy):
                busy.append(along)
                put(axis, along)

    def street_tree(self, axis: int, along: float) -> None:
        """A tree in the verge, or in a square of soil in the pavement."""
        grass = self.style.verge_is_grass and self.strip(axis) == VERGE and along > 16
        u, v = self.uv(axis, self.style.curb_m + (-0.8 if grass and self.rng.random() < 0.5 else 0.7), along)
        self.tree(u, v, self.rng.uniform(0.75, 1.3))
        self.tile.cover((u - 0.6, u + 0.6), (v - 0.6, v + 0.6), SOIL)

    def street_sign(self, axis: int, along: float) -> None:
        """A sign facing the traffic of this side."""
        self.tile.place(
            furniture.sign(int(self.rng.integers(3))),
            *self.uv(axis, self.style.curb_m + 0.4, along),
            self.heading(axis),
        )

    def street_item(self, axis: int, along: float) -> None:
        """A bicycle, a standing person, bins, a bench or a bus shelter."""
        rng, tile = self.rng, self.tile
        place = self.uv(axis, self.style.curb_m + 0.8, along)
        what = rng.random()
        if what < 0.1:
            tile.figure("bicycle", *place, rng.uniform(0, 6.28))
        elif what < 0.14:
            tile.figure("person", *place, rng.uniform(0, 6.28))
        elif what < 0.18:
            tile.figure("motorcycle", *place, self.heading(axis))
        else:
            tile.place(furniture.clutter(int(rng.choice([0, 1, 2, 3, 5])), rng), *place, self.facing(axis) + np.pi / 2)

    # --- lots -----------------------------------------------------------------------------------------------------

    def lot(self, i: int, j: int) -> None:
        """One of the four lots: a house, a car park, a square, a garden; with what stands along its edges."""
        style, rng = self.style, self.rng
        a0, b0 = style.lot_m + i * self.size, style.lot_m + j * self.size
        axis = 0 if (i == 0 and (j == 1 or rng.random() < 0.5)) else 1
        if i == 1 and j == 1:
            use = rng.choice(
                ["garden", "car park", "square"], p=[0.85, 0.1, 0.05] if style.name == "suburb" else [0.3, 0.4, 0.3]
            )
        else:
            use = (
                "house"
                if rng.random() >= style.vacant_share
                else rng.choice(["garden", "car park", "square"], p=[0.76, 0.12, 0.12])
            )
        if use == "house":
            self.house(axis, a0, b0)
        elif use == "car park":
            self.car_park(a0, b0)
        elif use == "square":
            self.square(a0, b0)
        if use != "square":
            self.edges(a0, b0, i, j, use)

    def house(self, axis: int, a0: float, b0: float) -> None:
        """A building facing its street, with a driveway in the suburb."""
        style, rng, size = self.style, self.rng, self.size
        across0, along0 = (a0, b0) if axis == 0 else (b0, a0)
        suburb = style.name == "suburb"
        setback = rng.uniform(3.5, 7.5) if suburb else rng.uniform(0.3, 1.2)
        width = size - (rng.uniform(5.2, 7.5) if suburb else rng.uniform(0.2, 2.5))
        depth = min(size - setback - 1.0, rng.uniform(8.0, 12.0) if suburb else rng.uniform(11.0, 15.5))
        along = along0 + width / 2 + 0.8 if suburb else along0 + size / 2
        height = rng.uniform(*style.house_height_m)
        walls, roofs = style.wall_colors, style.roof_colors
        model = furniture.building(
            width, depth, height, bool(rng.random() < style.gable_share),
            walls[int(rng.integers(len(walls)))], roofs[int(rng.integers(len(roofs)))], rng,
        )  # fmt: skip
        across = across0 + setback + depth / 2
        self.tile.drape(model, *self.uv(axis, across, along), self.facing(axis), level=True)
        self.block(
            axis,
            (across - depth / 2 - 1.2, across + depth / 2 + 0.7),
            (along - width / 2 - 0.7, along + width / 2 + 0.7),
        )
        if suburb:
            self.driveway(axis, across0, along0 + size - 3.9, setback + rng.uniform(2.0, 8.0))
        elif rng.random() < 0.6:
            self.pave(axis, (across0, across0 + setback + 0.2), (along0, along0 + size), SIDEWALK)

    def driveway(self, axis: int, across0: float, along: float, depth: float) -> None:
        """A paved strip from the street beside the house, often with a car on it."""
        self.pave(axis, (across0, across0 + depth + 0.4), (along, along + 3.2), PARKING)
        edge = STRIP_M if self.strip(axis) == VERGE else self.style.curb_m
        self.pave(axis, (edge, self.style.sidewalk_m), (along, along + 3.2), PARKING)
        self.block(axis, (across0, across0 + depth + 1.0), (along, along + 3.2))
        if depth > 6.0 and self.rng.random() < 0.6:
            yaw = self.facing(axis) + np.pi / 2 * self.rng.choice([-1, 1])
            kind = "other-vehicle" if self.rng.random() < 0.1 else "car"
            self.tile.figure(kind, *self.uv(axis, across0 + depth - 2.6, along + 1.6), yaw)

    def car_park(self, a0: float, b0: float) -> None:
        """An asphalted lot with two rows of marked spaces."""
        size, rng = self.size, self.rng
        self.pave(0, (a0 + 1, a0 + size - 1), (b0 + 1, b0 + size - 1), PARKING)
        self.block(0, (a0, a0 + size), (b0, b0 + size))
        for across in (a0 + 3.8, a0 + size - 3.8):
            for along in np.arange(b0 + 2.6, b0 + size - 2.4, 2.8):
                self.pave(0, (across - 2.4, across + 2.4), (along - 1.5, along - 1.3), PARKING_MARK)
                if rng.random() < 0.55:
                    kind = str(rng.choice(["car", "other-vehicle", "motorcycle"], p=[0.92, 0.04, 0.04]))
                    self.tile.figure(kind, *self.uv(0, across, float(along)), rng.choice([0.0, np.pi]))

    def square(self, a0: float, b0: float) -> None:
        """A gravelled square with a few trees, benches, planters, bicycles and people."""
        size, rng = self.size, self.rng
        self.pave(0, (a0 + 0.4, a0 + size - 0.4), (b0 + 0.4, b0 + size - 0.4), OTHER)
        for _ in range(9):
            u, v = self.uv(0, a0 + rng.uniform(2, size - 2), b0 + rng.uniform(2, size - 2))
            if not self.tile.free(u, v, 1.4):
                continue
            what = rng.random()
            if what < 0.35:
                self.tree(u, v, rng.uniform(0.7, 1.0))
            elif what < 0.65 or what > 0.8:
                self.tile.place(furniture.clutter(int(rng.choice([1, 4, 5])), rng), u, v, rng.uniform(0, 6.28))
            else:
                self.tile.figure("person" if what < 0.74 else "bicycle", u, v, rng.uniform(0, 6.28))
        self.block(0, (a0, a0 + size), (b0, b0 + size))

    def edges(self, a0: float, b0: float, i: int, j: int, use: str) -> None:
        """Fences or hedges along the lot's edges; towards the street they leave room for driveway and door."""
        size = self.size
        gap = 4.4 if use != "garden" else 0.0
        if use != "house" or self.style.name == "suburb":
            for axis, edge, start in ((0, a0, b0), (1, b0, a0)):
                if (i, j)[axis] == 0 or use == "garden":
                    self.edge(axis, edge + 0.45, start + 0.5, start + size - gap - 0.3, low=True)
        self.edge(0, a0 + size - 0.1, b0 + 0.5, b0 + size - 0.5, low=False)
        self.edge(1, b0 + size - 0.1, a0 + 0.5, a0 + size - 0.5, low=False)

    def edge(self, axis: int, across: float, start: float, end: float, low: bool) -> None:
        """One straight run of fence or hedge, or nothing."""
        rng, style, length = self.rng, self.style, end - start
        what = rng.random()
        if length < 2.0 or what > style.hedge_share + style.fence_share:
            return
        yaw = np.pi / 2 if axis == 0 else 0.0
        if what < style.hedge_share:
            model = furniture.hedge(length, rng, rng.uniform(0.9, 1.4) if low else rng.uniform(1.3, 2.4))
        else:
            model = furniture.fence(length, int(rng.choice([0, 2, 3] if low else [0, 1, 1, 2, 3])), rng)
        self.tile.drape(model, *self.uv(axis, across, (start + end) / 2), yaw, level=False)
        self.block(axis, (across - 0.6, across + 0.6), (start, end))

    # --- greenery and helpers -------------------------------------------------------------------------------------

    def scatter(self) -> None:
        """Trees and bushes where nothing else stands, and patches of bare soil."""
        style, rng = self.style, self.rng
        top = style.spacing_m / 2 - 1.5
        for kind, mean in (("tree", style.trees), ("bush", style.bushes)):
            for _ in range(int(rng.poisson(mean))):
                a, b = rng.uniform(style.lot_m + 1.5, top, 2)
                radius = 2.0 if kind == "tree" else 0.9
                if self.is_blocked(a, b, 0.9 if kind == "tree" else 0.6):
                    continue
                u, v = self.uv(0, a, b)
                if not self.tile.free(u, v, radius):
                    continue
                if kind == "tree":
                    self.tree(u, v, rng.uniform(0.7, 1.35))
                else:
                    bushes = self.tile.town.library.bushes
                    bush = bushes[int(rng.integers(len(bushes)))]
                    self.tile.place(bush, u, v, rng.uniform(0, 6.28), rng.uniform(0.7, 2.0), -0.05)

    def tree(self, u: float, v: float, scale: float) -> None:
        """A tree of the town's mix."""
        library, rng = self.tile.town.library, self.rng
        models = library.conifers if rng.random() < self.style.conifer_share else library.trees
        self.tile.place(models[int(rng.integers(len(models)))], u, v, rng.uniform(0, 6.28), scale)

    def pave(self, axis: int, across: tuple[float, float], along: tuple[float, float], code: int) -> None:
        """Cover a rectangle given along a street."""
        corner, opposite = self.uv(axis, across[0], along[0]), self.uv(axis, across[1], along[1])
        self.tile.cover((corner[0], opposite[0]), (corner[1], opposite[1]), code)

    def block(self, axis: int, across: tuple[float, float], along: tuple[float, float]) -> None:
        """Keep greenery out of a rectangle."""
        a, b = (across, along) if axis == 0 else (along, across)
        self.blocked.append((a[0], a[1], b[0], b[1]))

    def is_blocked(self, a: float, b: float, margin: float) -> bool:
        """Whether (a, b) is inside or near a blocked rectangle."""
        return any(p - margin < a < q + margin and r - margin < b < s + margin for p, q, r, s in self.blocked)
