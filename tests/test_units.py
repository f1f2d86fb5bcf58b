# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""What every partition promises, and what each one promises beside that."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from lidal3d.config import Config
from lidal3d.errors import DataError
from lidal3d.settings.units import UnitsConfig
from lidal3d.units.kmeans import BalancedKMeans, size_bounds
from lidal3d.units.make import OF_PICTURES, PARTITIONS, make_partition

KINDS = sorted(PARTITIONS.keys() - set(OF_PICTURES))
ORDER_FREE = ["frame", "grid", "supervoxels"]


def sweep(count: int, seed: int = 0) -> np.ndarray:
    """A flat, ring-like cloud (count, 4): dense near the sensor, some of it standing up."""
    rng = np.random.default_rng(seed)
    range_m, angle = 3 + rng.exponential(12, count), rng.uniform(0, 2 * np.pi, count)
    height = np.where(rng.uniform(size=count) < 0.3, rng.uniform(-1.7, 2, count), -1.7 + rng.normal(0, 0.01, count))
    rows = [range_m * np.cos(angle), range_m * np.sin(angle), height, rng.uniform(size=count)]
    return np.stack(rows, axis=1).astype(np.float32)


def line(count: int) -> np.ndarray:
    return (np.linspace(0, 30, count)[:, None] * [1, 2, 0, 0]).astype(np.float32)


