# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Taps: the inner features of a network that a loss head reads, caught while it runs. Without one, nothing is caught."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn

from lidal3d.errors import UsageError


@dataclass(frozen=True)
class Tap:
    """Inner features of one resolution.

    Attributes:
        values: (R, C).
        row: (E,) int64, the row in `values` that stands for each element (finest voxel, pixel) of the input.
        owner: (R,) int64, which sweep or picture of the batch each row belongs to; −1 for a margin around it.
    """

    values: Tensor
    row: Tensor
    owner: Tensor

    def detached(self) -> Tap:
        """The same, through which no gradient goes back into the network."""
        return Tap(self.values.detach(), self.row, self.owner)


@runtime_checkable
class Tappable(Protocol):
    """A network with taps. It is called as network(*inputs)."""

    def tap_modules(self) -> Sequence[nn.Module]:
        """The parts whose outputs are tapped, in the order in which they run."""

    def tap_channels(self) -> tuple[int, ...]:
        """C of each tap."""

    def tap(self, output: Any, inputs: tuple[Any, ...]) -> Tap:
        """A part's output as a tap; `inputs` are the arguments of the network's own call."""


@contextlib.contextmanager
def tapping(network: Tappable) -> Iterator[list[Any]]:
    """The outputs of the tapped parts, in order, each time the network runs inside."""
    caught: list[Any] = []
    hooks = [
        module.register_forward_hook(lambda module, given, output: caught.append(output))
        for module in network.tap_modules()
    ]
    try:
        yield caught
    finally:
        for hook in hooks:
            hook.remove()


def tappable(network: nn.Module) -> Tappable:
    """The network as one with taps. Raises UsageError where it has none."""
    if not isinstance(network, Tappable):
        raise UsageError(f"{type(network).__name__} has no taps that a loss head could read; take another architecture")
    return network
