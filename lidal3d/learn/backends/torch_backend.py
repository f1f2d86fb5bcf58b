# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""The default backend: compiled loops for float32 on a CPU, torch's own gather, multiply and sum for all else."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from lidal3d.learn.backends import compiled, gather
from lidal3d.learn.kernel_maps import KernelMap


def convolve(features: Tensor, weight: Tensor, kernel_map: KernelMap) -> Tensor:
    """Features (V_out, C_out) from features (V_in, C_in) and weights (K, C_in, C_out), differentiable in both."""
    if torch.is_grad_enabled() and (features.requires_grad or weight.requires_grad):
        result: Tensor = _Convolution.apply(features, weight, kernel_map)
        return result
    return _kernels(features).multiply_and_sum(features, weight, kernel_map)


def _kernels(features: Tensor) -> Any:
    plain: ModuleType = compiled if features.device.type == "cpu" and features.dtype == torch.float32 else gather
    return plain


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, weight: Tensor, kernel_map: KernelMap) -> Tensor:
        ctx.save_for_backward(features, weight)
        ctx.kernel_map = kernel_map
        result: Tensor = _kernels(features).multiply_and_sum(features, weight, kernel_map)
        return result

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor, None]:
        features, weight = ctx.saved_tensors
        wanted = ctx.needs_input_grad[0]
        return (*_kernels(features).gradients(features, grad.contiguous(), weight, ctx.kernel_map, wanted), None)
