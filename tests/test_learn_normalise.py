# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""The compiled batch normalisation is torch's, forward, backward and in its running statistics."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from lidal3d.learn.backends import normalise
from lidal3d.learn.sparse import VoxelNorm


def outcome(norm: nn.BatchNorm1d, features: Tensor, grad: Tensor) -> dict[str, Tensor]:
    """What two steps give: values, gradients, statistics."""
    torch.manual_seed(5)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    x = features.clone().requires_grad_()
    for _ in range(2):
        y = norm(x)
        y.backward(grad)
    assert x.grad is not None
    gradients = {f"grad of {name}": p.grad for name, p in norm.named_parameters() if p.grad is not None}
    return {"y": y.detach(), "grad of x": x.grad, **gradients, **dict(norm.named_buffers())}


@pytest.mark.parametrize("rows", [2, 3, 400])
@pytest.mark.parametrize("width", [8, 16, 24, 32, 40, 64, 72])
def test_it_is_torchs_own(rows: int, width: int) -> None:
    torch.manual_seed(rows * width)
    features = torch.randn(rows, width) * (0.5 + 3 * torch.rand(width)) + torch.randn(width) * 3
    # As gradients come: of mean zero a column's sum would be nothing but rounding.
    grad = 1 + torch.randn(width, rows).t()
    own, wanted = (outcome(kind(width), features, grad) for kind in (VoxelNorm, nn.BatchNorm1d))
    assert normalise.computes(VoxelNorm(width), features)
    assert own.keys() == wanted.keys()
    for name in wanted:
        torch.testing.assert_close(
            own[name], wanted[name], rtol=1e-4, atol=2e-4, msg=lambda m, name=name: f"{name}: {m}"
        )


def test_a_column_far_from_zero_keeps_its_variance() -> None:
    features = 3000 + torch.randn(500, 8)
    y = normalise.batch_norm(VoxelNorm(8), features)
    assert torch.allclose(y.std(dim=0), torch.ones(8), atol=2e-3)
    assert y.mean(dim=0).abs().max() < 2e-2


@pytest.mark.parametrize(
    ("features", "affine"),
    [(torch.ones(3, 6), True), (torch.ones(3, 8), False), (torch.ones(1, 8), True), (torch.ones(3, 8).double(), True)],
)
def test_all_else_is_left_to_torch(features: Tensor, affine: bool) -> None:
    assert not normalise.computes(VoxelNorm(features.shape[1], affine=affine), features)
