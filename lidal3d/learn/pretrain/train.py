# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""The training of an encoder without labels: AdamW, a rise and a cosine; what a step is asked is the method's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import nn

from lidal3d.config import Config
from lidal3d.errors import DataError, UsageError
from lidal3d.learn.loss import clip_gradients, rate
from lidal3d.learn.pretrain.encoders import build_encoder
from lidal3d.learn.pretrain.file import Pretrained
from lidal3d.learn.pretrain.method import Ask, Method, Objective
from lidal3d.learn.threads import own_threads, threads
from lidal3d.scene.pixels import CAMERA
from lidal3d.scene.scene import Frame

Progress = Callable[[int, float], None]
GRADIENT_LIMIT = 10.0


def pretrain(
    frames: Sequence[Frame], method: Method, config: Config, progress: Progress | None = None, device: str = "cpu"
) -> Pretrained:
    """Train an encoder; the same frames and settings give the same weights on any number of threads.

    Args:
        frames: sweeps or pictures, not both; their labels are never read.
        method: of METHODS.
        config: `pretrain`, the method's own group, and `units` for the regions.
        progress: called after every step with its number from 1 and its loss.
        device: where torch computes.

    Raises:
        UsageError: the method is for the other kind of frames.
        DataError: no frames, a damaged one, none with anything to learn from, or a loss that is no number.
    """
    if not frames:
        raise DataError("no frames to learn from; give a drive that has some")
    kind = kind_of(frames[0])
    if kind not in method.kinds:
        raise UsageError(
            f"method '{method.name}' is for {', '.join(sorted(method.kinds))} encoders, not for {kind} ones"
        )
    settings = config.pretrain
    encoder = build_encoder(kind, settings, settings.seed).to(device)
    with torch.random.fork_rng(devices=[]), own_threads():
        torch.manual_seed(settings.seed)
        head = method.head(encoder.dimensions, config).to(device)
        objective = method.start(Ask(frames, encoder, head, config))
        learning = nn.ModuleList([encoder, head, *objective.others()]).train()
        _optimise(learning, objective, config, progress)
    return Pretrained(encoder.cpu().eval(), head.cpu().eval(), method.name, config, objective.notes())


def kind_of(frame: Frame) -> str:
    """The kind of encoder for a frame: "image" where its elements are pixels."""
    return "image" if frame.scene.sensor == CAMERA else "sparse"


def _optimise(learning: nn.Module, objective: Objective, config: Config, progress: Progress | None) -> None:
    settings = config.pretrain
    optimiser = torch.optim.AdamW(
        learning.parameters(), settings.learning_rate, weight_decay=settings.weight_decay, fused=True
    )
    rng = np.random.default_rng(settings.seed)
    for step, drawn in enumerate(_ahead(objective, rng, settings.steps)):
        for group in optimiser.param_groups:
            group["lr"] = settings.learning_rate * rate(step, settings.steps)
        loss = objective.loss(drawn)
        if not bool(torch.isfinite(loss)):
            raise DataError(f"the loss of step {step + 1} is {loss.item()}; lower pretrain.learning_rate")
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        clip_gradients(learning, GRADIENT_LIMIT)
        optimiser.step()
        objective.after()
        if progress is not None:
            progress(step + 1, float(loss.detach()))


def _ahead(objective: Objective, rng: np.random.Generator, steps: int) -> Iterator[Any]:
    """What every step sees; with more than one thread, drawn while the step before it is taken."""
    if threads() == 1:
        for _ in range(steps):
            yield objective.draw(rng)
        return
    with ThreadPoolExecutor(1, thread_name_prefix="lidal3d-views") as maker:
        coming = maker.submit(objective.draw, rng)
        for step in range(steps):
            drawn = coming.result()
            if step + 1 < steps:
                coming = maker.submit(objective.draw, rng)
            yield drawn
