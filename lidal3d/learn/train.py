# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Training the built-in networks on labelled sweeps: weighted cross-entropy, AdamW, a rise and a cosine schedule."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lidal3d.config import Config, TrainConfig
from lidal3d.errors import DataError
from lidal3d.files import fingerprint
from lidal3d.learn.backends import using_backend
from lidal3d.learn.batch import VOXEL_FEATURES, Sweep
from lidal3d.learn.checkpoint import load_checkpoint, save_checkpoint
from lidal3d.learn.log import StepLog
from lidal3d.learn.loss import clip_gradients, rate, weighted_cross_entropy
from lidal3d.learn.minkunet import Architecture, Trunk
from lidal3d.learn.model import Model
from lidal3d.learn.networks import build
from lidal3d.learn.sampler import Batch, Sampler, ahead
from lidal3d.learn.spvcnn import SeededDropout
from lidal3d.learn.threads import own_threads
from lidal3d.scene.labels import IGNORE, LabelMap
from lidal3d.scene.scene import Frame

Progress = Callable[[int, float], None]
LabelSource = Callable[[Frame], tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32] | None]]
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
    folder: Path | str | None = None,
) -> Model:
    """Train a built-in network; the same frames and settings give the same weights on any number of threads.

    Args:
        frames: what to learn from; each step draws `config.batch` of them, shuffled anew every time round.
        label_map: names the classes.
        config: architecture, voxel size, steps, seed.
        labels: gives a frame's train ids (N,) uint8, 255 for none, and weights (N,) or None; a frame's own labels
            when left out. Masks and pseudo-labels come in here.
        initial: a model to start from, instead of random weights.
        progress: called after every step of this run with its number from 1 and its loss.
        device: where torch computes.
        folder: where `training.csv`, TensorBoard's events (where it is installed) and, every
            `config.checkpoint_every` steps, a checkpoint go; a checkpoint that lies there is resumed, to the same
            weights as an uninterrupted run's. None writes nothing.

    Raises:
        DataError: no frame has a labelled point within `config.max_range_m`, a sweep is damaged, or the checkpoint
            in `folder` is damaged or another training's.
        MissingDependency: `config.backend` is not installed.
    """
    config = config or Config().train
    rng = np.random.default_rng(config.seed)
    network = build(architecture_for(label_map, config), config.seed).to(device)
    if initial is not None:
        network.load_state_dict(initial.network.state_dict())
    read = lru_cache(maxsize=SWEEPS_KEPT)(lambda index: _sweep(frames[index], labels, config))
    sampler = Sampler(len(frames), read, config, rng, torch.device(device), len(label_map.classes))
    weights = _class_weights(len(frames), read, len(label_map.classes), config.class_balance, rng).to(device)
    training = _fingerprint(frames, label_map, config, network, weights)
    with using_backend(config.backend), own_threads():
        _optimise(network, sampler, weights, config, progress, None if folder is None else Path(folder), training)
    network.eval()
    settings = config.model_dump()
    return Model(network.cpu(), label_map.classes, label_map.name, config.voxel_m, config.augmentation, settings)


def architecture_for(label_map: LabelMap, config: TrainConfig) -> Architecture:
    """The network that these settings train for these classes."""
    return Architecture(len(label_map.classes), VOXEL_FEATURES, config.width, config.blocks, config.architecture)


def _fingerprint(
    frames: Sequence[Frame], label_map: LabelMap, config: TrainConfig, network: Trunk, class_weights: Tensor
) -> str:
    """A digest of what a training's result depends on; of the labels, what the weights of the classes tell."""
    digest = hashlib.sha256()
    for tensor in (*network.state_dict().values(), class_weights):
        digest.update(tensor.cpu().numpy().tobytes())
    settings = config.model_dump(exclude={"checkpoint_every"})
    names = [f"{frame.scene.id}/{frame.name}" for frame in frames]
    return fingerprint([digest.hexdigest(), settings, names, label_map.classes])


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


def _sweep(frame: Frame, labels: LabelSource | None, config: TrainConfig) -> Sweep:
    points = frame.points()
    path = frame.scene.source.points_path(frame.index)
    bad = int((~np.isfinite(points)).any(axis=1).sum())
    if bad:
        raise DataError(f"{path}: {bad} of {len(points)} points are not finite; run `lidal3d check` on the drive")
    train_ids, weights = (labels or own_labels)(frame)
    for what, array in (("labels", train_ids), ("label weights", weights)):
        if array is not None and len(array) != len(points):
            source = _label_file(frame) if labels is None else "the labels given"
            raise DataError(
                f"{source}: {len(array)} {what}, but {path} has {len(points)} points; one a point is needed"
            )
    sweep = Sweep(points, train_ids, weights).within(config.max_range_m)
    return sweep.around_labels(config.context_m) if config.context_m else sweep


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


def _optimise(
    network: Trunk,
    sampler: Sampler,
    class_weights: Tensor,
    config: TrainConfig,
    progress: Progress | None,
    folder: Path | None,
    training: str,
) -> None:
    network.train()
    optimiser = torch.optim.AdamW(
        network.parameters(), config.learning_rate, weight_decay=config.weight_decay, fused=True
    )
    held = None if folder is None else load_checkpoint(folder, training)
    done = 0
    if held is not None:
        held.restore(network, optimiser)
        sampler.restore(held.sampler)
        done = held.step
    with StepLog(folder, done) as log:
        for step, batch in enumerate(ahead(sampler, config.steps - done), start=done + 1):
            learning_rate = config.learning_rate * rate(step - 1, config.steps, config.schedule)
            loss = training_step(network, optimiser, batch, class_weights, config, step, learning_rate)
            log.note(step, loss, learning_rate)
            if folder is not None and _is_due(step, config):
                save_checkpoint(folder, step, batch.state, network, optimiser, training)
            if progress is not None:
                progress(step, loss)


def _is_due(step: int, config: TrainConfig) -> bool:
    every = config.checkpoint_every
    return every > 0 and (step % every == 0 or step == config.steps)


def training_step(
    network: Trunk,
    optimiser: torch.optim.Optimizer,
    batch: Batch,
    class_weights: Tensor,
    config: TrainConfig,
    step: int,
    learning_rate: float,
) -> float:
    """One step of the optimiser on one batch; its loss.

    Args:
        network: in training mode.
        optimiser: of its parameters.
        batch: from a `Sampler`.
        class_weights: (C,).
        config: seed and precision.
        step: its number from 1, which seeds dropout.
        learning_rate: the step's.
    """
    for number, module in enumerate(m for m in network.modules() if isinstance(m, SeededDropout)):
        module.reseed(int(np.random.SeedSequence([config.seed, step, number]).generate_state(1)[0]))
    for group in optimiser.param_groups:
        group["lr"] = learning_rate
    device = batch.data.features.device.type
    with torch.autocast(device, torch.bfloat16, enabled=config.precision == "bfloat16"):
        logits, _ = network(batch.data.features, batch.level)
    loss = weighted_cross_entropy(logits.float(), batch.targets, batch.weights, class_weights)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    clip_gradients(network, GRADIENT_LIMIT)
    optimiser.step()
    return float(loss.detach())
