# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Cars, trucks, buses, trailers, people, two-wheelers and their riders as meshes: x forward, origin on the ground."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lidal3d.sim.materials import Material, Raw
from lidal3d.sim.shapes import Color, Mesh, Solid, blob, box, join, loft, merge, ring, tube

GLASS: Color = (38, 46, 58)
TYRE: Color = (28, 28, 30)
CAR_COLORS: tuple[Color, ...] = (
    (30, 30, 34), (210, 210, 212), (120, 124, 130), (150, 24, 26), (36, 62, 120), (60, 64, 60), (190, 180, 150),
)  # fmt: skip
CLOTHES: tuple[Color, ...] = ((40, 50, 90), (140, 40, 40), (60, 60, 60), (170, 150, 110), (40, 90, 60), (200, 200, 190))
SKIN: Color = (205, 160, 130)

# length, width, belt height, roof height; then as shares of the length from the rear: boot end, rear window top,
# windscreen top, windscreen foot.
CAR_PROFILES: dict[str, tuple[float, ...]] = {
    "sedan": (4.6, 1.80, 0.95, 1.45, 0.16, 0.30, 0.58, 0.72),
    "hatchback": (3.9, 1.70, 0.95, 1.48, 0.01, 0.12, 0.60, 0.76),
    "estate": (4.6, 1.80, 0.95, 1.50, 0.01, 0.08, 0.60, 0.73),
    "suv": (4.6, 1.90, 1.10, 1.75, 0.01, 0.08, 0.62, 0.75),
    "minivan": (4.8, 1.90, 1.05, 1.80, 0.00, 0.05, 0.70, 0.86),
    "pickup": (5.4, 1.95, 1.05, 1.80, 0.38, 0.41, 0.64, 0.74),
}


def _wheels(length: float, width: float, radius: float, along: tuple[float, ...] = (-0.31, 0.31)) -> Solid:
    half = width / 2
    return merge(
        [
            tube((x * length, side * (half - 0.22), radius), (x * length, side * half, radius), radius, sides=10)
            for x in along
            for side in (-1, 1)
        ]
    )


def car(variant: str, color: Color, rng: np.random.Generator) -> Mesh:
    """A car of one of the `CAR_PROFILES`, with sizes varied by a few percent."""
    length, width, belt, roof, boot, rear, front, foot = CAR_PROFILES[variant]
    stretch = rng.uniform(0.94, 1.06)
    length, roof = length * stretch, roof * rng.uniform(0.97, 1.04)
    h, half = length / 2, width / 2
    body = loft(
        [(-h, 0.42), (-h + 0.04, belt - 0.12), (-h + 0.15, belt), (length * foot - h, belt + 0.02),
         (h - 0.25, belt - 0.22), (h - 0.03, belt - 0.38), (h, 0.45), (h - 0.12, 0.24), (-h + 0.12, 0.26)],
        [half * 0.86, half * 0.93, half * 0.95, half, half * 0.93, half * 0.86, half * 0.84, half * 0.88, half * 0.9],
    )  # fmt: skip
    glass = loft(
        [(boot * length - h, belt - 0.02), (rear * length - h, roof - 0.05), (front * length - h, roof - 0.05),
         (foot * length - h, belt - 0.02)],
        [half * 0.92, half * 0.72, half * 0.72, half * 0.92],
    )  # fmt: skip
    middle, span = (rear + front) / 2 * length - h, (front - rear) * length
    top = box((span, half * 1.46, 0.06), (middle, 0, roof - 0.02))
    pillars = merge(
        [box((0.1, half * 1.62, roof - belt), (middle + k * span * 0.3, 0, (roof + belt) / 2)) for k in (-1, 1)]
    )
    lamps = merge([box((0.05, 0.3, 0.12), (x, s * half * 0.62, 0.62)) for x in (-h + 0.01, h - 0.02) for s in (-1, 1)])
    plates = merge([box((0.03, 0.48, 0.11), (x, 0, 0.45)) for x in (-h, h)])
    mirrors = merge(
        [box((0.12, 0.18, 0.14), (foot * length - h - 0.3, s * (half + 0.06), belt + 0.05)) for s in (-1, 1)]
    )
    return join(
        [
            merge([body, top, pillars, mirrors]).painted(Raw.CAR, Material.METAL, color),
            glass.painted(Raw.CAR, Material.GLASS, GLASS),
            _wheels(length, width, 0.32).painted(Raw.CAR, Material.RUBBER, TYRE),
            merge([lamps, plates]).painted(Raw.CAR, Material.RETRO, (225, 215, 205)),
        ]
    )


