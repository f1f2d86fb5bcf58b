# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""What stands along streets: trees, bushes, hedges, fences, lamps, signs, traffic lights, bins, shelters, houses."""

from __future__ import annotations

import numpy as np

from lidal3d.sim.materials import Material, Raw
from lidal3d.sim.shapes import Color, Mesh, Solid, blob, box, join, leaves, loft, merge, tube

GREENS: tuple[Color, ...] = ((58, 96, 40), (74, 110, 48), (48, 84, 46), (96, 118, 56))
BARK: Color = (92, 72, 54)
STEEL: Color = (128, 132, 134)


def tree(rng: np.random.Generator, conifer: bool) -> Mesh:
    """A tree about 7 m high: tapered, slightly bent trunk (class trunk), limbs and a porous crown (vegetation)."""
    green = GREENS[int(rng.integers(len(GREENS)))]
    lean = rng.uniform(-0.25, 0.25, 2)
    fork = 2.0 if conifer else rng.uniform(1.6, 2.6)
    bend = (lean[0], lean[1], fork)
    trunk = [tube((0, 0, -0.4), bend, rng.uniform(0.15, 0.26), 0.12, 8)]
    if conifer:
        trunk.append(tube(bend, (lean[0], lean[1], 5.5), 0.12, 0.04, 6))
        crown = [leaves(70, (1.9 - 0.28 * k, 1.9 - 0.28 * k, 0.6), (*lean, 1.5 + 1.0 * k), 0.34, rng) for k in range(6)]
        crown += [tube((*lean, 1.7 + 1.3 * k), (*lean, 3.4 + 1.3 * k), 1.1 - 0.25 * k, 0.1, 7) for k in range(4)]
    else:
        crown = []
        for angle in rng.uniform(0, 2 * np.pi) + 2 * np.pi / 4 * np.arange(4):
            reach = rng.uniform(0.9, 1.6)
            tip = (lean[0] + reach * np.cos(angle), lean[1] + reach * np.sin(angle), fork + rng.uniform(0.5, 2.0))
            trunk.append(tube(bend, tip, 0.09, 0.03, 5))
            crown.append(blob(rng.uniform(0.7, 1.05), tip, 0.35, rng))
            crown.append(leaves(90, (1.8, 1.8, 1.5), tip, 0.3, rng))
        crown.append(leaves(110, (1.8, 1.8, 1.6), (lean[0], lean[1], fork + 2.6), 0.3, rng))
    return join(
        [
            merge(trunk).painted(Raw.TRUNK, Material.BARK, BARK),
            merge(crown).painted(Raw.VEGETATION, Material.LEAF, green),
        ]
    )


def bush(rng: np.random.Generator) -> Mesh:
    """A shrub about 1.4 m high, or a patch of tall weeds."""
    green = GREENS[int(rng.integers(len(GREENS)))]
    if rng.random() < 0.35:
        return leaves(160, (1.3, 1.0, 0.35), (0, 0, 0.25), 0.16, rng).painted(Raw.VEGETATION, Material.LEAF, green)
    radius = rng.uniform(0.5, 0.9)
    solids = [blob((radius * 0.8, radius * 0.8, 0.5), (0, 0, 0.45), 0.35, rng)]
    solids.append(leaves(64, (radius, radius, 0.7), (0, 0, 0.65), 0.22, rng))
    return merge(solids).painted(Raw.VEGETATION, Material.LEAF, green)


def hedge(length_m: float, rng: np.random.Generator, height_m: float, width_m: float = 0.7) -> Mesh:
    """A clipped hedge along x: as flat as a wall, but rough."""
    core = box((length_m, width_m * 0.7, height_m), (0, 0, height_m / 2 - 0.2))
    size = (length_m / 2, width_m / 2, height_m / 2)
    cover = leaves(int(42 * length_m), size, (0, 0, height_m / 2), 0.17, rng, cuboid=True)
    return merge([core, cover]).painted(Raw.VEGETATION, Material.LEAF, GREENS[int(rng.integers(len(GREENS)))])


