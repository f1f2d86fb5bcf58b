# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""The mean teacher against its closed form, and what it must not do."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from lidal3d.learn.architecture import Architecture
from lidal3d.learn.batch import VOXEL_FEATURES, network_input
from lidal3d.learn.networks import build
from lidal3d.learn.sparse import Level
from lidal3d.learn.teacher import Teacher, consistency_sums


def with_weights(value: float) -> nn.BatchNorm1d:
    """Weights, statistics and the counter of a layer, all as told."""
    norm = nn.BatchNorm1d(2).double()
    with torch.no_grad():
        for tensor in norm.state_dict().values():
            tensor.fill_(value)
    return norm


@pytest.mark.parametrize("alpha", [0.0, 0.5, 0.9, 0.999])
def test_after_n_steps_it_is_the_weighted_sum_of_all_weights_so_far(alpha: float) -> None:
    drawn = np.random.default_rng(0).integers(1, 50, 13).astype(float)
    teacher = Teacher(with_weights(drawn[0]), alpha)
    for step, value in enumerate(drawn[1:], start=1):
        teacher.follow(with_weights(value), step)
    alphas = [min(alpha, 1 - 1 / (t + 1)) for t in range(1, len(drawn))]
    weights = [np.prod(alphas)] + [(1 - a) * np.prod(alphas[t + 1 :]) for t, a in enumerate(alphas)]
    assert sum(weights) == pytest.approx(1)
    found = teacher.network.state_dict()
    for name in ("weight", "bias", "running_mean", "running_var"):
        np.testing.assert_allclose(found[name].numpy(), np.dot(weights, drawn), rtol=1e-12)
    assert found["num_batches_tracked"] == drawn[-1]


def test_while_it_is_young_it_is_the_plain_mean() -> None:
    teacher = Teacher(with_weights(3.0), 0.999)
    for step, value in enumerate((7.0, 1.0, 9.0), start=1):
        teacher.follow(with_weights(value), step)
    np.testing.assert_allclose(teacher.network.weight.numpy(), 5.0)


def sweep_input() -> tuple[torch.Tensor, Level]:
    points = np.random.default_rng(1).uniform((-3, -3, -1, 0), (3, 3, 1, 1), (200, 4)).astype(np.float32)
    data = network_input([torch.from_numpy(points)], 0.5)
    return data.features, Level(data.voxels.keys)


def test_it_is_asked_in_evaluation_mode_without_gradient_and_left_as_it_is() -> None:
    network = build(Architecture(3, VOXEL_FEATURES, 0.125, 1, "spvcnn")).train()
    teacher = Teacher(network, 0.9)
    before = {name: tensor.clone() for name, tensor in teacher.network.state_dict().items()}
    inputs = sweep_input()
    first, second = teacher.logits(inputs), teacher.logits(inputs)
    assert torch.equal(first, second)
    assert not first.requires_grad
    assert network.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in teacher.network.state_dict().items())


def test_following_does_not_touch_the_network() -> None:
    network = with_weights(2.0)
    teacher = Teacher(with_weights(8.0), 0.5)
    teacher.follow(network, 1)
    assert (network.weight == 2).all()
    assert network.weight.requires_grad
    assert not any(p.requires_grad for p in teacher.network.parameters())


def test_the_consistency_loss_pulls_the_network_and_never_the_teacher() -> None:
    logits, wanted = torch.randn(7, 3, requires_grad=True), torch.randn(7, 3, requires_grad=True)
    squares, voxels = consistency_sums(logits, wanted)
    torch.testing.assert_close(squares / voxels, ((logits - wanted) ** 2).mean())
    squares.backward()
    assert wanted.grad is None
    assert logits.grad is not None
