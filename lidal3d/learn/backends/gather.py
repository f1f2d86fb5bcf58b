# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Sparse convolution on a kernel map in plain torch: gather, multiply, sum by output row. CPU and GPU.

    y_o = Σ_k Σ_{(i, o) ∈ map_k} x_i W_k

The sum is an embedding bag over the products, which is several times faster than index_add on a CPU, adds in a fixed
order everywhere, and so gives the same bytes at every run.
"""

from __future__ import annotations

import threading

import torch
from torch import Tensor
from torch.nn import functional

from lidal3d.learn.kernel_maps import KernelMap

_scratch = threading.local()


def multiply_and_sum(features: Tensor, weight: Tensor, kernel_map: KernelMap) -> Tensor:
    """y (V_out, C_out) from x (V_in, C_in) and W (K, C_in, C_out), of any type and on any device."""
    products = _buffer(len(kernel_map.inputs), weight.shape[2], features)
    begin = 0
    for k, count in enumerate(kernel_map.counts):
        if count:
            rows = slice(begin, begin + count)
            gathered = features if k == kernel_map.identity else features.index_select(0, kernel_map.inputs[rows])
            torch.mm(gathered, weight[k], out=products[rows])
            begin += count
    return functional.embedding_bag(kernel_map.by_output, products, kernel_map.starts, mode="sum")


def gradients(
    features: Tensor, grad: Tensor, weight: Tensor, kernel_map: KernelMap, features_wanted: bool
) -> tuple[Tensor | None, Tensor]:
    """dx_i = Σ_k Σ_{(i, o)} dy_o W_kᵀ and dW_k = Σ_{(i, o) ∈ map_k} x_iᵀ dy_o, one gather of dy for both."""
    grad_weight = torch.zeros_like(weight)
    products = _buffer(len(kernel_map.inputs), weight.shape[1], grad) if features_wanted else None
    begin = 0
    for k, count in enumerate(kernel_map.counts):
        if not count:
            continue
        rows = slice(begin, begin + count)
        begin += count
        if k == kernel_map.identity:
            x, dy = features, grad
        else:
            x = features.index_select(0, kernel_map.inputs[rows])
            dy = grad.index_select(0, kernel_map.outputs[rows])
        torch.mm(x.t(), dy, out=grad_weight[k])
        if products is not None:
            torch.mm(dy, weight[k].t(), out=products[rows])
    if products is None:
        return None, grad_weight
    back = kernel_map.transposed
    return functional.embedding_bag(back.by_output, products, back.starts, mode="sum"), grad_weight


def _buffer(rows: int, columns: int, like: Tensor) -> Tensor:
    """A (rows, columns) tensor that is reused on a CPU: fresh pages for tens of megabytes cost more than the sums."""
    if like.device.type != "cpu":
        return like.new_empty(rows, columns)
    held = getattr(_scratch, "memory", None)
    if held is None or held.dtype != like.dtype or held.numel() < rows * columns:
        # A tensor born in inference mode could not be written outside it.
        with torch.inference_mode(False):
            held = _scratch.memory = torch.empty(rows * columns, dtype=like.dtype)
    return held[: rows * columns].view(rows, columns)
