# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Sparse convolution by spconv's Native algorithm, on lidal3d's own kernel maps: `pip install "lidal3d[spconv]"`.

spconv 2.3.8 on a CPU needs two repairs, both made here. Its backward pass asks torch for a CUDA stream, which a build
without CUDA does not have: it is told stream 0. Its scatter-add races between OpenMP threads and so gives silently
wrong sums: on a CPU it gets one thread, and torch its own number back afterwards.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import lru_cache
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from lidal3d.errors import MissingDependency, UsageError
from lidal3d.learn.kernel_maps import KernelMap


def convolve(features: Tensor, weight: Tensor, kernel_map: KernelMap) -> Tensor:
    """Features (V_out, C_out) from features (V_in, C_in) and weights (K, C_in, C_out), differentiable in both.

    Raises:
        MissingDependency: spconv is not installed, or does not load.
        UsageError: a type that spconv does not compute in.
    """
    allowed = (torch.float32,) if features.device.type == "cpu" else (torch.float32, torch.float16)
    if features.dtype not in allowed:
        raise UsageError(f"spconv computes no {features.dtype} on a {features.device.type}; use the torch backend")
    if not len(kernel_map.inputs):
        return features.sum() * weight.sum() * 0 + features.new_zeros(kernel_map.rows, weight.shape[2])
    # spconv keeps weights as (C_out, K, C_in).
    filters = weight.to(features.dtype).permute(2, 0, 1).contiguous()
    result: Tensor = _Convolution.apply(features, filters, kernel_map)
    return result


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, filters: Tensor, kernel_map: KernelMap) -> Tensor:
        ctx.save_for_backward(features, filters)
        ctx.kernel_map = kernel_map
        pairs, counts = pair_table(kernel_map)
        with _one_thread_on(features):
            result: Tensor = operations().indice_conv(
                features, filters, pairs, counts, kernel_map.rows, subm=kernel_map.identity >= 0
            )
        return result

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        features, filters = ctx.saved_tensors
        pairs, counts = pair_table(ctx.kernel_map)
        with _one_thread_on(features):
            back, grad_filters = operations().indice_conv_backward(
                features, filters, grad.contiguous(), pairs, counts, subm=ctx.kernel_map.identity >= 0
            )
        return back, grad_filters, None


@lru_cache(maxsize=1)
def operations() -> ModuleType:
    """spconv.pytorch.ops, once it no longer asks for a CUDA stream where there is no GPU."""
    try:
        from spconv.pytorch import ops
    except ImportError as error:
        raise MissingDependency(
            f'the spconv backend needs spconv ({error}); pip install "lidal3d[spconv]" or set train.backend: torch'
        ) from None
    asked = ops.get_current_stream
    ops.get_current_stream = lambda: asked() if torch.cuda.is_available() else 0
    module: ModuleType = ops
    return module


@contextlib.contextmanager
def _one_thread_on(features: Tensor) -> Iterator[None]:
    """One OpenMP thread for spconv's CPU code, which sums wrongly with more."""
    before = torch.get_num_threads()
    if features.device.type != "cpu" or before == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def pair_table(kernel_map: KernelMap) -> tuple[Tensor, Tensor]:
    """spconv's form of a map, kept on it: pairs (2, K, P) int32, −1 after the last of a weight, and counts (K,)."""
    held: tuple[Tensor, Tensor] | None = getattr(kernel_map, "_spconv_pairs", None)
    if held is None:
        held = _pair_table(kernel_map)
        kernel_map._spconv_pairs = held  # type: ignore[attr-defined]
    return held


def _pair_table(kernel_map: KernelMap) -> tuple[Tensor, Tensor]:
    device = kernel_map.inputs.device
    counts = torch.tensor(kernel_map.counts, device=device)
    weight = torch.repeat_interleave(torch.arange(len(counts), device=device), counts)
    place = torch.arange(len(weight), device=device) - (torch.cumsum(counts, 0) - counts)[weight]
    table = torch.full((2, len(counts), max(kernel_map.counts)), -1, dtype=torch.int32, device=device)
    table[0, weight, place] = kernel_map.inputs.int()
    table[1, weight, place] = kernel_map.outputs.int()
    return table, counts.int()
