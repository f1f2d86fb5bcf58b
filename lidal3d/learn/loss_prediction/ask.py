# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Asking a loss head: predicted losses of the units of a frame as it is, and the verdict on those held out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from lidal3d.learn.feed import Back, Feed
from lidal3d.learn.loss_prediction.head import LossHead, predicted_losses
from lidal3d.learn.loss_prediction.pooling import BatchUnits, FrameUnits, batch_units, unit_losses
from lidal3d.learn.loss_prediction.quality import Quality, quality_of
from lidal3d.learn.loss_prediction.taps import tappable, tapping
from lidal3d.learn.threads import own_threads

Floats = npt.NDArray[np.float32]


class Asked(NamedTuple):
    """A frame to ask about: its points (N, …), and their units with labels."""

    points: npt.NDArray[np.float32]
    units: FrameUnits


def ask(network: nn.Module, head: LossHead, feed: Feed, frame: Asked, whole: bool) -> tuple[Floats, Floats]:
    """l̂ and l (U,) of a frame's units that have a labelled point, in the order of their numbers.

    Args:
        network, head: in evaluation mode.
        feed: whose views are frames as they are.
        whole: the units are whole frames.
    """
    if not len(frame.points):
        return np.empty(0, np.float32), np.empty(0, np.float32)
    points = torch.from_numpy(np.ascontiguousarray(frame.points, np.float32)).to(next(network.parameters()).device)
    tapped = tappable(network)
    with torch.inference_mode(), own_threads():
        inputs, back = feed.view(points, feed.draw(np.random.default_rng(0)))
        with tapping(tapped) as caught:
            logits = network(*inputs)[0]
        units: BatchUnits = batch_units([frame.units], elements_of(back, logits))
        predicted = predicted_losses(head, [tapped.tap(output, inputs) for output in caught], units, whole)
        return predicted.float().cpu().numpy(), unit_losses(logits, units).cpu().numpy()


def elements_of(back: Back, logits: Tensor) -> Tensor:
    """(N,) the row of `logits` (E, C) that stands for each point of a frame in a view as it is."""
    rows = torch.arange(len(logits), dtype=torch.float64, device=logits.device)
    return back(rows[:, None]).squeeze(1).round().long()


def judge(network: nn.Module, head: LossHead, feed: Feed, frames: Iterable[Asked], whole: bool, by: str) -> Quality:
    """How well a head orders the units of frames in which only those held out have labels."""
    network.eval()
    head.eval()
    answers = [ask(network, head, feed, frame, whole) for frame in frames]
    predicted = np.concatenate([np.empty(0), *(said for said, _ in answers)])
    losses = np.concatenate([np.empty(0), *(true for _, true in answers)])
    known = np.isfinite(predicted) & np.isfinite(losses)
    return quality_of(predicted[known], losses[known], by)
