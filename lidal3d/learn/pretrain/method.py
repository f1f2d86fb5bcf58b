# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""What a self-supervised method is: a head beside the encoder, what a step sees, and the loss.

A new method is one file with one `Method`, and one line in `lidal3d.learn.pretrain.methods`. The training
(`lidal3d.learn.pretrain.train`) builds encoder and head, and for every step calls `draw`, `loss` and `after`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor, nn

from lidal3d.config import Config
from lidal3d.learn.pretrain.encoders import EncoderNetwork
from lidal3d.scene.scene import Frame

BOTH = frozenset({"sparse", "image"})


@dataclass(frozen=True)
class Ask:
    """What a method is given.

    Attributes:
        frames: what to learn from; their labels are never read.
        encoder: the network that learns; `encoder.tokenised` makes its inputs.
        head: from the method's own `head`, trained and saved with the encoder.
        config: all settings.
    """

    frames: Sequence[Frame]
    encoder: EncoderNetwork
    head: nn.Module
    config: Config


class Objective:
    """A method at work. `draw` may run a step ahead on another thread: it must touch no weights and no memories."""

    def draw(self, rng: np.random.Generator) -> Any:
        """What the next step sees; `rng` is the only source of chance, and is drawn from in the order of the steps.

        Raises:
            DataError: a damaged frame, or nothing to learn from.
        """
        raise NotImplementedError

    def loss(self, drawn: Any) -> Tensor:
        """The scalar that the step lowers, of what `draw` gave."""
        raise NotImplementedError

    def after(self) -> None:
        """After the optimiser's step: memories are brought up to date here."""

    def notes(self) -> list[str]:
        """What people should know of a finished training: a collapse, a batch too small; usually nothing."""
        return []

    def others(self) -> list[nn.Module]:
        """Modules that are trained too but not saved, beside encoder and head."""
        return []


@dataclass(frozen=True)
class Method:
    """A named way to train an encoder without labels.

    Attributes:
        name: its key in METHODS, and of its group of settings.
        paper: where it is from.
        asks: what the encoder is asked, in half a sentence.
        head: (E features of a token, all settings) -> the module trained with the encoder.
        start: Ask -> the method at work.
        kinds: "sparse" and/or "image": the encoders that it can train.
    """

    name: str
    paper: str
    asks: str
    head: Callable[[int, Config], nn.Module]
    start: Callable[[Ask], Objective]
    kinds: frozenset[str] = field(default=BOTH)
