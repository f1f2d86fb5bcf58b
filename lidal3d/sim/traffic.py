# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Traffic on the street grid, the ego vehicle included: car following, traffic lights, pedestrians' green.

Vehicles follow each other by the intelligent driver model (Treiber, Hennecke, Helbing 2000, eq. 1-3). A light gives one
approach green at a time and stays red for all until the junction is empty, so no two paths cross.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from lidal3d.sim.lanes import LEFT, RIGHT, STRAIGHT, Lane, Piece, Pose, Turn
from lidal3d.sim.styles import TownStyle

HALF_LENGTH_M = {"car": 2.5, "truck": 4.6, "bus": 6.1, "tractor": 2.0, "motorcyclist": 1.1}
# Kinds are dealt from shuffled decks; the first deck begins with the rare ones, so every drive meets them.
FIRST_DECK = ("car", "car", "tractor", "car", "motorcyclist", "truck", "car", "bus")
DECK = ("car",) * 30 + ("motorcyclist",) * 4 + ("truck", "bus", "tractor")
ACCELERATION, BRAKING, HEADWAY_S, STANDSTILL_M = 1.6, 2.2, 1.2, 1.8
TURN_SPEED = {STRAIGHT: 99.0, LEFT: 5.0, RIGHT: 4.2}
SPAWN_M = (92.0, 125.0)
CROSSING_S, CROSSING_EVERY_S, CLEAR_S, GREEN_S = 8.5, 60.0, 1.5, 6.0


@dataclass
class Vehicle:
    """One vehicle: where on its piece it is, how fast, and where it goes next."""

    number: int
    kind: str
    piece: Piece
    s_m: float
    speed: float
    cruise: float
    way: int
    acceleration: float = 0.0

    @property
    def half_m(self) -> float:
        """Half its length."""
        return HALF_LENGTH_M[self.kind]

    def pose(self) -> Pose:
        """Plan place and heading."""
        return self.piece.pose(self.s_m)


@dataclass
class Junction:
    """The light of one junction."""

    next_crossing_s: float
    green: int | None = None
    since_s: float = -9.0
    crossing_until_s: float = -1.0


@dataclass(frozen=True)
class Crossing:
    """Pedestrians' green at a junction."""

    junction: tuple[int, int]
    start_s: float


@dataclass(frozen=True)
class State:
    """A vehicle at one step."""

    number: int
    kind: str
    x: float
    y: float
    yaw: float
    speed: float
    acceleration: float


