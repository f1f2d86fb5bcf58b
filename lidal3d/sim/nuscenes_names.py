# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""nuScenes' official category list in its lidarseg order, its fixed tables, and the simulator's ids in its terms."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lidal3d.sim.materials import MOVING, Raw

# The place in this tuple is the id in a lidarseg file (nuScenes-lidarseg, Fong et al. 2021).
CATEGORIES = (
    "noise", "animal", "human.pedestrian.adult", "human.pedestrian.child", "human.pedestrian.construction_worker",
    "human.pedestrian.personal_mobility", "human.pedestrian.police_officer", "human.pedestrian.stroller",
    "human.pedestrian.wheelchair", "movable_object.barrier", "movable_object.debris",
    "movable_object.pushable_pullable", "movable_object.trafficcone", "static_object.bicycle_rack", "vehicle.bicycle",
    "vehicle.bus.bendy", "vehicle.bus.rigid", "vehicle.car", "vehicle.construction", "vehicle.emergency.ambulance",
    "vehicle.emergency.police", "vehicle.motorcycle", "vehicle.trailer", "vehicle.truck", "flat.driveable_surface",
    "flat.other", "flat.sidewalk", "flat.terrain", "static.manmade", "static.other", "static.vegetation", "vehicle.ego",
)  # fmt: skip

ATTRIBUTES = (
    "vehicle.moving", "vehicle.stopped", "vehicle.parked", "cycle.with_rider", "cycle.without_rider",
    "pedestrian.sitting_lying_down", "pedestrian.standing", "pedestrian.moving",
)  # fmt: skip

VISIBILITIES = (("1", "v0-40"), ("2", "v40-60"), ("3", "v60-80"), ("4", "v80-100"))

# Riders belong to their cycle in nuScenes, parking to the driveable surface, trunks to the vegetation.
_CATEGORY_OF: dict[int, str] = {
    Raw.UNLABELED: "noise",
    Raw.CAR: "vehicle.car",
    Raw.BICYCLE: "vehicle.bicycle",
    Raw.BUS: "vehicle.bus.rigid",
    Raw.MOTORCYCLE: "vehicle.motorcycle",
    Raw.TRUCK: "vehicle.truck",
    Raw.OTHER_VEHICLE: "vehicle.trailer",
    Raw.PERSON: "human.pedestrian.adult",
    Raw.BICYCLIST: "vehicle.bicycle",
    Raw.MOTORCYCLIST: "vehicle.motorcycle",
    Raw.ROAD: "flat.driveable_surface",
    Raw.PARKING: "flat.driveable_surface",
    Raw.LANE_MARKING: "flat.driveable_surface",
    Raw.SIDEWALK: "flat.sidewalk",
    Raw.OTHER_GROUND: "flat.other",
    Raw.TERRAIN: "flat.terrain",
    Raw.BUILDING: "static.manmade",
    Raw.FENCE: "static.manmade",
    Raw.OTHER_STRUCTURE: "static.manmade",
    Raw.POLE: "static.manmade",
    Raw.TRAFFIC_SIGN: "static.manmade",
    Raw.OTHER_OBJECT: "static.other",
    Raw.VEGETATION: "static.vegetation",
    Raw.TRUNK: "static.vegetation",
}


def _table() -> npt.NDArray[np.uint8]:
    table = np.zeros(max(Raw) + 1, dtype=np.uint8)
    for raw, name in _CATEGORY_OF.items():
        table[raw] = table[MOVING.get(raw, raw)] = CATEGORIES.index(name)
    return table


LIDARSEG_OF_RAW = _table()