def fence(length_m: float, kind: int, rng: np.random.Generator) -> Mesh:
    """A fence along x: 0 pickets, 1 closed boards, 2 rails, 3 a low wall with bars."""
    if kind == 0:
        along = np.arange(0.1, length_m, 0.26) - length_m / 2
        solids = [box((0.12, 0.03, 1.35), (x, 0, 0.42)) for x in along]
        solids += [box((length_m, 0.06, 0.1), (0, 0.04, z)) for z in (0.35, 0.9)]
        return merge(solids).painted(Raw.FENCE, Material.WOOD, (196, 190, 176))
    if kind == 1:
        height = rng.uniform(1.5, 2.1)
        boards = box((length_m, 0.05, height + 0.3), (0, 0, height / 2 - 0.15))
        posts = merge([box((0.12, 0.12, height + 0.5), (x * length_m / 2, 0, height / 2 - 0.15)) for x in (-1, 1)])
        return merge([boards, posts]).painted(Raw.FENCE, Material.WOOD, (124, 96, 70))
    if kind == 2:
        solids = [box((length_m, 0.05, 0.09), (0, 0, z)) for z in (0.35, 0.65, 0.95)]
        solids += [tube((x, 0, -0.4), (x, 0, 1.05), 0.05, sides=6) for x in np.arange(0, length_m, 1.5) - length_m / 2]
        return merge(solids).painted(Raw.FENCE, Material.METAL, (70, 74, 76))
    wall = box((length_m, 0.22, 1.1), (0, 0, 0.2))
    bars = merge([box((0.05, 0.05, 0.8), (x, 0, 1.1)) for x in np.arange(0.1, length_m, 0.3) - length_m / 2])
    return join(
        [
            wall.painted(Raw.FENCE, Material.CONCRETE, (164, 158, 148)),
            bars.painted(Raw.FENCE, Material.METAL, (48, 50, 52)),
        ]
    )


def lamp(height_m: float, wooden: bool) -> Mesh:
    """A street lamp with its arm towards +x, or a wooden power pole: as thick as a young trunk."""
    if wooden:
        pole = [tube((0, 0, -0.4), (0, 0, height_m), 0.14, 0.1, 8), box((0.12, 1.6, 0.12), (0, 0, height_m - 0.5))]
        return merge(pole).painted(Raw.POLE, Material.BARK, (104, 84, 64))
    pole = [tube((0, 0, -0.4), (0, 0, height_m), 0.09, 0.05, 8)]
    pole += [tube((0, 0, height_m), (1.6, 0, height_m + 0.25), 0.04, sides=5)]
    pole.append(box((0.6, 0.22, 0.1), (1.7, 0, height_m + 0.22)))
    return merge(pole).painted(Raw.POLE, Material.METAL, STEEL)


def sign(kind: int) -> Mesh:
    """A traffic sign facing -x: 0 disc, 1 triangle, 2 rectangle, 3 street name; plate and post are two classes."""
    post = tube((0, 0, -0.4), (0, 0, 2.7), 0.035, sides=6)
    if kind == 0:
        plate, color = tube((-0.05, 0, 2.35), (-0.08, 0, 2.35), 0.35, sides=12), (190, 30, 36)
    elif kind == 1:
        plate, color = tube((-0.05, 0, 2.35), (-0.08, 0, 2.35), 0.48, sides=3), (225, 200, 60)
    elif kind == 2:
        plate, color = box((0.03, 0.6, 0.85), (-0.06, 0, 2.25)), (40, 80, 170)
    else:
        plate, color = box((0.03, 1.1, 0.25), (-0.06, 0.3, 2.6)), (230, 230, 230)
    return join(
        [
            plate.painted(Raw.TRAFFIC_SIGN, Material.RETRO, color),
            post.painted(Raw.POLE, Material.METAL, STEEL),
        ]
    )


def traffic_light() -> Mesh:
    """A signal post with its head; the head is no evaluated class."""
    post = tube((0, 0, -0.4), (0, 0, 3.3), 0.07, sides=8)
    head = box((0.25, 0.32, 0.9), (-0.2, 0, 2.9))
    return join(
        [
            post.painted(Raw.POLE, Material.METAL, (60, 62, 60)),
            head.painted(Raw.OTHER_OBJECT, Material.METAL, (30, 34, 30)),
        ]
    )


def clutter(kind: int, rng: np.random.Generator) -> Mesh:
    """0 wheeled bins, 1 a bench, 2 boxes, 3 a bollard (a pole), 4 a bus shelter, 5 a planter with a shrub."""
    if kind == 0:
        return merge([box((0.6, 0.6, 1.05), (x, 0, 0.52)) for x in (0, 0.75)]).painted(
            Raw.OTHER_OBJECT, Material.RUBBER, (44, 60, 50)
        )
    if kind == 1:
        seat = [box((0.5, 1.6, 0.08), (0, 0, 0.45)), box((0.08, 1.6, 0.5), (-0.25, 0, 0.7))]
        legs = [box((0.4, 0.08, 0.45), (0, y, 0.22)) for y in (-0.6, 0.6)]
        return merge(seat + legs).painted(Raw.OTHER_OBJECT, Material.WOOD, (120, 86, 56))
    if kind == 2:
        solids = [box(rng.uniform(0.3, 0.8, 3), (x, 0, 0.3), rng.uniform(0, 3)) for x in (0, 0.7, 1.3)]
        return merge(solids).painted(Raw.OTHER_OBJECT, Material.PLASTER, (170, 136, 96))
    if kind == 3:
        return tube((0, 0, -0.2), (0, 0, 0.95), 0.08, sides=8).painted(Raw.POLE, Material.METAL, (90, 60, 50))
    if kind == 4:
        frame = [box((1.4, 3.6, 0.1), (0, 0, 2.4))]
        frame += [tube((x, y, 0), (x, y, 2.4), 0.05, sides=6) for x in (-0.6, 0.6) for y in (-1.7, 1.7)]
        return join(
            [
                merge(frame).painted(Raw.OTHER_STRUCTURE, Material.METAL, STEEL),
                box((0.04, 3.4, 1.9), (-0.6, 0, 1.3)).painted(Raw.OTHER_STRUCTURE, Material.GLASS, (120, 140, 150)),
            ]
        )
    pot = box((1.1, 1.1, 0.6), (0, 0, 0.3)).painted(Raw.OTHER_STRUCTURE, Material.CONCRETE, (150, 146, 140))
    return join([pot, bush(rng).placed((0, 0, 0.45), scale=0.7)])


