# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""What layers and loss need from the other processes of a training: sums over all of them, and whose rows come first.

A step of several processes is the step that one would take on all their voxels. So batch normalisation takes its
statistics over all of them, and dropout draws for all and uses its own rows.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, distributed, nn


class Together:
    """The processes of a training, through torch's default process group."""

    def sum(self, values: Tensor) -> Tensor:
        """The sum of `values` over all processes, in place; every process must ask, in the same order."""
        distributed.all_reduce(values)
        return values

    def rows(self, own: Tensor) -> tuple[int, int]:
        """How many rows the processes before this one hold of what `own` is a part of, and how many all hold."""
        counts = torch.zeros(distributed.get_world_size(), dtype=torch.int64, device=own.device)
        counts[distributed.get_rank()] = len(own)
        held = self.sum(counts).tolist()
        return sum(held[: distributed.get_rank()]), sum(held)


_together: ContextVar[Together | None] = ContextVar("processes that train together", default=None)


def together() -> Together | None:
    """The processes that train together, or None where this one is alone."""
    return _together.get()


@contextlib.contextmanager
def training_together(processes: Together | None) -> Iterator[None]:
    """Let the layers that run inside share with these processes."""
    before = _together.set(processes)
    try:
        yield
    finally:
        _together.reset(before)


def norm_together(norm: nn.BatchNorm1d, features: Tensor, processes: Together) -> Tensor:
    """Batch normalisation in training of (V, C), with statistics over the voxels of all processes.

    A voxel that is alone in all of them has no variance: it is normalised as outside training.
    """
    x = features.float()
    sums = processes.sum(_moments(x.detach()))
    n, mean, square = sums[0], sums[1 : 1 + x.shape[1]] / sums[0], sums[1 + x.shape[1] :] / sums[0]
    variance = (square - mean * mean).clamp_min(0.0)
    several = n > 1
    mean_used, variance_used = _note(norm, n, mean, variance, several)
    scale = torch.rsqrt(variance_used + norm.eps).float()
    result: Tensor = _Normalise.apply(x, mean_used.float(), scale, n, several, processes)
    if norm.affine:
        result = torch.addcmul(norm.bias, result, norm.weight)
    return result.to(features.dtype)


def _moments(x: Tensor) -> Tensor:
    """(1 + 2 C,) float64: rows, sum of each column, sum of its squares; the squares by way of the own variance."""
    found = x.new_zeros(1 + 2 * x.shape[1], dtype=torch.float64)
    if len(x):
        # Squares summed as they are would lose the variance of a column far from zero.
        variance, mean = (values.double() for values in torch.var_mean(x, dim=0, correction=0))
        found[0] = len(x)
        found[1:] = len(x) * torch.cat([mean, variance + mean * mean])
    return found


def _note(norm: nn.BatchNorm1d, n: Tensor, mean: Tensor, variance: Tensor, several: Tensor) -> tuple[Tensor, Tensor]:
    """Move the running statistics; the mean and variance to normalise with."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert norm.num_batches_tracked is not None
    assert norm.momentum is not None
    # Decided on the device: asking for the number would make a GPU wait in every layer.
    used = torch.where(several, mean, norm.running_mean.double()), torch.where(several, variance, norm.running_var)
    unbiased = variance * (n / (n - 1).clamp_min(1))
    share = norm.momentum * several
    norm.running_mean.lerp_(mean.float(), share.float())
    norm.running_var.lerp_(unbiased.float(), share.float())
    norm.num_batches_tracked.add_(several)
    return used


class _Normalise(torch.autograd.Function):
    """(x − mean) × scale, whose mean and scale are those of all processes' x."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, mean: Tensor, scale: Tensor, n: Tensor, several: Tensor, processes: Together
    ) -> Tensor:
        normed = (x - mean) * scale
        ctx.save_for_backward(normed, scale, n, several)
        ctx.processes = processes
        return normed

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None, None, None]:
        normed, scale, n, several = ctx.saved_tensors
        sums = torch.cat([grad.sum(0, dtype=torch.float64), (grad * normed).sum(0, dtype=torch.float64)])
        shift, slope = (ctx.processes.sum(sums) * several / n).float().chunk(2)
        return (grad - shift - normed * slope) * scale, None, None, None, None, None
