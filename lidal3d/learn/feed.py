# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""What differs between learning from sweeps and from pictures: how frames become a network's input, and back.

Training and prediction know frames through a Feed alone; `learn.sweeps` and `learn.images.pictures` have one each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lidal3d.learn.loss_prediction.pooling import BatchUnits


class Item(Protocol):
    """One frame for training, cut to what a step may use of it."""

    @property
    def labels(self) -> npt.NDArray[np.uint8]:
        """Train ids, 255 where there is none."""

    @property
    def weights(self) -> npt.NDArray[np.float32] | None:
        """Weights of the labels, of their shape, or None where all are 1."""

    @property
    def share(self) -> float:
        """How many points or pixels a step sees of this for each of the whole frame."""

    @property
    def labelled_share(self) -> float:
        """How many labels a step sees of this for each point or pixel of the whole frame."""


@dataclass(frozen=True)
class Fed:
    """What a step reads.

    Attributes:
        inputs: the network's arguments.
        targets: (E,) int64 of its E outputs, 255 for none.
        weights: (E,) float32.
        units: the labelled units, where items are cut into units.
    """

    inputs: tuple[Any, ...]
    targets: Tensor
    weights: Tensor
    units: BatchUnits | None = field(default=None, kw_only=True)


# From values (E, K) of a network's outputs to those (N, K) of the frame's points or pixels.
Back = Callable[[Tensor], Tensor]


class Feed(Protocol):
    """Frames of one kind as a network's input. What it draws for a view has a type of its own, known to it alone."""

    @property
    def columns(self) -> str:
        """The columns of `Frame.points()`, one word each."""

    @property
    def fills(self) -> bool:
        """Whether items are cut, so that a step holds more of them."""

    def item(
        self,
        points: npt.NDArray[np.float32],
        labels: npt.NDArray[np.uint8],
        weights: npt.NDArray[np.float32] | None,
        units: npt.NDArray[np.int32] | None = None,
    ) -> Item:
        """A frame (N, columns) with labels (N,), 255 for none, and weights (N,) for training.

        `units` (N,) are those of its points, −1 for none, where something is learnt of units.
        """

    def draw(self, rng: np.random.Generator) -> Any:
        """A view: how one frame is augmented."""

    def batch(self, items: Sequence[Any], views: Sequence[Any], classes: int, device: torch.device) -> Fed:
        """What a step reads of items, each in its view. Raises DataError where the frame's values cannot be used."""

    def view(self, points: Tensor, view: Any) -> tuple[tuple[Any, ...], Back]:
        """The network's arguments for one whole frame (N, columns) in a view, and the way back from its outputs."""

    def nothing_labelled(self, frames: int) -> str:
        """What to say where no frame has a label that a step can use."""