def building(
    width_m: float, depth_m: float, height_m: float, gable: bool, wall: Color, roof: Color, rng: np.random.Generator
) -> Mesh:
    """A house with its front towards -y, origin at the middle of its footprint; windows are set into the walls."""
    sunk = 1.5  # how far walls go below the ground they stand on, which may slope
    w, d = width_m / 2, depth_m / 2
    walls = [box((width_m, depth_m, height_m + sunk), (0, 0, (height_m - sunk) / 2))]
    tops = []
    if gable:
        ridge = height_m + rng.uniform(0.28, 0.5) * depth_m
        tops.append(
            loft([(-d - 0.5, height_m - 0.25), (0, ridge), (d + 0.5, height_m - 0.25), (0, height_m)], w + 0.35)
        )
        turned = np.array([[0, 1.0, 0], [-1.0, 0, 0], [0, 0, 1]])
        tops = [type(t)(t.vertices @ turned, t.triangles) for t in tops]
        walls.append(box((0.7, 0.7, 1.6), (w * 0.5, d * 0.3, ridge - 0.3)))
    else:
        tops += [box((width_m + 0.3, 0.3, 0.7), (0, y, height_m + 0.2)) for y in (-d, d)]
        tops += [box((0.3, depth_m + 0.3, 0.7), (x, 0, height_m + 0.2)) for x in (-w, w)]
        tops.append(box((2.5, 2.5, 2.2), (w * 0.3, 0, height_m + 1.0)))
    walls += _front(width_m, depth_m, height_m, rng)
    panes = _windows(width_m, depth_m, height_m, rng)
    return join(
        [
            merge(walls).painted(Raw.BUILDING, Material.PLASTER, wall),
            merge(tops).painted(Raw.BUILDING, Material.ROOF, roof),
            *([merge(panes).painted(Raw.BUILDING, Material.GLASS, GLASS_COLOR)] if panes else []),
        ]
    )


GLASS_COLOR: Color = (66, 84, 104)


def _front(width_m: float, depth_m: float, height_m: float, rng: np.random.Generator) -> list[Solid]:
    """Steps, a porch roof or balconies in front of the -y wall."""
    y = -depth_m / 2
    door = rng.uniform(-0.3, 0.3) * width_m
    solids = [box((1.6, 1.0, 0.5), (door, y - 0.5, 0.0)), box((2.0, 1.2, 0.12), (door, y - 0.6, 2.5))]
    floors = int(height_m // 3)
    if floors > 2:
        for x in np.arange(-width_m / 2 + 2.5, width_m / 2 - 2, rng.uniform(4.5, 7)):
            for floor in range(1, min(floors, 6)):
                z = 3.0 * floor
                solids += [box((2.4, 0.9, 0.15), (x, y - 0.45, z)), box((2.4, 0.06, 0.9), (x, y - 0.87, z + 0.5))]
    elif rng.random() < 0.5:
        solids.append(box((2.2, 0.7, min(2.4, height_m - 0.4)), (-door, y - 0.35, height_m / 2 - 0.1)))
    return solids


def _windows(width_m: float, depth_m: float, height_m: float, rng: np.random.Generator) -> list[Solid]:
    """Panes 3 cm proud of the walls: outlines that the class does not change at."""
    panes = []
    step = rng.uniform(2.2, 3.2)
    for floor in range(max(1, min(int(height_m // 2.8), 7))):
        z = 1.55 + 2.9 * floor
        if z + 0.8 > height_m:
            break
        for x in np.arange(-width_m / 2 + 1.3, width_m / 2 - 0.9, step):
            panes += [box((1.2, 0.06, 1.3), (x, side * depth_m / 2, z)) for side in (-1, 1)]
        for y in np.arange(-depth_m / 2 + 1.5, depth_m / 2 - 1.0, step):
            panes += [box((0.06, 1.1, 1.3), (side * width_m / 2, y, z)) for side in (-1, 1)]
    return panes
