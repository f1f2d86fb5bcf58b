# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""What each step of training sees: shuffled frames, each in a view of its own, made into a network's input by a Feed.

Every batch carries the state to go on from after it, so that a checkpoint does not depend on how far ahead we read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from lidal3d.errors import DataError
from lidal3d.learn.feed import Fed, Feed, Item
from lidal3d.learn.processes import ALONE
from lidal3d.learn.threads import threads
from lidal3d.scene.labels import IGNORE

# In place of each whole frame: so many cut to their labels, with so many times its points.
MOST_FRAMES = 64
MOST_POINTS = 2.0


@dataclass(frozen=True)
class Portion:
    """So many frames in a row of those that are trained on, and the share of the steps that hold them and no others."""

    frames: int
    share: float


@dataclass(frozen=True)
class Batch(Fed):
    """One step's input.

    Attributes:
        state: of the sampler after it, plain values.
        other: the network's arguments for other frames, of which something is learnt whatever their labels.
    """

    state: dict[str, Any]
    other: tuple[Any, ...] | None = None


class Sampler:
    """Endless batches that hold at least one labelled voxel or pixel: others would teach nothing or NaN.

    Args:
        frames: how many there are.
        read: gives the item of one.
        feed: makes a step's input of items.
        batch: frames a step over all processes; of cut ones as many as fill it.
        classes: C.
        rng: shuffles frames and draws views.
        device: where the input is made.
        share: of the frames of a batch, those of this one of several processes.
        agree: whether any process found it.
    """

    def __init__(
        self,
        frames: int,
        read: Callable[[int], Item],
        feed: Feed,
        batch: int,
        classes: int,
        rng: np.random.Generator,
        device: torch.device,
        share: Callable[[int], slice] = ALONE.share,
        agree: Callable[[bool], bool] = bool,
        portions: Sequence[Portion] = (),
    ) -> None:
        self._frames, self._read, self._feed, self._batch = frames, read, feed, batch
        portions = [portion for portion in portions if portion.frames] or [Portion(frames, 1.0)]
        ends = np.cumsum([portion.frames for portion in portions])
        self._portions = [
            range(end - portion.frames, end) for portion, end in zip(portions, ends.tolist(), strict=True)
        ]
        shares = np.cumsum([portion.share for portion in portions])
        self._until = shares[:-1] / shares[-1]
        self._rng, self._device, self._classes = rng, device, classes
        # Of several processes each takes a share of a batch's frames; what one finds labelled, all have to know.
        self._share, self._agree = share, agree
        self._orders: list[list[int]] = [[] for _ in portions]
        self._fruitless = 0

    def state(self) -> dict[str, Any]:
        """Plain values from which another sampler of the same frames and settings goes on alike."""
        return {"rng": self._rng.bit_generator.state, "orders": [list(order) for order in self._orders]}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a `state`."""
        self._rng.bit_generator.state = state["rng"]
        self._orders = [[int(index) for index in order] for order in state["orders"]]

    def next(self) -> Batch:
        """The next batch. Raises DataError where all frames have been seen twice and none has a label of use."""
        while self._fruitless <= 2 * self._frames + self._batch:
            drawn = self._draw()
            share = self._share(len(drawn))
            items = [self._read(index) for index in drawn[share]]
            if self._agree(any((item.labels != IGNORE).any() for item in items)):
                # Drawn for the whole batch: all processes' generators stay alike.
                views = [self._feed.draw(self._rng) for _ in drawn][share]
                fed = self._feed.batch(items, views, self._classes, self._device)
                if self._agree(bool((fed.targets != IGNORE).any())):
                    self._fruitless = 0
                    return Batch(fed.inputs, fed.targets, fed.weights, self.state(), units=fed.units)
            self._fruitless += len(drawn)
        raise DataError(self._feed.nothing_labelled(self._frames))

    def _draw(self) -> list[int]:
        """The next frames, all of one portion.

        What is labelled all over and what has a few labelled regions don't share a step: its loss is a mean over its
        labels, of which the former has a hundred times as many.
        """
        # Without a choice there is no draw.
        portion = int(np.searchsorted(self._until, self._rng.random(), "right")) if len(self._portions) > 1 else 0
        return self._draw_of(self._portions[portion], self._orders[portion])

    def _draw_of(self, portion: range, order: list[int]) -> list[int]:
        """The next of a portion: `batch`, or so many cut ones as come nearest to as many labels as `batch` have points or pixels.

        At least one; labels that lie too scattered for that end at twice the points of `batch` frames.
        """
        drawn: list[int] = []
        labels = points = 0.0
        while len(drawn) < MOST_FRAMES * self._batch:
            if not order:
                order.extend((portion.start + self._rng.permutation(len(portion))).tolist())
            more_labels, more_points = self._shares(order[0])
            full = labels + more_labels / 2 > self._batch
            if drawn and (full or points + more_points > MOST_POINTS * self._batch):
                break
            drawn.append(order.pop(0))
            labels, points = labels + more_labels, points + more_points
        return drawn

    def _shares(self, index: int) -> tuple[float, float]:
        """Labels and points of a frame for each point of the whole one."""
        if not self._feed.fills:
            # Whole frames need not be read to be counted: another process may be the one to read them.
            return 1.0, 1.0
        item = self._read(index)
        return item.labelled_share, item.share


class BatchSource(Protocol):
    """Makes batches one after the other."""

    def next(self) -> Batch:
        """The next one."""


def ahead(sampler: BatchSource, steps: int) -> Iterator[Batch]:
    """The next `steps` batches; with more than one thread, each is made while the one before it is learnt."""
    if threads() == 1:
        for _ in range(steps):
            yield sampler.next()
        return
    with ThreadPoolExecutor(1, thread_name_prefix="lidal3d-batches") as maker:
        coming = maker.submit(sampler.next) if steps else None
        for step in range(steps):
            assert coming is not None
            batch = coming.result()
            coming = maker.submit(sampler.next) if step + 1 < steps else None
            yield batch
