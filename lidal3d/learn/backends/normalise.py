# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Batch normalisation of (V, C) float32 in training on a CPU, in compiled loops.

    y = (x − mean) · scale · weight + bias,  scale = 1 / √(variance + ε),  mean and variance over the rows

Torch's own takes nearly twice as long. Sums run and round here as they do there (2.13, on a processor that fuses product
and sum), so that the two give the same bytes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from numba import njit
from torch import Tensor, nn

from lidal3d.learn.backends.column_tiles import move_tile, pull_tile, slopes_tile, statistics_tile
from lidal3d.learn.backends.tiles import LANES

Float32 = npt.NDArray[np.float32]
PANEL = 4 * LANES  # columns that pass at a time

_statistics_4, _statistics_3, _statistics_2, _statistics_1 = (statistics_tile(v) for v in (4, 3, 2, 1))
_slopes_4, _slopes_3, _slopes_2, _slopes_1 = (slopes_tile(v) for v in (4, 3, 2, 1))
_move_4, _move_3, _move_2, _move_1 = (move_tile(v) for v in (4, 3, 2, 1))
_pull_4, _pull_3, _pull_2, _pull_1 = (pull_tile(v) for v in (4, 3, 2, 1))


def computes(norm: nn.BatchNorm1d, features: Tensor) -> bool:
    """Whether the loops here do for these features; torch's own does for all others."""
    return (
        features.device.type == "cpu"
        and features.dtype == torch.float32
        and norm.affine
        and norm.momentum is not None
        and features.shape[1] % LANES == 0
        and len(features) > 1
    )


def batch_norm(norm: nn.BatchNorm1d, features: Tensor) -> Tensor:
    """The normalised features (V, C), differentiable; the running statistics move."""
    result: Tensor = _BatchNorm.apply(features, norm.weight, norm.bias, norm)
    return result


class _BatchNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, weight: Tensor, bias: Tensor, norm: nn.BatchNorm1d) -> Tensor:
        assert norm.running_mean is not None
        assert norm.running_var is not None
        assert norm.num_batches_tracked is not None
        assert norm.momentum is not None
        norm.num_batches_tracked.add_(1)
        features = features.contiguous()
        y = torch.empty_like(features)
        ctx.statistics = mean, scale = np.empty((2, features.shape[1]), dtype=np.float32)
        normalise(
            features.detach().numpy(), weight.detach().numpy(), bias.detach().numpy(), norm.eps, norm.momentum,
            norm.running_mean.numpy(), norm.running_var.numpy(), mean, scale, y.numpy(),
        )  # fmt: skip
        ctx.save_for_backward(features, weight)
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        features, weight = ctx.saved_tensors
        dx, dw, db = torch.empty_like(features), torch.empty_like(weight), torch.empty_like(weight)
        x, dy, w = features.detach().numpy(), grad.contiguous().numpy(), weight.detach().numpy()
        mean, scale = ctx.statistics
        pull_back(x, dy, mean, scale, w, dx.numpy(), dw.numpy(), db.numpy())
        return dx, dw, db, None


@njit(cache=True, nogil=True)
def normalise(
    x: Float32, weight: Float32, bias: Float32, eps: float, momentum: float, running_mean: Float32,
    running_var: Float32, mean: Float32, scale: Float32, y: Float32,
) -> None:  # fmt: skip
    """Write y, mean and scale; move the running statistics by `momentum`."""
    rows, width = x.shape
    _find_statistics(x, mean, scale)
    slope, shift = np.empty_like(mean), np.empty_like(mean)
    share, rest = np.float32(momentum), np.float32(1 - momentum)
    for c in range(width):
        squares = scale[c]
        # Where float64 stands torch has one rounding: a fused product and sum, or a root in float64.
        scale[c] = 1 / np.sqrt(np.float64(squares / np.float32(rows)) + eps)
        slope[c] = scale[c] * weight[c]
        shift[c] = np.float64(bias[c]) - np.float64(mean[c]) * np.float64(slope[c])
        running_mean[c] = share * mean[c] + rest * running_mean[c]
        unbiased = squares / np.float32(rows - 1)
        running_var[c] = np.float64(share) * unbiased + np.float64(rest * running_var[c])
    _move(x, slope, shift, y)


@njit(cache=True, nogil=True)
def pull_back(
    x: Float32, dy: Float32, mean: Float32, scale: Float32, weight: Float32, dx: Float32, dw: Float32, db: Float32
) -> None:
    """Write dx = (dy − Σ dy / V − (x − mean) · scale² Σ (x − mean) dy / V) · scale · weight, dw and db."""
    rows, width = x.shape
    _find_slopes(x, dy, mean, db, dw)
    level, pull = np.empty_like(mean), np.empty_like(mean)
    for c in range(width):
        level[c] = db[c] / np.float32(rows)
        pull[c] = dw[c] * scale[c] * scale[c] / np.float32(rows)
        dw[c] *= scale[c]
    _pull(x, dy, mean, level, pull, scale, weight, dx)


@njit(cache=True, nogil=True)
def _find_statistics(x: Float32, mean: Float32, squares: Float32) -> None:
    rows, width = x.shape
    for column in range(0, width, PANEL):
        vectors = min(width - column, PANEL) // LANES
        if vectors == 4:
            _statistics_4(x, mean, squares, rows, width, column)
        elif vectors == 3:
            _statistics_3(x, mean, squares, rows, width, column)
        elif vectors == 2:
            _statistics_2(x, mean, squares, rows, width, column)
        else:
            _statistics_1(x, mean, squares, rows, width, column)


@njit(cache=True, nogil=True)
def _find_slopes(x: Float32, dy: Float32, mean: Float32, total: Float32, slopes: Float32) -> None:
    rows, width = x.shape
    for column in range(0, width, PANEL):
        vectors = min(width - column, PANEL) // LANES
        if vectors == 4:
            _slopes_4(x, dy, mean, total, slopes, rows, width, column)
        elif vectors == 3:
            _slopes_3(x, dy, mean, total, slopes, rows, width, column)
        elif vectors == 2:
            _slopes_2(x, dy, mean, total, slopes, rows, width, column)
        else:
            _slopes_1(x, dy, mean, total, slopes, rows, width, column)


@njit(cache=True, nogil=True)
def _move(x: Float32, slope: Float32, shift: Float32, y: Float32) -> None:
    rows, width = x.shape
    for column in range(0, width, PANEL):
        vectors = min(width - column, PANEL) // LANES
        if vectors == 4:
            _move_4(x, slope, shift, y, rows, width, column)
        elif vectors == 3:
            _move_3(x, slope, shift, y, rows, width, column)
        elif vectors == 2:
            _move_2(x, slope, shift, y, rows, width, column)
        else:
            _move_1(x, slope, shift, y, rows, width, column)


@njit(cache=True, nogil=True)
def _pull(
    x: Float32, dy: Float32, mean: Float32, level: Float32, pull: Float32, scale: Float32, weight: Float32, dx: Float32
) -> None:
    rows, width = x.shape
    for column in range(0, width, PANEL):
        vectors = min(width - column, PANEL) // LANES
        if vectors == 4:
            _pull_4(x, dy, mean, level, pull, scale, weight, dx, rows, width, column)
        elif vectors == 3:
            _pull_3(x, dy, mean, level, pull, scale, weight, dx, rows, width, column)
        elif vectors == 2:
            _pull_2(x, dy, mean, level, pull, scale, weight, dx, rows, width, column)
        else:
            _pull_1(x, dy, mean, level, pull, scale, weight, dx, rows, width, column)