def truck(color: Color, rng: np.random.Generator) -> Mesh:
    """A lorry with a cab and a box, a tarpaulin or an open bed."""
    length, width, height = rng.uniform(6.5, 9.0), 2.3, rng.uniform(2.7, 3.5)
    h, cab = length / 2, 1.8
    kind = int(rng.integers(3))
    cab_solid = loft(
        [(h - cab, 0.5), (h - cab, 2.5), (h - 0.7, 2.6), (h - 0.15, 1.5), (h, 1.3), (h, 0.45)],
        [width * 0.46, width * 0.42, width * 0.42, width * 0.46, width * 0.46, width * 0.46],
    )
    screen = box((0.06, width * 0.8, 0.7), (h - 0.38, 0, 2.05))
    bed = length - cab - 0.35
    load_height = 0.55 if kind == 2 else height - 0.95
    load = box((bed, width, load_height), (-h + bed / 2, 0, 0.95 + load_height / 2))
    cargo = [blob((0.8, 0.7, 0.5), (x * bed - h, 0, 1.6), 0.3, rng) for x in (0.25, 0.6)] if kind == 2 else []
    frame = merge([box((length - 0.4, 0.9, 0.25), (0, 0, 0.75)), *cargo])
    load_color: Color = ((205, 205, 200), (60, 90, 140), (120, 100, 70))[kind]
    wheels = _wheels(length, width, 0.46, (-0.36, -0.22, 0.34) if length > 7.6 else (-0.3, 0.34))
    return join(
        [
            cab_solid.painted(Raw.TRUCK, Material.METAL, color),
            screen.painted(Raw.TRUCK, Material.GLASS, GLASS),
            load.painted(Raw.TRUCK, Material.CLOTH if kind == 1 else Material.PLASTER, load_color),
            frame.painted(Raw.TRUCK, Material.RUBBER, (40, 40, 42)),
            wheels.painted(Raw.TRUCK, Material.RUBBER, TYRE),
        ]
    )


def bus(color: Color, rng: np.random.Generator) -> Mesh:
    """A city bus, 9 to 12 m."""
    length, width, height = rng.uniform(9.0, 12.0), 2.5, 3.0
    h = length / 2
    low = loft([(-h, 0.35), (-h, 1.25), (h, 1.25), (h + 0.05, 0.4)], width / 2)
    high = loft([(-h, 2.35), (-h + 0.1, height), (h - 0.25, height), (h, 2.4)], [1.25, 1.1, 1.1, 1.25])
    posts = merge([box((0.25, width - 0.02, 1.15), (x, 0, 1.8)) for x in np.linspace(-h + 0.15, h - 0.15, 7)])
    panes = box((length - 0.1, width - 0.08, 1.15), (0, 0, 1.8))
    return join(
        [
            merge([low, high, posts]).painted(Raw.BUS, Material.METAL, color),
            panes.painted(Raw.BUS, Material.GLASS, GLASS),
            _wheels(length, width, 0.48, (-0.3, 0.28)).painted(Raw.BUS, Material.RUBBER, TYRE),
        ]
    )


CARAVAN, TRAILER, TRACTOR = range(3)


