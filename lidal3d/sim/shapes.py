# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Triangle meshes that carry a class, a material and a colour per triangle, and the primitives they are made of."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Vec3 = Sequence[float] | npt.NDArray[np.floating[Any]]
Color = tuple[int, int, int]


@dataclass(frozen=True)
class Mesh:
    """V vertices, F triangles, and what each triangle is.

    Attributes:
        vertices: (V, 3) float64, metres.
        triangles: (F, 3) int64 vertex indices.
        semantic: (F,) uint16 raw ids.
        material: (F,) uint8 indices of `materials.Material`.
        color: (F, 3) uint8 RGB.
        instance: (F,) uint16, 0 for none.
    """

    vertices: npt.NDArray[np.float64]
    triangles: npt.NDArray[np.int64]
    semantic: npt.NDArray[np.uint16]
    material: npt.NDArray[np.uint8]
    color: npt.NDArray[np.uint8]
    instance: npt.NDArray[np.uint16]

    def __len__(self) -> int:
        return len(self.triangles)

    def placed(self, xyz_m: Vec3, yaw_rad: float = 0.0, scale: float | Vec3 = 1.0) -> Mesh:
        """Scaled, turned about z, then moved."""
        c, s = np.cos(yaw_rad), np.sin(yaw_rad)
        v = self.vertices * np.asarray(scale)
        turned = np.column_stack([c * v[:, 0] - s * v[:, 1], s * v[:, 0] + c * v[:, 1], v[:, 2]])
        return dataclasses.replace(self, vertices=np.add(turned, np.asarray(xyz_m, dtype=np.float64)))

    def moved_by(self, a_SE3_b: npt.NDArray[np.float64]) -> Mesh:
        """Under a rigid transform (4, 4)."""
        return dataclasses.replace(self, vertices=self.vertices @ a_SE3_b[:3, :3].T + a_SE3_b[:3, 3])

    def labelled(self, semantic: int | None = None, instance: int | None = None) -> Mesh:
        """The same surface with one class and/or one instance id."""
        count = len(self)
        return dataclasses.replace(
            self,
            semantic=self.semantic if semantic is None else np.full(count, semantic, dtype=np.uint16),
            instance=self.instance if instance is None else np.full(count, instance, dtype=np.uint16),
        )

    def tinted(self, material: int, color: Color) -> Mesh:
        """Triangles of one material in another colour (a car's paint)."""
        chosen = (self.material == material)[:, None]
        return dataclasses.replace(self, color=np.where(chosen, np.array(color, dtype=np.uint8), self.color))


@dataclass(frozen=True)
class Solid:
    """Bare geometry: (V, 3) vertices and (F, 3) triangles."""

    vertices: npt.NDArray[np.float64]
    triangles: npt.NDArray[np.int64]

    def painted(self, semantic: int, material: int, color: Color) -> Mesh:
        """A mesh of one class, material and colour."""
        count = len(self.triangles)
        return Mesh(
            self.vertices,
            self.triangles,
            np.full(count, semantic, dtype=np.uint16),
            np.full(count, material, dtype=np.uint8),
            np.tile(np.array(color, dtype=np.uint8), (count, 1)),
            np.zeros(count, dtype=np.uint16),
        )


def join(meshes: Sequence[Mesh]) -> Mesh:
    """One mesh of many, triangles in the order given."""
    if not meshes:
        return Solid(np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int64)).painted(0, 0, (0, 0, 0))
    offsets = np.cumsum([0] + [len(m.vertices) for m in meshes[:-1]])
    return Mesh(
        np.concatenate([m.vertices for m in meshes]),
        np.concatenate([m.triangles + offset for m, offset in zip(meshes, offsets, strict=True)]),
        np.concatenate([m.semantic for m in meshes]),
        np.concatenate([m.material for m in meshes]),
        np.concatenate([m.color for m in meshes]),
        np.concatenate([m.instance for m in meshes]),
    )


def merge(solids: Sequence[Solid]) -> Solid:
    """One solid of many."""
    offsets = np.cumsum([0] + [len(s.vertices) for s in solids[:-1]])
    return Solid(
        np.concatenate([s.vertices for s in solids]),
        np.concatenate([s.triangles + offset for s, offset in zip(solids, offsets, strict=True)]),
    )


_BOX = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
_BOX_FACES = np.array(
    [[0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1],
     [2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3]]
)  # fmt: skip


def box(size_m: Vec3, center_m: Vec3 = (0.0, 0.0, 0.0), yaw_rad: float = 0.0) -> Solid:
    """A cuboid of 12 triangles, turned about its own vertical axis."""
    v = _BOX * np.asarray(size_m, dtype=np.float64)
    c, s = np.cos(yaw_rad), np.sin(yaw_rad)
    turned = np.column_stack([c * v[:, 0] - s * v[:, 1], s * v[:, 0] + c * v[:, 1], v[:, 2]])
    return Solid(np.add(turned, np.asarray(center_m, dtype=np.float64)), _BOX_FACES)


