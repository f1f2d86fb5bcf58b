# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Two towns, for experiments between a source and a target domain: they differ in shapes, densities and colours."""

from __future__ import annotations

from dataclasses import dataclass

from lidal3d.sim.shapes import Color


@dataclass(frozen=True)
class TownStyle:
    """Everything that makes a town look its own way. Distances in metres, from a street's centre line.

    Attributes:
        spacing_m: distance between junctions; a multiple of 0.4.
        curb_m, sidewalk_m, lot_m: curb, inner edge of the sidewalk, first metre of the lots; multiples of 0.2.
        relief_m: height of the rolling ground; bend_m: how far streets swerve.
        house_height_m: least and greatest wall height.
        gable_share: share of buildings with a pitched roof.
        vacant_share: share of street lots with no building.
        trees, bushes: mean numbers a quadrant (a quarter of the land round a junction).
        street_trees_every_m, lamps_every_m: spacing along the streets.
        hedge_share, fence_share: share of lot edges with a hedge, with a fence.
        parked_share: share of street-side parking spaces taken.
        car_variants: names of `figures.CAR_PROFILES` that drive here.
        vehicles: moving vehicles within 125 m.
        walkers, cyclists: mean numbers round a block.
        verge_share: share of the strips along the curbs where nobody may park: grass in the suburb.
        marked_parking_share: share of the strips that are marked as parking (else they count as road).
        verge_is_grass: whether a strip without parking is grass (else it is road).
    """

    name: str
    spacing_m: float
    curb_m: float
    sidewalk_m: float
    lot_m: float
    relief_m: float
    bend_m: float
    house_height_m: tuple[float, float]
    gable_share: float
    vacant_share: float
    trees: float
    bushes: float
    street_trees_every_m: float
    conifer_share: float
    lamps_every_m: float
    hedge_share: float
    fence_share: float
    parked_share: float
    verge_share: float
    marked_parking_share: float
    verge_is_grass: bool
    median_share: float
    car_variants: tuple[str, ...]
    vehicles: int
    walkers: float
    cyclists: float
    wall_colors: tuple[Color, ...]
    roof_colors: tuple[Color, ...]
    sky_color: Color


SUBURB = TownStyle(
    name="suburb", spacing_m=96.0, curb_m=6.0, sidewalk_m=7.2, lot_m=9.2, relief_m=1.6, bend_m=4.0,
    house_height_m=(3.0, 6.5), gable_share=0.85, vacant_share=0.36, trees=15.0, bushes=38.0, street_trees_every_m=9.0,
    conifer_share=0.25, lamps_every_m=33.0, hedge_share=0.5, fence_share=0.36, parked_share=0.48,
    verge_share=0.45, marked_parking_share=0.08, verge_is_grass=True,
    median_share=0.25, car_variants=("sedan", "hatchback", "estate", "suv"), vehicles=9,
    walkers=0.4, cyclists=0.3,
    wall_colors=((205, 190, 165), (182, 120, 96), (222, 218, 205), (170, 160, 140), (196, 172, 130)),
    roof_colors=((130, 62, 48), (92, 82, 78), (110, 74, 60)), sky_color=(150, 190, 235),
)  # fmt: skip

DOWNTOWN = TownStyle(
    name="downtown", spacing_m=88.0, curb_m=6.0, sidewalk_m=6.0, lot_m=10.4, relief_m=0.7, bend_m=2.0,
    house_height_m=(9.0, 26.0), gable_share=0.12, vacant_share=0.18, trees=4.0, bushes=9.0, street_trees_every_m=9.0,
    conifer_share=0.0, lamps_every_m=24.0, hedge_share=0.18, fence_share=0.3, parked_share=0.55,
    verge_share=0.3, marked_parking_share=0.2, verge_is_grass=False,
    median_share=0.5, car_variants=("sedan", "hatchback", "suv", "pickup", "minivan"),
    vehicles=16, walkers=1.0, cyclists=0.4,
    wall_colors=((150, 152, 158), (120, 96, 84), (186, 180, 170), (104, 110, 120), (160, 132, 112)),
    roof_colors=((84, 84, 88), (100, 98, 94)), sky_color=(188, 200, 212),
)  # fmt: skip

STYLES: dict[str, TownStyle] = {"suburb": SUBURB, "downtown": DOWNTOWN}
