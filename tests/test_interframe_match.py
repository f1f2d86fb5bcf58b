# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""The grid search against a search of all pairs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lidal3d.interframe.grid import build_grid
from lidal3d.interframe.match import match


def brute_force(query: np.ndarray, reference: np.ndarray, radius_m: float) -> np.ndarray:
    """For each query point the index of its nearest reference point within the radius (lowest index of equals), or −1."""
    if not len(reference) or not len(query):
        return np.full(len(query), -1)
    squared = ((query[:, None] - reference[None]) ** 2).sum(axis=2)
    nearest = squared.argmin(axis=1)
    return np.where(np.sqrt(squared.min(axis=1)) <= radius_m, nearest, -1)


def matched(query: np.ndarray, reference: np.ndarray, radius_m: float) -> np.ndarray:
    """The grid search's answer in original indices."""
    a, b = build_grid(query, radius_m), build_grid(reference, radius_m)
    places = match(a, b, radius_m)
    answer = np.full(len(query), -1)
    answer[a.order] = np.where(places >= 0, b.order[places] if len(b.order) else -1, -1)
    return answer


@pytest.mark.parametrize("radius_m", [0.02, 0.1, 0.5])
@pytest.mark.parametrize("sizes", [(0, 0), (0, 5), (5, 0), (1, 1), (400, 300), (7, 3000)])
def test_equals_the_search_of_all_pairs(sizes: tuple[int, int], radius_m: float) -> None:
    rng = np.random.default_rng(sum(sizes))
    query, reference = (rng.uniform(-1.5, 1.5, (n, 3)) for n in sizes)
    np.testing.assert_array_equal(matched(query, reference, radius_m), brute_force(query, reference, radius_m))


def test_equals_the_search_of_all_pairs_far_from_the_origin() -> None:
    rng = np.random.default_rng(3)
    offset = np.array([40_000.3, -55_000.7, 300.1])
    query, reference = rng.uniform(-1, 1, (500, 3)) + offset, rng.uniform(-1, 1, (800, 3)) + offset
    np.testing.assert_array_equal(matched(query, reference, 0.1), brute_force(query, reference, 0.1))


def test_dense_walls_and_one_crowded_cell() -> None:
    """Runs of many blocks, cells above and below slab borders, and thousands of points in one cell."""
    rng = np.random.default_rng(5)
    wall = np.column_stack([rng.uniform(0, 2, 3000), rng.normal(0, 0.01, 3000), rng.uniform(-2.2, 4.1, 3000)])
    heap = rng.uniform(0, 0.05, (3000, 3))
    query, reference = np.vstack([wall[:1500], heap[:1500]]), np.vstack([wall[1500:], heap[1500:]])
    np.testing.assert_array_equal(matched(query, reference, 0.1), brute_force(query, reference, 0.1))


coordinates = st.one_of(
    st.integers(-25, 25).map(lambda tenth: tenth / 10),  # on the borders of cells, rows and slabs
    st.floats(-2.5, 2.5, allow_nan=False, width=32),
)
clouds = hnp.arrays(np.float64, st.tuples(st.integers(0, 40), st.just(3)), elements=coordinates)


@settings(max_examples=300, deadline=None)
@given(query=clouds, reference=clouds)
def test_every_match_is_a_nearest_point(query: np.ndarray, reference: np.ndarray) -> None:
    """With ties any nearest point will do, but the distance must be the least and the radius is exact."""
    answer, expected = matched(query, reference, 0.1), brute_force(query, reference, 0.1)
    np.testing.assert_array_equal(answer >= 0, expected >= 0)
    hit = answer >= 0
    found = ((query[hit] - reference[answer[hit]]) ** 2).sum(axis=1)
    least = ((query[hit] - reference[expected[hit]]) ** 2).sum(axis=1)
    np.testing.assert_allclose(found, least, rtol=1e-7, atol=1e-300)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("start", [0.0, 1.0, -0.05, 1.95])
def test_a_point_at_exactly_the_radius_matches_and_the_next_float_does_not(axis: int, start: float) -> None:
    query = np.zeros((1, 3))
    query[0, axis] = start
    at, beyond = query.copy(), query.copy()
    at[0, axis] = start + 0.1
    while abs(at[0, axis] - start) > 0.1:  # the sum may round up past the radius
        at[0, axis] = np.nextafter(at[0, axis], start)
    beyond[0, axis] = start + 0.1
    while abs(beyond[0, axis] - start) <= 0.1:
        beyond[0, axis] = np.nextafter(beyond[0, axis], np.inf)
    assert matched(query, at, 0.1)[0] == 0
    assert matched(query, beyond, 0.1)[0] == -1


def test_of_equal_points_the_lowest_index_is_taken() -> None:
    assert matched(np.zeros((1, 3)), np.tile([[0.01, 0.02, 0.03]], (50, 1)), 0.1)[0] == 0


def test_points_that_are_not_finite_match_nothing() -> None:
    query = np.array([[0, 0, 0], [np.nan, 0, 0], [0, np.inf, 0], [1e9, 0, 0]], dtype=np.float64)
    np.testing.assert_array_equal(matched(query, query, 0.1), [0, -1, -1, -1])
