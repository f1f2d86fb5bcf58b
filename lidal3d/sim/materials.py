# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Surface materials (what a laser sees of them) and the raw SemanticKITTI ids that surfaces carry."""

from __future__ import annotations

import enum

import numpy as np


class Raw(enum.IntEnum):
    """Raw SemanticKITTI ids used by the simulator (Behley et al., ICCV 2019)."""

    UNLABELED = 0
    CAR = 10
    BICYCLE = 11
    BUS = 13
    MOTORCYCLE = 15
    TRUCK = 18
    OTHER_VEHICLE = 20
    PERSON = 30
    BICYCLIST = 31
    MOTORCYCLIST = 32
    ROAD = 40
    PARKING = 44
    SIDEWALK = 48
    OTHER_GROUND = 49
    BUILDING = 50
    FENCE = 51
    OTHER_STRUCTURE = 52
    LANE_MARKING = 60
    VEGETATION = 70
    TRUNK = 71
    TERRAIN = 72
    POLE = 80
    TRAFFIC_SIGN = 81
    OTHER_OBJECT = 99
    MOVING_CAR = 252
    MOVING_BICYCLIST = 253
    MOVING_PERSON = 254
    MOVING_MOTORCYCLIST = 255
    MOVING_BUS = 257
    MOVING_TRUCK = 258
    MOVING_OTHER_VEHICLE = 259


MOVING: dict[int, int] = {
    Raw.CAR: Raw.MOVING_CAR,
    Raw.BICYCLIST: Raw.MOVING_BICYCLIST,
    Raw.PERSON: Raw.MOVING_PERSON,
    Raw.MOTORCYCLIST: Raw.MOVING_MOTORCYCLIST,
    Raw.BUS: Raw.MOVING_BUS,
    Raw.TRUCK: Raw.MOVING_TRUCK,
    Raw.OTHER_VEHICLE: Raw.MOVING_OTHER_VEHICLE,
}


class Material(enum.IntEnum):
    """What a surface is made of."""

    ASPHALT = 0
    PAINT = 1
    CONCRETE = 2
    GRASS = 3
    PLASTER = 4
    GLASS = 5
    METAL = 6
    RUBBER = 7
    LEAF = 8
    BARK = 9
    CLOTH = 10
    RETRO = 11
    WOOD = 12
    ROOF = 13
    GRAVEL = 14


# One row a material, in the order above: reflectance 0-1 at normal incidence, share of pulses lost in or through the
# surface whatever the range (glass, gloss), depth in metres over which a pulse scatters (grass, leaves).
_TABLE = np.array(
    [
        [0.18, 0.01, 0.000],
        [0.60, 0.01, 0.000],
        [0.33, 0.01, 0.000],
        [0.32, 0.03, 0.025],
        [0.42, 0.01, 0.000],
        [0.07, 0.70, 0.000],
        [0.38, 0.08, 0.000],
        [0.05, 0.15, 0.000],
        [0.38, 0.08, 0.040],
        [0.28, 0.02, 0.010],
        [0.35, 0.02, 0.010],
        [0.98, 0.00, 0.000],
        [0.40, 0.02, 0.000],
        [0.24, 0.02, 0.000],
        [0.27, 0.02, 0.010],
    ],
    dtype=np.float32,
)
REFLECTANCE, LOSS, SCATTER_M = _TABLE.T.copy()
