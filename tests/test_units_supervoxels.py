# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Supervoxels: each step against a brute-force oracle, then a room of known planes and a real sweep."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import dijkstra

from lidal3d.settings.units import UnitsConfig
from lidal3d.units.disjoint import close_ranks
from lidal3d.units.growing import ANGLE, BRIGHT, STEP, edge_lengths, grow
from lidal3d.units.make import make_partition
from lidal3d.units.merging import Limits, Regions, merge, merge_cost
from lidal3d.units.patches import patch_pairs, patch_sums
from lidal3d.units.supervoxels import DOUBLING_M, Supervoxels, brightness, join_small
from lidal3d.units.surface import eigenvalues, normal, voxel_surfaces
from lidal3d.units.voxels import HALF, adjacency, coarser, voxelise

VOXEL_M = 0.2


def cell_of(point: np.ndarray) -> tuple[int, ...]:
    range_m = float(np.sqrt((point**2).sum()))
    return tuple(int(c) for c in np.floor(point * (2 / (VOXEL_M * (1 + np.sqrt(1 + range_m / DOUBLING_M))))))


def unpack(key: int) -> tuple[int, int, int]:
    mask = (1 << 21) - 1
    return (key >> 42) - HALF, ((key >> 21) & mask) - HALF, (key & mask) - HALF


def cloud(count: int = 1500, seed: int = 0) -> np.ndarray:
    """Floor, wall and scatter (count, 3), metres, on whole millimetres so that sums can be compared exactly."""
    rng = np.random.default_rng(seed)
    xyz = rng.uniform([-2, -2, -1], [2, 2, 1], (count, 3))
    xyz[: count // 3, 2] = -1.003
    xyz[count // 3 : count // 2, 0] = 2.001
    return np.round(xyz, 3)


def voxels_of(xyz: np.ndarray):  # type: ignore[no-untyped-def]
    return voxelise(xyz, np.arange(len(xyz)) % 1024, VOXEL_M, DOUBLING_M)


def test_voxels_match_brute_force() -> None:
    xyz = cloud()
    voxels = voxels_of(xyz)
    cells = [cell_of(p) for p in xyz]
    assert [unpack(int(k)) for k in voxels.keys] == sorted(set(cells))
    assert [unpack(int(voxels.keys[v])) for v in voxels.point_voxel] == cells
    mm = np.rint(xyz * 1000).astype(np.int64)
    for v in range(0, len(voxels.keys), 7):
        own = mm[voxels.point_voxel == v]
        assert voxels.sums[v, 0] == len(own)
        assert voxels.sums[v, 1:4].tolist() == own.sum(axis=0).tolist()
        products = own.T @ own
        assert voxels.sums[v, 4:10].tolist() == products[np.triu_indices(3)].tolist()
        assert voxels.sums[v, 10] == (np.flatnonzero(voxels.point_voxel == v) % 1024).sum()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(*3 * [st.integers(-3, 3)]), min_size=1, max_size=60, unique=True))
def test_neighbours_are_the_26_cells_around(cells: list[tuple[int, int, int]]) -> None:
    cells = sorted(cells)
    keys = np.array([((x + HALF) << 42) | ((y + HALF) << 21) | (z + HALF) for x, y, z in cells], np.int64)
    starts, neighbours = adjacency(keys)
    for i, a in enumerate(cells):
        expected = [
            j for j, b in enumerate(cells) if i != j and max(abs(p - q) for p, q in zip(a, b, strict=True)) == 1
        ]
        assert sorted(neighbours[starts[i] : starts[i + 1]].tolist()) == expected


def test_coarser_cells_floor_below_zero() -> None:
    cells = [(-9, -8, -1), (0, 7, 8), (15, 16, -17)]
    keys = np.array([((x + HALF) << 42) | ((y + HALF) << 21) | (z + HALF) for x, y, z in cells], np.int64)
    wide = HALF >> 3
    mask = (1 << 21) - 1
    found = [((int(k) >> 42) - wide, ((int(k) >> 21) & mask) - wide, (int(k) & mask) - wide) for k in coarser(keys, 3)]
    assert found == [(-2, -1, -1), (0, 0, 1), (1, 2, -3)]


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([(1, 1, 1), (1, 1, 0.01), (1, 0.01, 0.01), (1, 0.5, 0)]))
def test_eigenvalues_and_normal_match_numpy(seed: int, spread: tuple[float, float, float]) -> None:
    rng = np.random.default_rng(seed)
    turned = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    points = rng.normal(size=(30, 3)) * spread @ turned
    matrix = np.cov(points.T)
    upper = matrix[np.triu_indices(3)]
    expected, vectors = np.linalg.eigh(matrix)
    found = eigenvalues(*upper)
    np.testing.assert_allclose(found, expected, atol=1e-6 * expected.sum())
    if expected[1] - expected[0] > 0.05 * expected.sum():
        assert abs(np.dot(normal(*upper, found[0]), vectors[:, 0])) == pytest.approx(1, abs=1e-4)


