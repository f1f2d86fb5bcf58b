# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""What each step of training sees: shuffled sweeps, augmented, voxelised, with their kernel maps built ahead.

Every batch carries the state to go on from after it, so that a checkpoint does not depend on how far ahead we read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lidal3d.config import TrainConfig
from lidal3d.errors import DataError
from lidal3d.learn.augment import AUGMENTATIONS
from lidal3d.learn.batch import NetworkInput, Sweep, network_input, voxel_labels
from lidal3d.learn.processes import ALONE
from lidal3d.learn.sparse import Level
from lidal3d.learn.threads import threads
from lidal3d.scene.labels import IGNORE

# In place of each whole sweep: so many cut to their labels, with so many times its points.
MOST_SWEEPS = 64
MOST_POINTS = 2.0


@dataclass(frozen=True)
class Part:
    """So many frames in a row of those that are trained on, and the share of the steps that hold them and no others."""

    frames: int
    share: float


@dataclass(frozen=True)
class Batch:
    """One step's input.

    Attributes:
        data: voxels and their features.
        level: the voxels' level, kernel maps built.
        targets: (V,) int64, 255 for none.
        weights: (V,) float32.
        state: of the sampler after this batch, plain values.
    """

    data: NetworkInput
    level: Level
    targets: Tensor
    weights: Tensor
    state: dict[str, Any]


class Sampler:
    """Endless batches that hold at least one labelled voxel: others would teach nothing or NaN."""

    def __init__(
        self,
        frames: int,
        read: Callable[[int], Sweep],
        config: TrainConfig,
        rng: np.random.Generator,
        device: torch.device,
        classes: int,
        share: Callable[[int], slice] = ALONE.share,
        agree: Callable[[bool], bool] = bool,
        parts: Sequence[Part] = (),
    ) -> None:
        self._frames, self._read, self._config = frames, read, config
        parts = [part for part in parts if part.frames] or [Part(frames, 1.0)]
        ends = np.cumsum([part.frames for part in parts])
        self._parts = [range(end - part.frames, end) for part, end in zip(parts, ends.tolist(), strict=True)]
        shares = np.cumsum([part.share for part in parts])
        self._until = shares[:-1] / shares[-1]
        self._rng, self._device, self._classes = rng, device, classes
        # Of several processes each takes a share of a batch's sweeps; what one finds labelled, all have to know.
        self._share, self._agree = share, agree
        self._orders: list[list[int]] = [[] for _ in parts]
        self._fruitless = 0

    def state(self) -> dict[str, Any]:
        """Plain values from which another sampler of the same frames and settings goes on alike."""
        return {"rng": self._rng.bit_generator.state, "orders": [list(order) for order in self._orders]}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a `state`."""
        self._rng.bit_generator.state = state["rng"]
        self._orders = [[int(index) for index in order] for order in state["orders"]]

    def next(self) -> Batch:
        """The next batch. Raises DataError where all frames have been seen twice and none has a labelled point."""
        while self._fruitless <= 2 * self._frames + self._config.batch:
            drawn = self._draw()
            share = self._share(len(drawn))
            sweeps = [self._read(index) for index in drawn[share]]
            if self._agree(any((s.labels != IGNORE).any() for s in sweeps)):
                augmentation = AUGMENTATIONS[self._config.augmentation]
                # Drawn for the whole batch: all processes' generators stay alike.
                matrices = [augmentation.draw(self._rng) for _ in drawn][share]
                data, targets, weights = _training_input(sweeps, matrices, self._config, self._device, self._classes)
                if self._agree(bool((targets != IGNORE).any())):
                    self._fruitless = 0
                    return Batch(data, Level(data.voxels.keys).prepare(), targets, weights, self.state())
            self._fruitless += len(drawn)
        raise DataError(
            f"no labelled point within {self._config.max_range_m:g} m in {self._frames} frames; label some first, "
            "or raise train.max_range_m"
        )

    def _draw(self) -> list[int]:
        """The next sweeps, all of one part.

        What is labelled all over and what has a few labelled regions don't share a step: its loss is a mean over its
        labels, of which the former has a hundred times as many.
        """
        # Without a choice there is no draw.
        part = int(np.searchsorted(self._until, self._rng.random(), "right")) if len(self._parts) > 1 else 0
        return self._draw_of(self._parts[part], self._orders[part])

    def _draw_of(self, part: range, order: list[int]) -> list[int]:
        """The next of a part: `batch` of them, or so many cut ones as come nearest to as many labels as `batch` have points.

        At least one; labels that lie too scattered for that end at twice the points of `batch` sweeps.
        """
        drawn: list[int] = []
        labels = points = 0.0
        while len(drawn) < MOST_SWEEPS * self._config.batch:
            if not order:
                order.extend((part.start + self._rng.permutation(len(part))).tolist())
            more_labels, more_points = self._shares(order[0])
            full = labels + more_labels / 2 > self._config.batch
            if drawn and (full or points + more_points > MOST_POINTS * self._config.batch):
                break
            drawn.append(order.pop(0))
            labels, points = labels + more_labels, points + more_points
        return drawn

    def _shares(self, index: int) -> tuple[float, float]:
        """Labels and points of a sweep for each point of the whole one."""
        if not self._config.context_m:
            # Whole sweeps need not be read to be counted: another process may be the one to read them.
            return 1.0, 1.0
        sweep = self._read(index)
        return sweep.labelled_share, sweep.share


def ahead(sampler: Sampler, steps: int) -> Iterator[Batch]:
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


def _training_input(
    sweeps: Sequence[Sweep],
    matrices: Sequence[npt.NDArray[np.float32]],
    config: TrainConfig,
    device: torch.device,
    classes: int,
) -> tuple[NetworkInput, Tensor, Tensor]:
    views = [
        transformed(torch.from_numpy(s.points).to(device), matrix) for s, matrix in zip(sweeps, matrices, strict=True)
    ]
    data = network_input(views, config.voxel_m)
    labels = np.concatenate([s.labels for s in sweeps])
    weights = np.concatenate(
        [np.ones(len(s.labels), dtype=np.float32) if s.weights is None else s.weights for s in sweeps]
    )
    return data, *voxel_labels(data.voxels, labels, weights, classes)


def transformed(points: Tensor, matrix: npt.NDArray[np.float32]) -> Tensor:
    """Points (N, 4) with x y z mapped by a (3, 3) matrix; intensity stays."""
    xyz = points[:, :3] @ torch.from_numpy(matrix).to(points.device).t()
    return torch.cat([xyz, points[:, 3:4]], dim=1)
