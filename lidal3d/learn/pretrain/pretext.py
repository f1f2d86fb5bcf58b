# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""The pretext loss of every point or pixel of a frame: how badly it is told from what surrounds it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from lidal3d.errors import DataError
from lidal3d.learn.pretrain.file import Pretrained
from lidal3d.learn.pretrain.masks import hidden_by
from lidal3d.learn.pretrain.reconstruction import Answers, questions
from lidal3d.scene.pixels import is_picture


def pretext_losses(trained: Pretrained, elements: npt.NDArray[np.float32], masks: int) -> npt.NDArray[np.float64]:
    """(N,) losses over the usual one at their range, means over the masks that hide an element; NaN where none does.

    Args:
        trained: by the method `masked`; in evaluation mode, as it is loaded.
        elements: (N, 4) points, or (N, 5) pixels row by row.
        masks: the first so many; of four each element is hidden by one, of eight by two.

    Raises:
        DataError: another method's encoder, or one of the other kind.
    """
    if not isinstance(trained.head, Answers):
        raise DataError(f"an encoder of '{trained.method}' has no pretext loss; make one with `--method masked`")
    if (trained.encoder.kind == "image") != is_picture(elements):
        of, here = ("pictures", "a sweep") if trained.encoder.kind == "image" else ("sweeps", "a picture")
        raise DataError(f"{here}, and an encoder of {of}; make one with `lidal3d pretrain` on frames like this one")
    total, count = np.zeros(len(elements)), np.zeros(len(elements))
    for number in range(masks if len(elements) else 0):
        hidden = hidden_by(elements, number, trained.config.masked)
        if hidden.any() and not hidden.all():
            _add(trained, trained.head, elements, hidden, total, count)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _add(
    trained: Pretrained,
    answers: Answers,
    elements: npt.NDArray[np.float32],
    hidden: npt.NDArray[np.bool_],
    total: npt.NDArray[np.float64],
    count: npt.NDArray[np.float64],
) -> None:
    """Add the losses behind one mask to the elements' sums and counts."""
    asked = questions(trained.encoder, [elements], [hidden])
    with torch.inference_mode():
        losses = answers.losses(trained.encoder(asked.tokenised), asked).double().cpu().numpy()
    losses /= answers.usual_at(asked.range_m)
    if (asked.element >= 0).all():
        np.add.at(total, asked.element, losses)
        np.add.at(count, asked.element, 1)
        return
    # Of a whole cell: its hidden pixels.
    of_token = np.full(int(asked.tokenised.of.max()) + 1, np.nan)
    of_token[asked.token.cpu().numpy()] = losses
    pixels = np.flatnonzero(hidden)
    total[pixels] += of_token[asked.tokenised.of.cpu().numpy()[pixels]]
    count[pixels] += 1