def test_voxel_normals_match_the_pooled_points() -> None:
    xyz = cloud()
    voxels = voxels_of(xyz)
    normals, planarity = voxel_surfaces(voxels.sums, voxels.starts, voxels.neighbours)
    checked = 0
    for v in range(0, len(voxels.keys), 5):
        around = [v, *voxels.neighbours[voxels.starts[v] : voxels.starts[v + 1]]]
        pooled = xyz[np.isin(voxels.point_voxel, around)]
        if len(pooled) < 4:
            continue
        values, vectors = np.linalg.eigh(np.cov(pooled.T, bias=True))
        assert planarity[v] == pytest.approx(1 - np.sqrt(max(values[0], 0) / values[1]), abs=2e-3)
        if values[0] < 0.7 * values[1]:
            assert abs(normals[v] @ vectors[:, 0]) == pytest.approx(1, abs=1e-3)
            checked += 1
    assert checked > 20


def graph_of(xyz: np.ndarray):  # type: ignore[no-untyped-def]
    voxels = voxels_of(xyz)
    normals, planarity = voxel_surfaces(voxels.sums, voxels.starts, voxels.neighbours)
    lengths = edge_lengths(voxels.sums, normals, planarity, voxels.starts, voxels.neighbours, VOXEL_M, DOUBLING_M)
    return voxels, normals, planarity, lengths


