# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Training the built-in network on labelled sweeps: weighted cross-entropy, AdamW, a cosine schedule."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from lidal3d.config import Config, TrainConfig
from lidal3d.errors import DataError
from lidal3d.learn.augment import AUGMENTATIONS
from lidal3d.learn.batch import VOXEL_FEATURES, NetworkInput, Sweep, network_input, voxel_labels
from lidal3d.learn.minkunet import Architecture, build
from lidal3d.learn.model import Model
from lidal3d.scene.labels import IGNORE, LabelMap
from lidal3d.scene.scene import Frame

Progress = Callable[[int, float], None]
LabelSource = Callable[[Frame], tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32] | None]]
WARMUP = 0.05
GRADIENT_LIMIT = 10.0
# A class seen in a handful of points must not drown the rest.
CLASS_WEIGHT_LIMIT = 10.0
SWEEPS_KEPT = 256


def train(
    frames: Sequence[Frame],
    label_map: LabelMap,
    config: TrainConfig | None = None,
    labels: LabelSource | None = None,
    initial: Model | None = None,
    progress: Progress | None = None,
    device: str = "cpu",
) -> Model:
    """Train the built-in network; the same frames, settings and number of threads give the same weights.

    Args:
        frames: what to learn from; each step draws `config.batch` of them, shuffled anew every time round.
        label_map: names the classes.
        config: architecture, voxel size, steps, seed.
        labels: gives a frame's train ids (N,) uint8, 255 for none, and weights (N,) or None; a frame's own labels
            when left out. Masks and pseudo-labels come in here.
        initial: a model to start from, instead of random weights.
        progress: called after every step with its number from 1 and its loss.
        device: where torch computes.

    Raises:
        DataError: no frame has a labelled point within `config.max_range_m`, or a sweep is damaged.
    """
    config = config or Config().train
    rng = np.random.default_rng(config.seed)
    network = build(architecture_for(label_map, config), config.seed).to(device)
    if initial is not None:
        network.load_state_dict(initial.network.state_dict())
    read = lru_cache(maxsize=SWEEPS_KEPT)(lambda index: _sweep(frames[index], labels, config.max_range_m))
    batches = _batches(len(frames), read, config, rng, torch.device(device), len(label_map.classes))
    weights = _class_weights(len(frames), read, len(label_map.classes), config.class_balance, rng).to(device)
    _optimise(network, batches, weights, config, progress)
    network.eval()
    settings = config.model_dump()
    return Model(network.cpu(), label_map.classes, label_map.name, config.voxel_m, config.augmentation, settings)


def architecture_for(label_map: LabelMap, config: TrainConfig) -> Architecture:
    """The network that these settings train for these classes."""
    return Architecture(len(label_map.classes), VOXEL_FEATURES, config.width, config.blocks)


def own_labels(frame: Frame) -> tuple[npt.NDArray[np.uint8], None]:
    """A frame's own labels. Raises DataError where it has none."""
    labels = frame.labels()
    if labels is None:
        raise DataError(
            f"{frame.scene.id}/{frame.name}: no labels to train on; leave the frame out or add {_label_file(frame)}"
        )
    return labels, None


def _label_file(frame: Frame) -> str:
    return str(frame.scene.source.labels_path(frame.index) or "its label file")


def _sweep(frame: Frame, labels: LabelSource | None, range_m: float) -> Sweep:
    points = frame.points()
    train_ids, weights = (labels or own_labels)(frame)
    for what, array in (("labels", train_ids), ("label weights", weights)):
        if array is not None and len(array) != len(points):
            raise DataError(
                f"{frame.scene.source.points_path(frame.index)}: {len(points)} points but {len(array)} {what}; "
                "one a point is needed"
            )
    return Sweep(points, train_ids, weights).within(range_m)


def _class_weights(
    frames: int, read: Callable[[int], Sweep], classes: int, balance: float, rng: np.random.Generator
) -> Tensor:
    """Weights (C,) frequency^−balance of mean 1 over labelled points, from up to SWEEPS_KEPT sweeps."""
    counts = np.zeros(classes)
    for index in rng.permutation(frames)[:SWEEPS_KEPT] if balance else ():
        sweep = read(int(index))
        used = sweep.labels != IGNORE
        weights = None if sweep.weights is None else sweep.weights[used]
        counts += np.bincount(sweep.labels[used], weights, minlength=classes)
    if not counts.any():
        return torch.ones(classes)
    share = counts / counts.sum()
    raw = np.power(share, -balance, out=np.zeros(classes), where=counts > 0)
    capped = np.minimum(raw / (raw * share).sum(), CLASS_WEIGHT_LIMIT)
    capped[counts == 0] = 1.0
    return torch.from_numpy(capped.astype(np.float32))


def _batches(
    frames: int,
    read: Callable[[int], Sweep],
    config: TrainConfig,
    rng: np.random.Generator,
    device: torch.device,
    classes: int,
) -> Iterator[tuple[NetworkInput, Tensor, Tensor]]:
    """Endless batches that hold at least one labelled voxel: others would teach nothing or NaN."""
    order: list[int] = []
    fruitless = 0
    while True:
        while len(order) < config.batch:
            order += rng.permutation(frames).tolist()
        chosen, order = order[: config.batch], order[config.batch :]
        sweeps = [read(index) for index in chosen]
        if any((s.labels != IGNORE).any() for s in sweeps):
            data, targets, weights = _training_input(sweeps, config, rng, device, classes)
            if bool((targets != IGNORE).any()):
                fruitless = 0
                yield data, targets, weights
                continue
        fruitless += config.batch
        if fruitless > 2 * frames + config.batch:
            raise DataError(
                f"no labelled point within {config.max_range_m:g} m in {frames} frames; label some first, "
                "or raise train.max_range_m"
            )


def _training_input(
    sweeps: Sequence[Sweep], config: TrainConfig, rng: np.random.Generator, device: torch.device, classes: int
) -> tuple[NetworkInput, Tensor, Tensor]:
    augmentation = AUGMENTATIONS[config.augmentation]
    views = [transformed(torch.from_numpy(s.points).to(device), augmentation.draw(rng)) for s in sweeps]
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


def _optimise(
    network: nn.Module,
    batches: Iterator[tuple[NetworkInput, Tensor, Tensor]],
    class_weights: Tensor,
    config: TrainConfig,
    progress: Progress | None,
) -> None:
    network.train()
    optimiser = torch.optim.AdamW(network.parameters(), config.learning_rate, weight_decay=config.weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate(step, config.steps))
    for step in range(1, config.steps + 1):
        data, targets, weights = next(batches)
        logits, _ = network(data.features, data.voxels.keys)
        loss = weighted_cross_entropy(logits, targets, weights, class_weights)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), GRADIENT_LIMIT)
        optimiser.step()
        schedule.step()
        if progress is not None:
            progress(step, float(loss.detach()))


def weighted_cross_entropy(logits: Tensor, targets: Tensor, weights: Tensor, class_weights: Tensor) -> Tensor:
    """Σ w log-loss / Σ w over labelled voxels, w = weight × its class's weight; 0 where nothing is labelled.

    Args:
        logits: (V, C).
        targets: (V,) int64, 255 for none.
        weights: (V,).
        class_weights: (C,).
    """
    losses = functional.cross_entropy(logits, targets, ignore_index=IGNORE, reduction="none")
    w = weights * class_weights[targets.clamp(max=len(class_weights) - 1)] * (targets != IGNORE)
    return (losses * w).sum() / w.sum().clamp_min(1e-12)


def _rate(step: int, steps: int) -> float:
    warmup = max(1, round(WARMUP * steps))
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))