def other_vehicle(kind: int, color: Color, rng: np.random.Generator) -> Mesh:
    """A caravan, a loaded trailer or a tractor."""
    if kind == CARAVAN:
        body = loft([(-2.3, 0.5), (-2.4, 2.1), (-2.0, 2.6), (1.9, 2.6), (2.4, 1.6), (2.2, 0.5)], 1.05)
        solids = [body, box((1.1, 0.08, 0.1), (2.7, 0, 0.5))]
        wheels = _wheels(4.6, 2.1, 0.32, (0.0,))
    elif kind == TRAILER:
        solids = [box((2.6, 1.5, 0.45), (0, 0, 0.75)), blob((1.1, 0.6, 0.5), (0, 0, 1.1), 0.3, rng)]
        solids.append(box((1.2, 0.08, 0.08), (1.8, 0, 0.5)))
        wheels = _wheels(2.6, 1.7, 0.3, (0.0,))
    else:
        solids = [box((1.5, 1.3, 1.2), (-0.7, 0, 2.0)), box((1.7, 0.75, 0.8), (0.8, 0, 1.15))]
        solids.append(box((1.8, 1.4, 0.15), (-0.7, 0, 2.7)))
        wheels = merge([_wheels(3.0, 1.9, 0.75, (-0.3,)), _wheels(3.0, 1.7, 0.45, (0.38,))])
    return join(
        [
            merge(solids).painted(Raw.OTHER_VEHICLE, Material.METAL, color),
            wheels.painted(Raw.OTHER_VEHICLE, Material.RUBBER, TYRE),
        ]
    )


def person(color: Color, stride: float = 0.0, height_m: float = 1.75, bulk: float = 1.0) -> Mesh:
    """A standing or walking person; `stride` in [-1, 1] swings legs and arms."""
    swing = 0.38 * stride
    legs = merge([tube((s * swing, s * 0.1, 0.03), (0, s * 0.09, 0.85), 0.07, 0.1, 6) for s in (-1, 1)])
    shoes = merge([box((0.26, 0.1, 0.09), (s * swing + 0.05, s * 0.1, 0.045)) for s in (-1, 1)])
    torso = merge([tube((0, 0, 0.82), (0, 0, 1.42), 0.17 * bulk, 0.2 * bulk, 8), blob((0.14, 0.23, 0.12), (0, 0, 1.4))])
    arms = merge([tube((0, s * 0.25, 1.4), (-s * swing * 0.8, s * 0.29, 0.85), 0.055, 0.045, 6) for s in (-1, 1)])
    head = blob((0.1, 0.085, 0.13), (0.02, 0, 1.63))
    whole = join(
        [
            merge([torso, arms]).painted(Raw.PERSON, Material.CLOTH, color),
            merge([legs, shoes]).painted(Raw.PERSON, Material.CLOTH, (45, 48, 60)),
            head.painted(Raw.PERSON, Material.CLOTH, SKIN),
        ]
    )
    return whole.placed((0, 0, 0), scale=height_m / 1.76)


def bicycle(color: Color) -> Mesh:
    """Two open wheels, a frame, handlebars and a saddle."""
    joints = {"rear": (-0.52, 0, 0.34), "pedal": (-0.05, 0, 0.3), "seat": (-0.2, 0, 0.85), "head": (0.38, 0, 0.85)}
    pairs = (("rear", "pedal"), ("pedal", "seat"), ("seat", "head"), ("pedal", "head"), ("rear", "seat"))
    frame = [tube(joints[a], joints[b], 0.028, sides=5) for a, b in pairs]
    frame += [
        tube((0.53, 0, 0.34), (0.36, 0, 1.0), 0.028, sides=5),
        tube((0.36, -0.28, 1.02), (0.36, 0.28, 1.02), 0.022, sides=5),
    ]
    frame += [box((0.25, 0.14, 0.06), (-0.22, 0, 0.93)), box((0.06, 0.4, 0.03), (-0.05, 0, 0.3))]
    wheels = merge([ring((x, 0, 0.34), 0.34, 0.05) for x in (-0.52, 0.53)])
    return join(
        [
            merge(frame).painted(Raw.BICYCLE, Material.METAL, color),
            wheels.painted(Raw.BICYCLE, Material.RUBBER, TYRE),
        ]
    )