def test_edge_lengths_match_their_equation() -> None:
    voxels, normals, planarity, lengths = graph_of(cloud())
    centers = voxels.sums[:, 1:4] / voxels.sums[:, :1] / 1000
    bright = voxels.sums[:, 10] / voxels.sums[:, 0] / 1024
    rows = np.repeat(np.arange(len(voxels.keys)), np.diff(voxels.starts))
    for e in range(0, len(rows), 11):
        a, b = rows[e], voxels.neighbours[e]
        scale = 2 / (VOXEL_M * (1 + np.sqrt(1 + np.linalg.norm(centers[a]) / DOUBLING_M)))
        apart = centers[b] - centers[a]
        leave = (abs(apart @ normals[a]) + abs(apart @ normals[b])) * scale / 2
        turn = 1 - abs(normals[a] @ normals[b])
        flat = min(planarity[a], planarity[b])
        expected = (
            np.linalg.norm(apart) * scale + flat * (ANGLE * turn + STEP * leave) + BRIGHT * abs(bright[a] - bright[b])
        )
        assert lengths[e] == pytest.approx(expected, rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("radius", [2.0, 5.0])
def test_patches_are_geodesic_voronoi_cells_within_the_radius(radius: float) -> None:
    voxels, _, _, lengths = graph_of(cloud(800))
    count = len(voxels.keys)
    order = np.random.default_rng(3).permutation(count)
    patch, patches = grow(order, voxels.starts, voxels.neighbours, lengths, np.float32(radius))
    assert sorted(set(patch.tolist())) == list(range(patches))
    to_all = dijkstra(csr_matrix((lengths.astype(np.float64), voxels.neighbours, voxels.starts), (count, count)))
    seeds = oracle_seeds(to_all, order, radius)
    assert len(seeds) == patches
    to_own = to_all[np.array(seeds)[patch], np.arange(count)]
    np.testing.assert_allclose(to_own, to_all[seeds].min(axis=0), atol=1e-4)
    assert to_own.max() <= radius + 1e-4


def oracle_seeds(to_all: np.ndarray, order: np.ndarray, radius: float) -> list[int]:
    seeds: list[int] = []
    for v in order:
        if not seeds or to_all[seeds, v].min() > radius:
            seeds.append(int(v))
    return seeds


def test_close_ranks_numbers_in_order_of_appearance() -> None:
    closed, count = close_ranks(np.array([7, 7, 2, 9, 2, 0]))
    assert closed.tolist() == [0, 0, 1, 2, 1, 3]
    assert count == 4
    assert close_ranks(np.zeros(0, np.int64))[1] == 0


def patches_of(xyz: np.ndarray):  # type: ignore[no-untyped-def]
    voxels, _, _, lengths = graph_of(xyz)
    order = np.arange(len(voxels.keys))
    patch, count = grow(order, voxels.starts, voxels.neighbours, lengths, np.float32(3))
    return voxels, patch, *patch_sums(voxels.sums, voxels.keys, patch, count)


def test_patch_sums_bounds_and_pairs_match_brute_force() -> None:
    voxels, patch, sums, bounds = patches_of(cloud(600))
    cells = np.array([unpack(int(k)) for k in voxels.keys]) + HALF
    for p in range(len(sums)):
        assert sums[p].tolist() == voxels.sums[patch == p].sum(axis=0).tolist()
        assert bounds[p].tolist() == [*cells[patch == p].min(axis=0), *cells[patch == p].max(axis=0)]
    expected = set()
    for i in range(len(cells)):
        near = np.abs(cells - cells[i]).max(axis=1) <= 1
        near |= (cells >> 3 == cells[i] >> 3).all(axis=1)
        expected |= {(min(patch[i], q), max(patch[i], q)) for q in patch[near] if q != patch[i]}
    pairs = patch_pairs(voxels, patch, len(sums))
    assert [tuple(pair) for pair in pairs.tolist()] == sorted((int(a), int(b)) for a, b in expected)


def plane_residual(points: np.ndarray) -> float:
    return len(points) * float(np.linalg.eigvalsh(np.cov(points.T, bias=True))[0])


def test_merge_cost_of_two_parallel_plates_is_their_distance() -> None:
    rng = np.random.default_rng(0)
    low = np.round(np.c_[rng.uniform(3, 5, (400, 2)), np.zeros(400)], 3)
    high = low + np.array([0, 0, 0.5])
    gained = plane_residual(np.r_[low, high]) - plane_residual(low) - plane_residual(high)
    assert np.sqrt((1 / 400 + 1 / 400) * gained) == pytest.approx(0.5, rel=1e-6)
    sums = np.array([moments(low, 512), moments(high, 512)])
    residual = np.array([1e6 * plane_residual(low), 1e6 * plane_residual(high)])
    regions = Regions(sums, residual, np.zeros((2, 6), np.int64), np.arange(2), np.zeros(2, np.int64))
    scale = 2 / (VOXEL_M * (1 + np.sqrt(1 + np.linalg.norm(np.r_[low, high].mean(axis=0)) / DOUBLING_M)))
    expected = np.sqrt(400 / 1000) * (0.5 + 0.15 * 2.0 * 0.5) * scale
    limits = Limits(60.0, 1.0, VOXEL_M, DOUBLING_M)
    assert merge_cost(regions, 0, 1, limits, np.inf) == pytest.approx(expected, rel=1e-6)
    assert merge_cost(regions, 0, 1, limits, 0.9 * expected) == np.inf
    regions.bounds[1, 3:] = 60
    assert merge_cost(regions, 0, 1, limits, np.inf) == np.inf


def moments(points: np.ndarray, bright: int) -> np.ndarray:
    mm = np.rint(points * 1000)
    return np.r_[len(mm), mm.sum(axis=0), (mm.T @ mm)[np.triu_indices(3)], bright * len(mm)]


def test_merging_stops_only_where_no_neighbours_are_alike() -> None:
    voxels, patch, sums, bounds = patches_of(cloud(900))
    pairs = patch_pairs(voxels, patch, len(sums))
    limits = Limits(12.0, 0.6, VOXEL_M, DOUBLING_M)
    region = merge(sums, bounds, pairs, limits)
    kept = np.unique(region)
    assert 1 < len(kept) < len(sums)
    assert np.array_equal(region[kept], kept)
    total = np.array([sums[region == r].sum(axis=0) for r in kept], np.float64)
    span = np.array([[*bounds[region == r, :3].min(axis=0), *bounds[region == r, 3:].max(axis=0)] for r in kept])
    assert (span[:, 3:] - span[:, :3]).max() < 12
    place = {int(r): i for i, r in enumerate(kept)}
    residual = np.array([residual_of(row) for row in total])
    regions = Regions(total, residual, span, np.arange(len(kept)), np.zeros(len(kept), np.int64))
    across = {(place[region[a]], place[region[b]]) for a, b in pairs if region[a] != region[b]}
    assert min(merge_cost(regions, a, b, limits, np.inf) for a, b in across) > 0.6 - 1e-9


def residual_of(sums: np.ndarray) -> float:
    mean = sums[1:4] / sums[0]
    second = np.zeros((3, 3))
    second[np.triu_indices(3)] = sums[4:10] / sums[0]
    matrix = second + np.triu(second, 1).T - np.outer(mean, mean)
    return float(sums[0] * np.linalg.eigvalsh(matrix)[0])


def test_small_regions_join_the_nearest_larger_one_unless_it_is_far() -> None:
    centers_m = np.array([[1, 0, 0], [3, 0, 0], [1.5, 0, 0], [90, 0, 0]])
    sizes = np.array([50, 50, 3, 3])
    sums = np.array([[n, *(1000 * n * c), *7 * [0]] for n, c in zip(sizes, centers_m, strict=True)]).astype(np.int64)
    assert join_small(sums, np.arange(4), 20, VOXEL_M, 60.0).tolist() == [0, 1, 0, 3]
    assert join_small(sums, np.arange(4), 2, VOXEL_M, 60.0).tolist() == [0, 1, 2, 3]
    assert join_small(sums, np.arange(4), 99, VOXEL_M, 60.0).tolist() == [0, 1, 2, 3]


def test_brightness_is_the_same_in_any_unit_and_survives_nan() -> None:
    points = np.random.default_rng(0).uniform(size=(500, 4)).astype(np.float32)
    in_bytes = points * np.float32([1, 1, 1, 256])
    assert np.array_equal(brightness(points), brightness(in_bytes))
    assert (brightness(points).min(), brightness(points).max()) == (0, 1024)
    points[:, 3] = np.nan
    assert not brightness(points).any()
    assert not brightness(points[:, :3]).any()


def room(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Points (N, 4) on known faces and the face of each: a floor, two walls, a box on the floor."""
    rng = np.random.default_rng(seed)
    faces = [  # corner, two edges
        ([-5, -5, -1.7], [10, 0, 0], [0, 10, 0]),
        ([5, -5, -1.7], [0, 10, 0], [0, 0, 3]),
        ([-5, 5, -1.7], [10, 0, 0], [0, 0, 3]),
        ([1, -1, -0.2], [2, 0, 0], [0, 2, 0]),
        ([1, -1, -1.7], [0, 2, 0], [0, 0, 1.5]),
        ([1, -1, -1.7], [2, 0, 0], [0, 0, 1.5]),
    ]
    points, face = [], []
    for number, (corner, one, other) in enumerate(np.array(faces, float)):
        count = int(150 * np.linalg.norm(one) * np.linalg.norm(other))
        points.append(corner + rng.uniform(size=(count, 1)) * one + rng.uniform(size=(count, 1)) * other)
        face.append(np.full(count, number))
    xyz = np.concatenate(points) + rng.normal(0, 0.005, (sum(map(len, face)), 3))
    return np.c_[xyz, np.ones(len(xyz))].astype(np.float32), np.concatenate(face)


def majority_share(ids: np.ndarray, label: np.ndarray) -> float:
    _, label = np.unique(label, return_inverse=True)
    table = np.zeros((ids.max() + 1, label.max() + 1))
    np.add.at(table, (ids, label), 1)
    return float(table.max(axis=1).sum() / len(ids))


def test_regions_of_a_room_do_not_mix_its_faces() -> None:
    points, face = room()
    ids = Supervoxels()(points)
    alike = make_partition(UnitsConfig(kind="kmeans", regions=int(ids.max()) + 1))(points)
    assert len(np.unique(face)) <= ids.max() + 1 <= 120
    assert majority_share(ids, face) > 0.95 > majority_share(alike, face)


def test_settings_do_what_they_say() -> None:
    points, _ = room()
    counts = [int(Supervoxels(merge_cost=cost)(points).max()) + 1 for cost in (0.3, 1.0, 3.0)]
    assert counts[0] > counts[1] > counts[2]
    small = Supervoxels(widest_m=2.0, min_points=1)(points)
    for k in range(small.max() + 1):
        assert np.ptp(points[small == k, :3], axis=0).max() < 2.0 * 1.9  # cells widen up to 1.9-fold within 8.7 m
    assert np.bincount(Supervoxels(min_points=60)(points)).min() >= 60


def test_real_sweep_is_purer_than_balanced_kmeans_at_a_useful_count() -> None:
    root = os.environ.get("LIDAL3D_REAL_DATA")
    files = sorted(Path(root).glob("semantickitti/**/velodyne/000000.bin")) if root else []
    if not files:
        pytest.skip("set LIDAL3D_REAL_DATA to the folder of real samples to run this")
    points = np.fromfile(files[0], np.float32).reshape(-1, 4)
    label = np.fromfile(files[0].parents[1] / "labels" / "000000.label", np.uint32) & 0xFFFF
    ids = Supervoxels()(points)
    regions = int(ids.max()) + 1
    alike = make_partition(UnitsConfig(kind="kmeans", regions=regions))(points)
    assert 100 <= regions <= 400
    assert majority_share(ids, label) > 0.87
    assert majority_share(ids, label) > majority_share(alike, label) + 0.05
