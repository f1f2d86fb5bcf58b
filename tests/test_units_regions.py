# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Sums over regions against plain loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lidal3d.units.regions import region_centers, region_means, region_sizes


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 200), st.integers(1, 9), st.integers(0, 99), st.sampled_from(["f2", "f4", "f8", "i4"]))
def test_sizes_and_means_match_loops(count: int, regions: int, seed: int, dtype: str) -> None:
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, regions, count).astype(np.int32)
    values = rng.normal(0, 9, size=(count, 3)).astype(dtype)
    means = region_means(ids, regions, values)
    assert means.shape == (regions, 3)
    assert means.dtype == np.float64
    assert region_sizes(ids, regions).tolist() == [int((ids == r).sum()) for r in range(regions)]
    for r in range(regions):
        own = values[ids == r].astype(np.float64)
        expected = own.mean(axis=0) if len(own) else np.full(3, np.nan)
        np.testing.assert_allclose(means[r], expected, rtol=1e-12, atol=1e-14)
        np.testing.assert_array_equal(region_means(ids, regions, values[:, 0])[r], means[r, 0])


def test_centers_keep_double_precision_far_from_the_origin() -> None:
    xyz = np.array([[4e6 + 0.001, 0, 0], [4e6 + 0.003, 0, 0]])
    centers = region_centers(np.zeros(2, np.int32), 1, xyz)
    assert centers.shape == (1, 3)
    assert centers[0, 0] == pytest.approx(4e6 + 0.002, abs=1e-8)


def test_no_points_and_no_regions() -> None:
    none = np.zeros(0, np.int32)
    assert region_sizes(none, 0).shape == (0,)
    assert region_means(none, 0, np.zeros((0, 4))).shape == (0, 4)
    assert np.isnan(region_centers(none, 2, np.zeros((0, 3)))).all()


def test_lengths_that_differ_are_refused_with_both_numbers() -> None:
    with pytest.raises(ValueError, match="3 values for 2 points"):
        region_means(np.zeros(2, np.int32), 1, np.zeros(3))
