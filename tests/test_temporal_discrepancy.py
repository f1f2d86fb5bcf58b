# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""TOD's measure and its rule of the first cycle, against what they say of themselves and a loop over units."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lidal3d.scores.temporal_discrepancy import distance_to_uniform, means_of_top, temporal_discrepancy

SEEDS = st.integers(0, 10**6)


def maps(seed: int, points: int = 40, classes: int = 5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return tuple(rng.dirichlet(np.full(classes, 0.3), points).astype(np.float32) for _ in range(2))  # type: ignore[return-value]


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS)
def test_the_discrepancy_lies_between_0_and_1_and_is_the_formula(seed: int) -> None:
    p, q = maps(seed)
    found = temporal_discrepancy(p, q)
    assert found.min() >= 0
    assert found.max() <= 1 + 1e-6
    np.testing.assert_allclose(found, [0.5 * sum((a - b) ** 2) for a, b in zip(p, q, strict=True)], rtol=1e-5)


def test_it_is_1_only_where_two_sure_models_disagree() -> None:
    sure = np.eye(3, dtype=np.float16)
    np.testing.assert_array_equal(temporal_discrepancy(sure, sure[[1, 2, 0]]), 1)


def test_identical_models_give_zero_everywhere() -> None:
    p, _ = maps(3)
    np.testing.assert_array_equal(temporal_discrepancy(p, p), 0)


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS)
def test_the_names_of_the_classes_do_not_matter(seed: int) -> None:
    p, q = maps(seed)
    order = np.random.default_rng(seed).permutation(p.shape[1])
    np.testing.assert_allclose(temporal_discrepancy(p[:, order], q[:, order]), temporal_discrepancy(p, q), rtol=1e-6)
    np.testing.assert_allclose(distance_to_uniform(p[:, order]), distance_to_uniform(p), rtol=1e-6)


def test_the_first_cycle_asks_first_what_lies_nearest_to_uniform() -> None:
    p = np.array([[0.9, 0.05, 0.05], [1 / 3, 1 / 3, 1 / 3], [0.5, 0.3, 0.2], [0, 0, 1]], np.float32)
    found = distance_to_uniform(p)
    by_hand = [0.5 * ((row - 1 / 3) ** 2).sum() for row in p.astype(np.float64)]
    np.testing.assert_allclose(found, by_hand, atol=1e-7)
    assert np.argsort(found).tolist() == [1, 2, 0, 3]
    assert found[1] == pytest.approx(0, abs=1e-12)


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, share=st.sampled_from([0.01, 0.1, 0.34, 0.5, 1.0]))
def test_the_mean_of_the_top_is_that_of_the_largest_values_of_each_unit(seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    unit, values = rng.integers(0, 6, 50).astype(np.int32), rng.choice(rng.random(20), 50)
    found = means_of_top(values, unit, 8, share)
    for u in range(8):
        own = np.sort(values[unit == u])[::-1]
        if len(own):
            assert found[u] == pytest.approx(own[: max(1, int(np.ceil(share * len(own))))].mean())
        else:
            assert np.isnan(found[u])