def with_outliers(count: int) -> np.ndarray:
    points = sweep(count)
    points[: max(1, count // 100), :3] = [1e6, -1e9, 1e20]
    return points


CLOUDS = {
    **{f"sweep{n}": sweep(n) for n in (0, 1, 5, 19, 20, 21, 1000)},
    "duplicates": np.ones((1000, 4), np.float32),
    "two places": np.repeat(np.float32([[0, 0, 0, 0], [5, 5, 5, 1]]), 500, axis=0),
    "line": line(700),
    "outliers": with_outliers(1000),
    "far outlier alone": with_outliers(1),
    "lattice": np.stack(np.meshgrid(*3 * [np.arange(-5, 5)], [1.0]), axis=-1).reshape(-1, 4).astype(np.float32),
    "no intensity": np.hstack([sweep(300)[:, :3], np.full((300, 1), np.nan, np.float32)]),
}


@pytest.mark.parametrize("cloud", sorted(CLOUDS))
@pytest.mark.parametrize("kind", KINDS)
def test_every_point_is_in_exactly_one_of_the_dense_ids(kind: str, cloud: str) -> None:
    points = CLOUDS[cloud]
    before = points.copy()
    partition = make_partition(UnitsConfig(kind=kind))
    ids = partition(points)
    assert partition.kind == kind
    assert ids.dtype == np.int32
    assert ids.shape == (len(points),)
    assert np.array_equal(np.unique(ids), np.arange(ids.max() + 1 if len(ids) else 0))
    assert np.array_equal(points, before, equal_nan=True), "a partition must not write into the points"


@pytest.mark.parametrize("cloud", sorted(CLOUDS))
@pytest.mark.parametrize("kind", KINDS)
def test_ids_repeat_and_depend_on_nothing_else(kind: str, cloud: str) -> None:
    points = CLOUDS[cloud]
    partition = make_partition(UnitsConfig(kind=kind))
    ids = partition(points)
    partition(sweep(500, seed=9))
    np.random.default_rng().random()
    assert np.array_equal(partition(points), ids)
    assert np.array_equal(make_partition(UnitsConfig(kind=kind))(np.asfortranarray(points)), ids)
    assert np.array_equal(partition(points.astype(np.float64)), ids)


@pytest.mark.parametrize("cloud", sorted(CLOUDS))
@pytest.mark.parametrize("kind", ORDER_FREE)
def test_order_of_points_does_not_matter(kind: str, cloud: str) -> None:
    points = CLOUDS[cloud]
    order = np.random.default_rng(1).permutation(len(points))
    partition = make_partition(UnitsConfig(kind=kind))
    assert np.array_equal(partition(points[order]), partition(points)[order])


@pytest.mark.parametrize("kind", KINDS)
def test_points_that_are_not_finite_are_refused_with_both_counts(kind: str) -> None:
    points = sweep(50)
    points[3, 1], points[7, 2] = np.nan, np.inf
    with pytest.raises(DataError, match="2 of 50 points") as caught:
        make_partition(UnitsConfig(kind=kind))(points)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_points_that_are_no_table_are_refused(kind: str) -> None:
    with pytest.raises(DataError, match=r"\(5, 2\)"):
        make_partition(UnitsConfig(kind=kind))(np.zeros((5, 2), np.float32))


def test_presets_choose_their_kind() -> None:
    assert make_partition(Config.preset("paper").units).kind == "kmeans"
    assert make_partition(Config.preset("default").units).kind == "supervoxels"


@settings(max_examples=60, deadline=None)
@given(
    count=st.integers(0, 400),
    regions=st.integers(1, 25),
    tolerance=st.sampled_from([0.01, 0.05, 0.3]),
    shape=st.sampled_from(["sweep", "lattice", "lumps", "one place", "outliers"]),
    seed=st.integers(0, 5),
)
def test_kmeans_sizes_keep_their_bounds(count: int, regions: int, tolerance: float, shape: str, seed: int) -> None:
    points = sweep(count, seed)
    rng = np.random.default_rng(seed)
    if shape == "lattice":
        points = np.round(points / 4)
    if shape == "lumps":
        points[:, :3] = rng.integers(0, 3, (count, 1)) * 50
    if shape == "one place":
        points[:] = 7
    if shape == "outliers" and count:
        points[0, :3] = 1e12
    ids = BalancedKMeans(regions, tolerance)(points)
    sizes = np.bincount(ids, minlength=min(regions, count))
    assert len(sizes) == min(regions, count)
    if count > regions:
        least, most = (1 - tolerance) * count / regions, (1 + tolerance) * count / regions
        assert sizes.min() >= max(1, math.floor(least))
        assert sizes.max() <= max(math.floor(most), math.ceil(count / regions))


def test_kmeans_bounds_are_the_released_ones_where_they_can_be_met() -> None:
    assert size_bounds(124_668, 20, 0.05) == (int(0.95 * 124_668 / 20), int(1.05 * 124_668 / 20))
    assert size_bounds(25, 20, 0.05) == (1, 2)
    assert size_bounds(20, 20, 0.05) == (1, 1)


def test_kmeans_is_compact_and_balanced_on_a_sweep() -> None:
    points = sweep(20_000)
    ids = make_partition(UnitsConfig(kind="kmeans"))(points)
    sizes = np.bincount(ids)
    assert len(sizes) == 20
    assert sizes.min() >= 950
    assert sizes.max() <= 1050
    assert squared_spread(points, ids) < 0.6 * squared_spread(points, wedges(points))


@pytest.mark.parametrize("seed", range(4))
def test_kmeans_assigns_as_cheaply_as_the_best_balanced_assignment(seed: int) -> None:
    """Oracle: with the regions' own centres, the optimal assignment into equally many slots (Hungarian method)."""
    points = sweep(300, seed)
    ids = BalancedKMeans(6, 0.05)(points)
    xyz = points[:, :3].astype(np.float64)
    centers = np.array([xyz[ids == k].mean(axis=0) for k in range(6)])
    cost = ((xyz[:, None] - centers) ** 2).sum(axis=2)
    slots = np.repeat(cost, 50, axis=1)
    best = slots[linear_sum_assignment(slots)].sum()
    assert cost[np.arange(300), ids].sum() <= 1.02 * best


def wedges(points: np.ndarray) -> np.ndarray:
    """Twenty sectors of equal size: balanced, but not compact."""
    rank = np.argsort(np.argsort(np.arctan2(points[:, 1], points[:, 0])))
    return rank * 20 // len(points)


def squared_spread(points: np.ndarray, ids: np.ndarray) -> float:
    parts = [points[ids == k, :3].astype(np.float64) for k in np.unique(ids)]
    return sum(((part - part.mean(axis=0)) ** 2).sum() for part in parts) / len(points)


def test_kmeans_with_two_far_lumps_splits_each_in_proportion() -> None:
    rng = np.random.default_rng(0)
    lumps = rng.normal(0, 1, (1000, 3)) + np.repeat([[0, 0, 0], [100, 0, 0]], [300, 700], axis=0)
    ids = BalancedKMeans(10, 0.05)(lumps.astype(np.float32))
    assert set(ids[:300].tolist()).isdisjoint(ids[300:].tolist())


def test_grid_cells_are_squares_round_the_sensor_and_floor_below_zero() -> None:
    points = np.float32([[-0.1, 0.1, 0, 0], [0.1, 0.1, 9, 0], [3.9, 3.9, -9, 0], [-3.9, 0.1, 0, 0], [0.1, -0.1, 0, 0]])
    ids = make_partition(UnitsConfig(kind="grid", cell_m=4.0))(points)
    assert ids.tolist() == [0, 2, 2, 0, 1]


def test_grid_matches_brute_force() -> None:
    points = sweep(500)
    ids = make_partition(UnitsConfig(kind="grid", cell_m=3.0))(points)
    cells = [(math.floor(float(x) / 3), math.floor(float(y) / 3)) for x, y in points[:, :2]]
    number = {cell: k for k, cell in enumerate(sorted(set(cells)))}
    assert ids.tolist() == [number[cell] for cell in cells]