def motorcycle(color: Color) -> Mesh:
    """A motorcycle or scooter: engine, tank, seat, fork, wheels."""
    body = [
        box((0.55, 0.34, 0.4), (0, 0, 0.48)),
        blob((0.3, 0.17, 0.16), (0.18, 0, 0.83)),
        box((0.75, 0.28, 0.14), (-0.42, 0, 0.8)),
        tube((0.72, 0, 0.32), (0.45, 0, 1.02), 0.07, sides=6),
        tube((0.42, -0.36, 1.05), (0.42, 0.36, 1.05), 0.03, sides=5),
        box((0.12, 0.3, 0.3), (0.56, 0, 0.95)),
    ]
    wheels = merge([tube((x, -0.07, 0.31), (x, 0.07, 0.31), 0.31, sides=12) for x in (-0.68, 0.72)])
    return join(
        [
            merge(body).painted(Raw.MOTORCYCLE, Material.METAL, color),
            wheels.painted(Raw.MOTORCYCLE, Material.RUBBER, TYRE),
        ]
    )


def _rider(color: Color, lean: float, seat_m: float, reach: tuple[float, float], helmet: bool) -> Mesh:
    hip, shoulder = np.array([-0.2, 0, seat_m]), np.array([-0.2 + lean, 0, seat_m + 0.52])
    limbs = [tube(hip, shoulder, 0.17, 0.19, 8), blob((0.13, 0.22, 0.1), shoulder)]
    for side in (-1, 1):
        knee = np.array([0.18, side * 0.14, seat_m - 0.18])
        foot = np.array([-0.02 + 0.14 * side, side * 0.13, max(seat_m - 0.62, 0.25)])
        limbs += [tube(hip + np.array([0, side * 0.1, 0]), knee, 0.09, 0.08, 6), tube(knee, foot, 0.08, 0.06, 6)]
        limbs.append(tube(shoulder + np.array([0, side * 0.2, 0]), (reach[0], side * 0.26, reach[1]), 0.055, 0.045, 6))
    head = blob((0.13, 0.12, 0.15) if helmet else (0.1, 0.09, 0.13), shoulder + np.array([0.08, 0, 0.26]))
    head_color: Color = (30, 30, 30) if helmet else SKIN
    return join(
        [
            merge(limbs).painted(Raw.PERSON, Material.CLOTH, color),
            head.painted(Raw.PERSON, Material.CLOTH, head_color),
        ]
    )


def bicyclist(color: Color) -> Mesh:
    """A bicycle with its rider; all of it is class bicyclist, as in SemanticKITTI."""
    return join([bicycle(color), _rider(color, 0.25, 0.95, (0.36, 1.04), False)]).labelled(Raw.BICYCLIST)


def motorcyclist(color: Color) -> Mesh:
    """A motorcycle with its rider; all of it is class motorcyclist."""
    return join([motorcycle(color), _rider(color, 0.12, 0.85, (0.4, 1.06), True)]).labelled(Raw.MOTORCYCLIST)


def _pick(rng: np.random.Generator, colors: tuple[Color, ...]) -> Color:
    return colors[int(rng.integers(len(colors)))]


# kind -> a figure drawn from a generator; `variants` are the car profiles of the town
FIGURES: dict[str, Callable[[np.random.Generator, tuple[str, ...]], Mesh]] = {
    "car": lambda rng, variants: car(variants[int(rng.integers(len(variants)))], _pick(rng, CAR_COLORS), rng),
    "truck": lambda rng, variants: truck(_pick(rng, CAR_COLORS), rng),
    "bus": lambda rng, variants: bus(_pick(rng, CAR_COLORS), rng),
    "other-vehicle": lambda rng, variants: other_vehicle(int(rng.integers(3)), _pick(rng, CAR_COLORS), rng),
    "tractor": lambda rng, variants: other_vehicle(TRACTOR, _pick(rng, CAR_COLORS), rng),
    "bicycle": lambda rng, variants: bicycle(_pick(rng, CAR_COLORS)),
    "motorcycle": lambda rng, variants: motorcycle(_pick(rng, CAR_COLORS)),
    "bicyclist": lambda rng, variants: bicyclist(_pick(rng, CLOTHES)),
    "motorcyclist": lambda rng, variants: motorcyclist(_pick(rng, CLOTHES)),
    "person": lambda rng, variants: person(
        _pick(rng, CLOTHES), 0.0, float(rng.uniform(1.2, 1.95)), float(rng.uniform(0.85, 1.25))
    ),
}
