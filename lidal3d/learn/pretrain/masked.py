# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Masked reconstruction: an encoder tells what is hidden from what is left. PT4AL's pretext task here.

PT4AL (Yi et al., ECCV 2022) takes rotations for images that have no up; a driving scene has one, and its losses collapse.
What is asked of sweeps and pictures stands in `lidal3d.learn.pretrain.reconstruction`; it is this package's choice.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor

from lidal3d.errors import DataError
from lidal3d.learn.pretrain.frames import FrameOrder, elements_of
from lidal3d.learn.pretrain.masks import hidden_by
from lidal3d.learn.pretrain.method import Ask, Method, Objective
from lidal3d.learn.pretrain.reconstruction import Answers, Questions, questions

TRAINING_MASKS = 1 << 20  # a new one each time; those of scoring are the first few
USUAL_RATE = 0.05


class Masked(Objective):
    """The mean loss of all questions about `pretrain.batch` frames, each behind a mask of its own."""

    def __init__(self, ask: Ask) -> None:
        assert isinstance(ask.head, Answers)
        self._ask, self._answers = ask, ask.head
        self._order = FrameOrder(len(ask.frames))
        self._last: tuple[np.ndarray, np.ndarray] | None = None

    def draw(self, rng: np.random.Generator) -> Questions:
        """Frames and masks. Raises DataError where no frame has anything to hide."""
        config, batch = self._ask.config, self._ask.config.pretrain.batch
        tried = 0
        while tried <= len(self._ask.frames) + batch:
            numbers = self._order.next(batch, rng)
            frames = [elements_of(self._ask.frames[number], config) for number in numbers]
            frames = [frame for frame in frames if len(frame)]
            masks = rng.integers(TRAINING_MASKS, size=len(frames))
            hidden = [hidden_by(f, int(mask), config.masked) for f, mask in zip(frames, masks, strict=True)]
            if frames and all((~gone).any() for gone in hidden):
                asked = questions(self._ask.encoder, frames, hidden, config.masked.questions)
                if len(asked.token):
                    return asked
            tried += len(numbers)
        raise DataError(f"nothing can be hidden in {len(self._ask.frames)} frames; they hold too few points or pixels")

    def loss(self, drawn: Questions) -> Tensor:
        """The mean over questions."""
        losses = self._answers.losses(self._ask.encoder(drawn.tokenised), drawn)
        self._last = (losses.detach().double().cpu().numpy(), drawn.range_m)
        return losses.mean()

    def after(self) -> None:
        """Remember how wrong answers usually are at each range."""
        if self._last is not None:
            self._answers.learn_usual(*self._last, USUAL_RATE)


MASKED = Method(
    "masked", "this package, for PT4AL (Yi et al., ECCV 2022)", "to tell what is hidden of a frame from what is left",
    lambda features, config: Answers(features, config.masked.hidden), Masked,
)  # fmt: skip
