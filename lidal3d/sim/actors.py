# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Everything that moves, at any time: vehicles from the traffic, walkers and cyclists round blocks, people crossing."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from lidal3d.sim.ego import standing_on
from lidal3d.sim.figures import CLOTHES, person
from lidal3d.sim.lanes import CYCLE_M, DIRECTIONS, right_of
from lidal3d.sim.materials import MOVING, Raw
from lidal3d.sim.shapes import Mesh, join
from lidal3d.sim.traffic import CROSSING_S, Crossing, State
from lidal3d.sim.world import Town

VISIBLE_M = 100.0
STEP_M = 0.75  # a walker's step
GAIT = (-1.0, -0.5, 0.0, 0.5, 1.0)
VEHICLE_BASE, ROUND_BASE, CROSSING_BASE = 30000, 50000, 62000  # instance ids, above those of the still world


@dataclass(frozen=True)
class Actor:
    """One mover at one time. `step_m` is how far it has walked, which sets the legs."""

    kind: str
    instance: int
    model: int
    x: float
    y: float
    yaw: float
    step_m: float = 0.0


def vehicles_at(states: list[State]) -> list[Actor]:
    """The traffic without the ego vehicle."""
    return [
        Actor(s.kind, VEHICLE_BASE + s.number % 20000, s.number * 7, s.x, s.y, s.yaw) for s in states if s.number != 0
    ]


def round_blocks(town: Town, x: float, y: float, time_s: float) -> list[Actor]:
    """Walkers on the sidewalks and cyclists along the curbs, each going round its own block for ever."""
    spacing, actors = town.style.spacing_m, []
    i0, j0 = math.floor(x / spacing), math.floor(y / spacing)
    for i in range(i0 - 1, i0 + 2):
        for j in range(j0 - 1, j0 + 2):
            rng = np.random.default_rng(np.random.SeedSequence([town.seed, 6, i + 2**20, j + 2**20]))
            people = [("person", k) for k in range(min(int(rng.poisson(town.style.walkers)), 9))]
            cyclists = max(int(rng.poisson(town.style.cyclists)), int((i + j) % 3 == 0))  # never none for long
            people += [("bicyclist", k + 9) for k in range(min(cyclists, 2))]
            for kind, k in people:
                instance = ROUND_BASE + ((i * 31 + j * 17) % 1000) * 12 + k
                actors.append(_round_block(rng, kind, instance, (i + 0.5, j + 0.5), town, time_s))
    return actors


def _round_block(
    rng: np.random.Generator, kind: str, instance: int, middle: tuple[float, float], town: Town, time_s: float
) -> Actor:
    spacing = town.style.spacing_m
    walks = kind == "person"
    aside = (town.style.sidewalk_m + town.style.lot_m) / 2 + rng.uniform(-0.4, 0.5) if walks else CYCLE_M
    speed = rng.uniform(1.0, 1.6) if walks else rng.uniform(3.5, 5.0)
    clockwise = not walks or rng.random() < 0.5  # traffic keeps right, so cyclists ride clockwise
    start, half = rng.uniform(0, 4 * spacing), spacing / 2 - aside
    gone = speed * time_s + start
    dx, dy, yaw = _rounded_square(gone if not clockwise else -gone, half, 0.6 if walks else 3.6)
    yaw += math.pi if clockwise else 0.0
    return Actor(kind, instance, instance, middle[0] * spacing + dx, middle[1] * spacing + dy, yaw, gone)


def _rounded_square(s_m: float, half_m: float, radius_m: float) -> tuple[float, float, float]:
    """Place and heading after s metres anticlockwise round a square with round corners."""
    straight, arc = 2 * (half_m - radius_m), radius_m * math.pi / 2
    side, rest = divmod(s_m % (4 * (straight + arc)), straight + arc)
    if rest < straight:
        x, y, yaw = half_m, rest - straight / 2, math.pi / 2
    else:
        angle = (rest - straight) / radius_m
        x, y = half_m - radius_m * (1 - math.cos(angle)), straight / 2 + radius_m * math.sin(angle)
        yaw = math.pi / 2 + angle
    turn = side * math.pi / 2
    c, s = math.cos(turn), math.sin(turn)
    return c * x - s * y, s * x + c * y, yaw + turn


def crossing_people(town: Town, crossings: list[Crossing], time_s: float) -> list[Actor]:
    """People who cross at a pedestrians' green, coming along the sidewalk and walking on along it."""
    actors = []
    for number, crossing in enumerate(crossings):
        if not -20 < time_s - crossing.start_s < CROSSING_S + 12:
            continue
        rng = np.random.default_rng(np.random.SeedSequence([town.seed, 7, number]))
        first = CROSSING_BASE + number * 8 % 3000
        actors += [
            _crossing_person(rng, town, crossing, first + k, time_s) for k in range(1 + min(int(rng.poisson(0.5)), 6))
        ]
    return actors


def _crossing_person(rng: np.random.Generator, town: Town, crossing: Crossing, instance: int, time_s: float) -> Actor:
    arm, speed = int(rng.integers(4)), float(rng.uniform(1.75, 2.0))
    side, delay = float(rng.choice([-1, 1])), float(rng.uniform(0.0, 0.4))
    out = 7.7 + float(rng.uniform(0.0, 0.7))
    late = time_s - crossing.start_s - delay
    curb = town.style.curb_m + 0.5
    walked = -curb + speed * late if late > 0 else min(-curb + speed * (late + 3.0), -curb)
    (dx, dy), (rx, ry) = DIRECTIONS[arm], right_of(arm)
    spacing = town.style.spacing_m
    x = crossing.junction[0] * spacing + dx * out + rx * side * walked
    y = crossing.junction[1] * spacing + dy * out + ry * side * walked
    return Actor("person", instance, instance, x, y, math.atan2(side * ry, side * rx), walked)


@dataclass(frozen=True)
class Cast:
    """The moving meshes of one town."""

    town: Town
    walkers: tuple[tuple[Mesh, ...], ...]

    @classmethod
    def build(cls, town: Town) -> Cast:
        """Five phases of gait for each of eight walkers."""
        rng = np.random.default_rng(np.random.SeedSequence([town.seed, 8]))
        people = []
        for k in range(8):
            height, bulk = float(rng.uniform(1.2, 1.95)), float(rng.uniform(0.85, 1.25))
            people.append(tuple(person(CLOTHES[k % len(CLOTHES)], phase, height, bulk) for phase in GAIT))
        return cls(town, tuple(people))

    def mesh(self, actors: list[Actor]) -> Mesh:
        """All actors in one mesh, in world coordinates, with the classes of moving things."""
        if not actors:
            return join([])
        ground = self.town.ground
        plan = np.array([(a.x, a.y) for a in actors])
        poses = standing_on(ground, plan, np.array([a.yaw for a in actors]))
        poses[:, 2, 3] += ground.above_road(plan)
        return join([self._model(a).moved_by(pose) for a, pose in zip(actors, poses, strict=True)])

    def _model(self, actor: Actor) -> Mesh:
        if actor.kind == "person":
            gait = self.walkers[actor.model % len(self.walkers)]
            model = gait[round((math.sin(actor.step_m * math.pi / STEP_M) + 1) * 2)]
        else:
            models = self.town.library.figures[actor.kind]
            model = models[actor.model % len(models)]
        raw = int(model.semantic[0]) if len(model) else int(Raw.UNLABELED)
        return model.labelled(MOVING[raw], actor.instance)
