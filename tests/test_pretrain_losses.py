# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""TWIST and Barlow Twins against numpy, against known numbers, and where they collapse."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from lidal3d.learn.pretrain.losses import (  # noqa: E402
    barlow_terms,
    barlow_twins_loss,
    small_batch,
    standardised,
    twist_loss,
    twist_terms,
)

FIRST = np.array([[2, 0, -1], [0, 3, 0], [-1, 0, 2], [1, 1, 0]], np.float64)
SECOND = np.array([[1.5, 0.5, -1], [0, 2, 1], [-1, 1, 2], [0, 1, 0]], np.float64)
EPSILON = 1e-5


def softmax(x: np.ndarray) -> np.ndarray:
    raised = np.exp(x - x.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)


def twist_reference(first: np.ndarray, second: np.ndarray) -> tuple[float, float, float]:
    """The three terms, row by row."""
    views = [softmax(first), softmax(second)]

    def divergence(p: np.ndarray, q: np.ndarray) -> float:
        rows = [sum(a * np.log(a + EPSILON) - a * np.log(b + EPSILON) for a, b in zip(x, y, strict=True))
                for x, y in zip(p, q, strict=True)]  # fmt: skip
        return float(np.mean(rows))

    def information(p: np.ndarray) -> float:
        return -sum(a * np.log(a + EPSILON) for a in p)

    consistency = 0.5 * (divergence(*views) + divergence(*views[::-1]))
    sharpness = 0.5 * sum(np.mean([information(row) for row in p]) for p in views)
    diversity = 0.5 * sum(information(p.mean(axis=0)) for p in views)
    return consistency, sharpness, diversity


def barlow_reference(first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
    """The two sums, entry by entry."""
    a, b = ((x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + EPSILON) for x in (first, second))
    on = off = 0.0
    for i in range(a.shape[1]):
        for j in range(a.shape[1]):
            correlation = float(np.mean(a[:, i] * b[:, j]))
            on, off = (on + (1 - correlation) ** 2, off) if i == j else (on, off + correlation**2)
    return on, off


def test_twist_gives_the_known_numbers() -> None:
    terms = twist_terms(torch.from_numpy(FIRST), torch.from_numpy(SECOND))
    found = [float(terms.consistency), float(terms.sharpness), float(terms.diversity), float(terms.loss())]
    assert found == pytest.approx([0.118261, 0.715077, 1.080245, -0.246906], abs=1e-6)
    both = twist_loss(torch.from_numpy(FIRST), torch.from_numpy(SECOND))
    assert float(both) == pytest.approx(-0.243491, abs=1e-6)


def test_barlow_twins_gives_the_known_numbers() -> None:
    terms = barlow_terms(torch.from_numpy(FIRST), torch.from_numpy(SECOND))
    assert float(terms.on_diagonal) == pytest.approx(0.013577, abs=1e-6)
    assert float(terms.off_diagonal) == pytest.approx(2.202352, abs=1e-5)
    loss = barlow_twins_loss(torch.from_numpy(FIRST), torch.from_numpy(SECOND))
    assert float(loss) == pytest.approx(0.024809, abs=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_both_agree_with_numpy(seed: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = rng.normal(0, 2, (2, 17, 5))
    terms = twist_terms(torch.from_numpy(first), torch.from_numpy(second))
    expected = twist_reference(first, second)
    assert [float(terms.consistency), float(terms.sharpness), float(terms.diversity)] == pytest.approx(expected)
    alpha, beta = 0.4, 0.7
    assert float(terms.loss(alpha, beta)) == pytest.approx(expected[0] + alpha * expected[1] - beta * expected[2])
    found = barlow_terms(torch.from_numpy(first), torch.from_numpy(second))
    assert [float(found.on_diagonal), float(found.off_diagonal)] == pytest.approx(barlow_reference(first, second))


def test_standardised_is_batch_normalisation_without_scale_and_shift() -> None:
    values = torch.from_numpy(np.random.default_rng(0).normal(3, 5, (30, 4)))
    norm = torch.nn.BatchNorm1d(4, affine=False).double()
    assert torch.allclose(standardised(values), norm(values))
    # A column without variance becomes zero, not NaN.
    assert torch.equal(standardised(torch.ones(6, 2)), torch.zeros(6, 2))


def test_twist_ends_and_collapses() -> None:
    classes, rows = 3, 300
    sharp = 40.0 * torch.eye(classes).repeat(rows // classes, 1)
    ideal = twist_terms(sharp, sharp)
    assert float(ideal.loss()) == pytest.approx(-np.log(classes), abs=1e-4)
    assert ideal.collapse(classes) is None
    one = torch.tensor([40.0, 0.0, 0.0]).repeat(rows, 1)
    assert float(twist_terms(one, one).loss()) == pytest.approx(0, abs=1e-4)
    assert twist_terms(one, one).collapse(classes) == "all regions fall into few of the clusters"
    flat = torch.zeros(rows, classes)
    assert float(twist_terms(flat, flat).loss()) == pytest.approx(0, abs=1e-4)
    assert twist_terms(flat, flat).collapse(classes) == "every region falls into all clusters alike"


def test_both_have_gradients_that_lower_them() -> None:
    rng = np.random.default_rng(0)
    for loss_of in (twist_loss, barlow_twins_loss):
        first = torch.from_numpy(rng.normal(0, 1, (32, 6))).requires_grad_()
        second = torch.from_numpy(rng.normal(0, 1, (32, 6)))
        before = loss_of(first, second)
        (gradient,) = torch.autograd.grad(before, first)
        assert torch.isfinite(gradient).all()
        assert float(loss_of(first.detach() - 0.5 * gradient, second)) < float(before)


def test_a_batch_below_half_the_clusters_is_named() -> None:
    assert small_batch(128, 256) is None
    said = small_batch(127, 256)
    assert said is not None
    assert "127 regions" in said
    assert "256 clusters" in said
