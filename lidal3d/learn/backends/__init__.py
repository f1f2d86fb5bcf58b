# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Sparse convolution behind one function, `convolve`; which backend computes it is chosen around a call.

Weights are (K, C_in, C_out), offsets in the order of `kernel_maps.NEIGHBOURS`, whatever the backend: state dicts move
between them as they are.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar

import torch
from torch import Tensor

from lidal3d.errors import UsageError
from lidal3d.learn.backends import spconv_backend, torch_backend
from lidal3d.learn.kernel_maps import KernelMap

Convolve = Callable[[Tensor, Tensor, KernelMap], Tensor]
BACKENDS: dict[str, Convolve] = {"torch": torch_backend.convolve, "spconv": spconv_backend.convolve}
_chosen: ContextVar[str] = ContextVar("sparse convolution backend", default="torch")


def convolve(features: Tensor, weight: Tensor, kernel_map: KernelMap) -> Tensor:
    """Features (V_out, C_out) from features (V_in, C_in) and weights (K, C_in, C_out), differentiable in both.

    y_o = Σ_k Σ_{(i, o) ∈ map_k} x_i W_k
    """
    kind = features.device.type
    if torch.is_autocast_enabled(kind):
        dtype = torch.get_autocast_dtype(kind)
        features, weight = features.to(dtype), weight.to(dtype)
    return BACKENDS[_chosen.get()](features, weight, kernel_map)


@contextlib.contextmanager
def using_backend(name: str) -> Iterator[None]:
    """Let `name` ("torch", "spconv") compute what runs inside. Raises UsageError for a name that is none.

    >>> with using_backend("torch"):
    ...     pass
    """
    if name not in BACKENDS:
        raise UsageError(f"no sparse convolution backend '{name}' (known: {', '.join(BACKENDS)})")
    before = _chosen.set(name)
    try:
        yield
    finally:
        _chosen.reset(before)