def tube(start_m: Vec3, end_m: Vec3, radius_m: float, end_radius_m: float | None = None, sides: int = 8) -> Solid:
    """A capped (truncated) cone between two points: trunks, poles, limbs, wheels."""
    a, b = np.asarray(start_m, dtype=np.float64), np.asarray(end_m, dtype=np.float64)
    axis = (b - a) / max(float(np.linalg.norm(b - a)), 1e-9)
    helper = np.array([1.0, 0.0, 0.0]) if abs(axis[2]) > 0.7 else np.array([0.0, 0.0, 1.0])
    u = np.cross(axis, helper)
    u /= np.linalg.norm(u)
    angle = 2 * np.pi * np.arange(sides) / sides
    ring = np.cos(angle)[:, None] * u + np.sin(angle)[:, None] * np.cross(axis, u)
    top = radius_m if end_radius_m is None else end_radius_m
    k = np.arange(sides)
    n = (k + 1) % sides
    faces = [
        np.column_stack([k, n, n + sides]),
        np.column_stack([k, n + sides, k + sides]),
        np.column_stack([n, k, np.full(sides, 2 * sides)]),
        np.column_stack([k + sides, n + sides, np.full(sides, 2 * sides + 1)]),
    ]
    return Solid(np.concatenate([a + radius_m * ring, b + top * ring, [a, b]]), np.concatenate(faces))


def loft(profile_xz_m: npt.ArrayLike, half_width_m: npt.ArrayLike) -> Solid:
    """A side profile, star-shaped about its mean, extruded to ±half width per profile point: car bodies, roofs."""
    profile = np.asarray(profile_xz_m, dtype=np.float64)
    half = np.broadcast_to(np.asarray(half_width_m, dtype=np.float64), len(profile))
    count = len(profile)
    left = np.column_stack([profile[:, 0], half, profile[:, 1]])
    right = left * [1, -1, 1]
    centers = np.stack([left.mean(axis=0), right.mean(axis=0)])
    k = np.arange(count)
    n = (k + 1) % count
    faces = [
        np.column_stack([k, n, n + count]),
        np.column_stack([k, n + count, k + count]),
        np.column_stack([k, n, np.full(count, 2 * count)]),
        np.column_stack([n + count, k + count, np.full(count, 2 * count + 1)]),
    ]
    return Solid(np.concatenate([left, right, centers]), np.concatenate(faces))


@functools.lru_cache(maxsize=4)
def _sphere(level: int) -> Solid:
    golden = (1 + 5**0.5) / 2
    corners = [(s * 1.0, t * golden, 0.0) for s in (-1, 1) for t in (-1, 1)]
    v = np.array([np.roll(c, shift) for shift in range(3) for c in corners])
    v /= np.linalg.norm(v[0])
    edge = np.linalg.norm(v[:, None] - v[None], axis=-1)
    near = np.isclose(edge, edge[edge > 0.1].min())
    faces = np.array(
        [(i, j, k) for i in range(12) for j in range(i) for k in range(j) if near[i, j] and near[j, k] and near[i, k]]
    )
    for _ in range(level):
        v, faces = _subdivided(v, faces)
    return Solid(v, faces)


def _subdivided(
    v: npt.NDArray[np.float64], faces: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    unique, place = np.unique(edges, axis=0, return_inverse=True)
    middle = v[unique].mean(axis=1)
    middle /= np.linalg.norm(middle, axis=1, keepdims=True)
    a, b, c = (place.reshape(3, -1) + len(v)).astype(np.int64)
    i, j, k = faces.T
    split = [np.column_stack(t) for t in ((i, a, c), (a, j, b), (c, b, k), (a, b, c))]
    return np.concatenate([v, middle]), np.concatenate(split)


def blob(
    radius_m: float | Vec3,
    center_m: Vec3 = (0, 0, 0),
    rough: float = 0.0,
    rng: np.random.Generator | None = None,
    level: int = 1,
) -> Solid:
    """An ellipsoid of 20·4^level triangles whose vertices are pushed in and out by up to `rough` of the radius."""
    sphere = _sphere(level)
    push = 1.0 if rng is None else 1.0 + rough * rng.uniform(-1, 1, (len(sphere.vertices), 1))
    return Solid(sphere.vertices * push * np.asarray(radius_m) + np.asarray(center_m, dtype=float), sphere.triangles)


def leaves(
    count: int, radius_m: Vec3, center_m: Vec3, leaf_m: float, rng: np.random.Generator, cuboid: bool = False
) -> Solid:
    """`count` single triangles in an ellipsoid (or cuboid), denser outside: rays pass between them, as in foliage."""
    direction = rng.normal(size=(count, 3))
    if cuboid:
        direction /= np.abs(direction).max(axis=1, keepdims=True)
    else:
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    spot = direction * rng.uniform(0.25, 1.0, (count, 1)) ** 0.5 * np.asarray(radius_m) + np.asarray(center_m)
    corners = rng.normal(size=(count, 3, 3))
    corners *= leaf_m * rng.uniform(0.5, 1.2, (count, 1, 1)) / np.linalg.norm(corners, axis=2, keepdims=True)
    return Solid((spot[:, None] + corners).reshape(-1, 3), np.arange(3 * count).reshape(-1, 3))


def ring(center_m: Vec3, radius_m: float, thickness_m: float, sides: int = 12) -> Solid:
    """An upright wheel's tyre in the x-z plane: a band of square cross-section, open in the middle."""
    angle = 2 * np.pi * np.arange(sides) / sides
    circle = np.column_stack([np.cos(angle), np.zeros(sides), np.sin(angle)])
    half = np.array([0.0, thickness_m / 2, 0.0])
    loops = [circle * radius_m - half, circle * radius_m + half]
    inner = radius_m - thickness_m
    loops += [circle * inner + half, circle * inner - half]
    k = np.arange(sides)
    n = (k + 1) % sides
    faces = []
    for loop in range(4):
        p, q = loop * sides, (loop + 1) % 4 * sides
        faces += [np.column_stack([k + p, n + p, n + q]), np.column_stack([k + p, n + q, k + q])]
    return Solid(np.concatenate(loops) + np.asarray(center_m, dtype=float), np.concatenate(faces))
