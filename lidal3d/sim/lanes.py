# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""The pieces vehicles drive on, in plan coordinates: straight lanes between junctions, and turns across them."""

from __future__ import annotations

import math
from dataclasses import dataclass

LANE_M = 1.7  # lane middle, right of the street's middle
CYCLE_M = 3.5  # where cyclists ride
STRIP_M = 4.0  # where the strip along the curb begins, which is for parking or for grass
BOX_M = 10.0  # stop lines, from the junction's middle
DIRECTIONS = ((1, 0), (0, 1), (-1, 0), (0, -1))
STRAIGHT, LEFT, RIGHT = 0, 1, 3  # added to a direction, modulo 4
TURN_RADIUS_M = {LEFT: BOX_M + LANE_M, RIGHT: BOX_M - LANE_M}
Pose = tuple[float, float, float]  # x, y, yaw


def right_of(direction: int) -> tuple[int, int]:
    """Unit vector to the right of a direction."""
    dx, dy = DIRECTIONS[direction]
    return dy, -dx


@dataclass(frozen=True)
class Lane:
    """The lane from the stop-line distance behind one junction to the stop line of the next one."""

    start: tuple[int, int]
    direction: int
    spacing_m: float

    @property
    def length_m(self) -> float:
        """Length between the two junction boxes."""
        return self.spacing_m - 2 * BOX_M

    @property
    def end(self) -> tuple[int, int]:
        """The junction it leads to."""
        dx, dy = DIRECTIONS[self.direction]
        return self.start[0] + dx, self.start[1] + dy

    def pose(self, s_m: float) -> Pose:
        """Place and heading after s metres."""
        dx, dy = DIRECTIONS[self.direction]
        rx, ry = right_of(self.direction)
        ahead = BOX_M + s_m
        x = self.start[0] * self.spacing_m + dx * ahead + rx * LANE_M
        y = self.start[1] * self.spacing_m + dy * ahead + ry * LANE_M
        return x, y, self.direction * math.pi / 2

    def turn(self, way: int) -> Turn:
        """The way across the junction at its end: STRAIGHT, LEFT or RIGHT."""
        return Turn(self.end, self.direction, way, self.spacing_m)


@dataclass(frozen=True)
class Turn:
    """The way across a junction."""

    junction: tuple[int, int]
    direction: int
    way: int
    spacing_m: float

    @property
    def length_m(self) -> float:
        """Straight across, or a quarter circle."""
        return 2 * BOX_M if self.way == STRAIGHT else TURN_RADIUS_M[self.way] * math.pi / 2

    def next_lane(self) -> Lane:
        """The lane it leads into."""
        return Lane(self.junction, (self.direction + self.way) % 4, self.spacing_m)

    def pose(self, s_m: float) -> Pose:
        """Place and heading after s metres."""
        dx, dy = DIRECTIONS[self.direction]
        rx, ry = right_of(self.direction)
        x = self.junction[0] * self.spacing_m - dx * BOX_M + rx * LANE_M
        y = self.junction[1] * self.spacing_m - dy * BOX_M + ry * LANE_M
        yaw = self.direction * math.pi / 2
        if self.way == STRAIGHT:
            return x + dx * s_m, y + dy * s_m, yaw
        radius, side = TURN_RADIUS_M[self.way], (1 if self.way == LEFT else -1)
        angle = s_m / radius
        ahead, aside = radius * math.sin(angle), side * radius * (1 - math.cos(angle))
        return x + dx * ahead - rx * aside, y + dy * ahead - ry * aside, yaw + side * angle


Piece = Lane | Turn