@dataclass
class Traffic:
    """Runs all vehicles within 130 m of vehicle 0, the ego vehicle."""

    style: TownStyle
    seed: int
    vehicles: list[Vehicle] = field(default_factory=list)
    junctions: dict[tuple[int, int], Junction] = field(default_factory=dict)
    crossings: list[Crossing] = field(default_factory=list)
    time_s: float = 0.0
    born: int = 0
    deck: list[str] = field(default_factory=lambda: list(FIRST_DECK[::-1]))

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(np.random.SeedSequence([self.seed, 3]))
        lane = Lane((0, 0), int(self.rng.integers(4)), self.style.spacing_m)
        # The drive begins in view of a red light at which the ego vehicle will stop, and then turns.
        self.junctions[lane.end] = Junction(CROSSING_EVERY_S, crossing_until_s=9.2)
        self.crossings.append(Crossing(lane.end, 9.2 - CROSSING_S))
        self._add("car", lane, lane.length_m - 29.0, 7.0, LEFT if self.rng.random() < 0.5 else RIGHT)
        for kind, s_m in (("car", 13.0), ("motorcyclist", 2.0)):  # and with oncoming traffic
            self._add(kind, Lane(lane.end, (lane.direction + 2) % 4, self.style.spacing_m), s_m, 7.0, STRAIGHT)
        for _ in range(40):
            self._populate(15.0)

    def step(self, dt_s: float) -> list[State]:
        """Advance by dt and return every vehicle, the ego vehicle first."""
        by_piece: dict[Piece, list[Vehicle]] = {}
        for vehicle in self.vehicles:
            by_piece.setdefault(vehicle.piece, []).append(vehicle)
        self._lights(by_piece)
        for vehicle in self.vehicles:
            vehicle.acceleration = self._acceleration(vehicle, by_piece)
        for vehicle in self.vehicles:
            self._move(vehicle, dt_s)
        ego_x, ego_y, _ = self.vehicles[0].pose()
        self.vehicles = [
            v for v in self.vehicles if math.dist(v.pose()[:2], (ego_x, ego_y)) < SPAWN_M[1] + 5 or v.number == 0
        ]
        self._populate(SPAWN_M[0])
        self.time_s += dt_s
        return self.states()

    def states(self) -> list[State]:
        """Every vehicle as it is now."""
        return [State(v.number, v.kind, *v.pose(), v.speed, v.acceleration) for v in self.vehicles]

    # --- vehicles -------------------------------------------------------------------------------------------------

    def _add(self, kind: str, lane: Lane, s_m: float, speed: float, way: int) -> None:
        limit = 8.6 if self.style.name == "suburb" else 9.6
        cruise = limit * float(self.rng.uniform(0.88, 1.12)) * (0.85 if kind in ("truck", "bus") else 1.0)
        self.vehicles.append(Vehicle(self.born, kind, lane, s_m, speed, cruise, way))
        self.born += 1

    def _populate(self, nearest_m: float) -> None:
        """Let a new vehicle begin out of sight, where its lane is free."""
        if len(self.vehicles) > self.style.vehicles:
            return
        x, y, _ = self.vehicles[0].pose()
        spacing, rng = self.style.spacing_m, self.rng
        start = (round(x / spacing) + int(rng.integers(-2, 3)), round(y / spacing) + int(rng.integers(-2, 3)))
        lane = Lane(start, int(rng.integers(4)), spacing)
        s = float(rng.uniform(8, lane.length_m - 22))
        way = int(rng.choice([STRAIGHT, LEFT, RIGHT], p=[0.5, 0.2, 0.3]))
        distance = math.dist(lane.pose(s)[:2], (x, y))
        free = all(v.piece != lane or abs(v.s_m - s) > 18 for v in self.vehicles)
        if nearest_m < distance < SPAWN_M[1] and free:
            if not self.deck:
                self.deck = [str(kind) for kind in rng.permutation(DECK)]
            self._add(self.deck.pop(), lane, s, 6.0, way)

    def _move(self, vehicle: Vehicle, dt_s: float) -> None:
        speed = max(0.0, vehicle.speed + vehicle.acceleration * dt_s)
        vehicle.s_m += 0.5 * (vehicle.speed + speed) * dt_s
        vehicle.acceleration = (speed - vehicle.speed) / dt_s
        vehicle.speed = speed
        while vehicle.s_m >= vehicle.piece.length_m:
            vehicle.s_m -= vehicle.piece.length_m
            if isinstance(vehicle.piece, Lane):
                vehicle.piece = vehicle.piece.turn(vehicle.way)
            else:
                vehicle.piece = vehicle.piece.next_lane()
                vehicle.way = int(self.rng.choice([STRAIGHT, LEFT, RIGHT], p=[0.4, 0.28, 0.32]))

    def _acceleration(self, vehicle: Vehicle, by_piece: dict[Piece, list[Vehicle]]) -> float:
        """IDM towards the nearest of: the vehicle ahead, a stop line that is closed; slowing down for turns."""
        target = vehicle.cruise
        gap, other_speed = self._leader(vehicle, by_piece)
        piece = vehicle.piece
        if isinstance(piece, Turn):
            target = min(target, TURN_SPEED[piece.way])
        else:
            rest = piece.length_m - vehicle.s_m
            target = min(target, math.sqrt(TURN_SPEED[vehicle.way] ** 2 + 2 * 1.5 * max(rest, 0.0)))
            stop_gap = rest - vehicle.half_m - 0.4
            if not self._may_enter(vehicle, piece, stop_gap, by_piece) and stop_gap < gap:
                gap, other_speed = max(stop_gap + STANDSTILL_M - 0.3, 0.05), 0.0
        return idm(vehicle.speed, target, gap, vehicle.speed - other_speed)

    def _leader(self, vehicle: Vehicle, by_piece: dict[Piece, list[Vehicle]]) -> tuple[float, float]:
        """Bumper-to-bumper gap to the vehicle ahead on the way, and its speed; (inf, 0) for none within 60 m."""
        piece, offset, way = vehicle.piece, -vehicle.s_m, vehicle.way
        for _ in range(3):
            ahead = [v for v in by_piece.get(piece, ()) if v is not vehicle and v.s_m + offset > 0]
            if ahead:
                first = min(ahead, key=lambda v: (v.s_m, v.number))
                return max(first.s_m + offset - first.half_m - vehicle.half_m, 0.05), first.speed
            offset += piece.length_m
            piece = piece.turn(way) if isinstance(piece, Lane) else piece.next_lane()
            if offset > 60:
                break
        return math.inf, 0.0

    # --- lights ---------------------------------------------------------------------------------------------------

    def _junction(self, place: tuple[int, int]) -> Junction:
        if place not in self.junctions:
            seed = np.random.SeedSequence([self.seed, 4, place[0] + 2**20, place[1] + 2**20])
            first = np.random.default_rng(seed).uniform(0, CROSSING_EVERY_S)
            beat = math.ceil((self.time_s - first) / CROSSING_EVERY_S)
            self.junctions[place] = Junction(float(first + beat * CROSSING_EVERY_S))
        return self.junctions[place]

    def _may_enter(self, vehicle: Vehicle, lane: Lane, gap_m: float, by_piece: dict[Piece, list[Vehicle]]) -> bool:
        """Green, or too late to stop; and room behind the junction."""
        if gap_m < 0 or vehicle.speed**2 / (2 * 4.5) > gap_m:
            return True
        behind = by_piece.get(lane.turn(vehicle.way).next_lane(), [])
        room = all(v.s_m - v.half_m > 2 * vehicle.half_m + 3 or v.speed > 3 for v in behind)
        return self._junction(lane.end).green == lane.direction and room

    def _lights(self, by_piece: dict[Piece, list[Vehicle]]) -> None:
        waiting: dict[tuple[int, int], dict[int, float]] = {}
        inside: set[tuple[int, int]] = set()
        for piece, vehicles in sorted(by_piece.items(), key=lambda item: min(v.number for v in item[1])):
            if isinstance(piece, Turn):
                inside.add(piece.junction)
                continue
            rest = min(piece.length_m - v.s_m for v in vehicles)
            if rest < 32:
                waiting.setdefault(piece.end, {})[piece.direction] = rest
            if any(v.s_m - v.half_m < 0 for v in vehicles):
                inside.add(piece.start)
        for place in sorted(set(waiting) | inside | set(self.junctions)):
            self._light(place, self._junction(place), waiting.get(place, {}), place in inside)

    def _light(self, place: tuple[int, int], light: Junction, waiting: dict[int, float], occupied: bool) -> None:
        now = self.time_s
        if light.green is not None:
            others = any(direction != light.green for direction in waiting)
            overdue = now - light.since_s > (GREEN_S if others else 1e9) or now >= light.next_crossing_s
            if overdue or (light.green not in waiting and others):
                light.green, light.since_s = None, now
        elif now >= light.crossing_until_s and not occupied and now - light.since_s >= CLEAR_S:
            if now >= light.next_crossing_s:
                light.crossing_until_s = now + CROSSING_S
                light.next_crossing_s += CROSSING_EVERY_S * math.ceil(
                    (now - light.next_crossing_s + 1) / CROSSING_EVERY_S
                )
                self.crossings.append(Crossing(place, now))
            elif waiting:
                light.green, light.since_s = min(waiting, key=lambda d: (waiting[d], d)), now


def idm(speed: float, target: float, gap_m: float, closing: float) -> float:
    """Acceleration of the intelligent driver model, m/s², cut at -6."""
    free = 1 - (speed / max(target, 0.1)) ** 4
    wanted = STANDSTILL_M + max(0.0, speed * HEADWAY_S + speed * closing / (2 * math.sqrt(ACCELERATION * BRAKING)))
    return max(ACCELERATION * (max(free, -2.0) - (wanted / gap_m) ** 2), -6.0)
