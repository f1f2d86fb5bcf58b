# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Training the built-in networks on labelled frames: weighted cross-entropy, AdamW, a rise and a cosine schedule."""

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
from lidal3d.learn.architecture import Network
from lidal3d.learn.backends import using_backend
from lidal3d.learn.checkpoint import load_checkpoint, save_checkpoint
from lidal3d.learn.engine import Engine, engine
from lidal3d.learn.feed import Feed, Item
from lidal3d.learn.feeds import architecture_for, refuse_other_columns, training_feed
from lidal3d.learn.log import StepLog
from lidal3d.learn.loss import LEAST_WEIGHT, clip_gradients, rate, weighted_sums
from lidal3d.learn.model import Model
from lidal3d.learn.networks import build
from lidal3d.learn.processes import ALONE, Processes, refuse_small_batch
from lidal3d.learn.sampler import Batch, Part, Sampler, ahead
from lidal3d.learn.spvcnn import SeededDropout
from lidal3d.learn.threads import own_threads
from lidal3d.scene.labels import IGNORE, LabelMap
from lidal3d.scene.scene import Frame

Progress = Callable[[int, float], None]
LabelSource = Callable[[Frame], tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32] | None]]
GRADIENT_LIMIT = 10.0
# A class seen in a handful of points must not drown the rest.
CLASS_WEIGHT_LIMIT = 10.0
FRAMES_KEPT = 512


def train(
    frames: Sequence[Frame],
    label_map: LabelMap,
    config: TrainConfig | None = None,
    labels: LabelSource | None = None,
    initial: Model | None = None,
    progress: Progress | None = None,
    device: str = "cpu",
    folder: Path | str | None = None,
    processes: Processes = ALONE,
    parts: Sequence[Part] = (),
) -> Model:
    """Train a built-in network; the same frames and settings give the same weights on any number of threads.

    Several processes share the frames of each batch and take the step that one would take, up to rounding.

    Args:
        frames: what to learn from; each step draws `config.batch` of them, shuffled anew every time round.
        label_map: names the classes.
        config: architecture, voxel size, steps, seed; pictures have an architecture of their own.
        labels: gives a frame's train ids (N,) uint8, 255 for none, and weights (N,) or None; a frame's own labels
            when left out. Masks and pseudo-labels come in here.
        initial: a model to start from, instead of random weights.
        progress: called after every step of this run with its number from 1 and its loss.
        device: where this process computes.
        folder: where `training.csv`, TensorBoard's events (where it is installed) and, every
            `config.checkpoint_every` steps, a checkpoint go; a checkpoint that lies there is resumed, to the same
            weights as an uninterrupted run's. None writes nothing. Processes share it; the first one writes.
        processes: which of several processes this is, see `lidal3d.learn.processes`; all call this alike.
        parts: cut `frames` into runs that don't share a step, each with its share of the steps; one when left out.

    Raises:
        UsageError: a batch has fewer frames than there are processes, the architecture does not fit the frames, or
            Fabric does not know the device.
        DataError: no frame has a label of use (a point within `config.max_range_m`), there are sweeps and pictures
            among them, one is damaged, or the checkpoint in `folder` is damaged or another training's.
        MissingDependency: `config.backend` is not installed.
    """
    config = config or Config().train
    refuse_small_batch(config.batch, processes)
    rng = np.random.default_rng(config.seed)
    architecture = architecture_for(label_map, config, frames)
    feed = training_feed(architecture, config)
    network = build(architecture, config.seed)
    if initial is not None:
        network.load_state_dict(initial.network.state_dict())
    read = lru_cache(maxsize=FRAMES_KEPT)(lambda index: _item(frames[index], labels, feed))
    classes = len(label_map.classes)
    weights = _class_weights(len(frames), read, classes, config.class_balance, rng)
    training = _fingerprint(frames, label_map, config, network, weights, parts)
    with engine(device, config.precision, processes) as run, using_backend(config.backend), own_threads():
        sampler = Sampler(
            len(frames), read, feed, config.batch, classes, rng, run.device, processes.share, run.agree, parts
        )
        trainer = Trainer(run, network, weights, config)
        _optimise(trainer, sampler, config, progress, None if folder is None else Path(folder), training)
    network.eval()
    settings = config.model_dump()
    return Model(network.cpu(), label_map.classes, label_map.name, config.voxel_m, config.augmentation, settings)


def _fingerprint(
    frames: Sequence[Frame],
    label_map: LabelMap,
    config: TrainConfig,
    network: Network,
    class_weights: Tensor,
    parts: Sequence[Part],
) -> str:
    """A digest of what a training's result depends on; of the labels, what the weights of the classes tell."""
    digest = hashlib.sha256()
    for tensor in (*network.state_dict().values(), class_weights):
        digest.update(tensor.cpu().numpy().tobytes())
    settings = config.model_dump(exclude={"checkpoint_every"})
    names = [f"{frame.scene.id}/{frame.name}" for frame in frames]
    shares = [(part.frames, part.share) for part in parts]
    return fingerprint([digest.hexdigest(), settings, names, label_map.classes, shares])


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


def _item(frame: Frame, labels: LabelSource | None, feed: Feed) -> Item:
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
    try:
        refuse_other_columns(points, feed)
        return feed.item(points, train_ids, weights)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None


def _class_weights(
    frames: int, read: Callable[[int], Item], classes: int, balance: float, rng: np.random.Generator
) -> Tensor:
    """Weights (C,) frequency^−balance of mean 1 over labelled points or pixels, from up to FRAMES_KEPT frames."""
    counts = np.zeros(classes)
    for index in rng.permutation(frames)[:FRAMES_KEPT] if balance else ():
        item = read(int(index))
        used = item.labels != IGNORE
        weights = None if item.weights is None else item.weights[used]
        counts += np.bincount(item.labels[used], weights, minlength=classes)
    if not counts.any():
        return torch.ones(classes)
    share = counts / counts.sum()
    raw = np.power(share, -balance, out=np.zeros(classes), where=counts > 0)
    capped = np.minimum(raw / (raw * share).sum(), CLASS_WEIGHT_LIMIT)
    capped[counts == 0] = 1.0
    return torch.from_numpy(capped.astype(np.float32))


class Trainer:
    """A network, its optimiser, and the step that moves them.

    Args:
        run: carries out the steps.
        network: is put where `run` computes, in training mode.
        class_weights: (C,).
        config: seed and settings of the optimiser.
    """

    def __init__(self, run: Engine, network: Network, class_weights: Tensor, config: TrainConfig) -> None:
        self.run, self.network, self._seed = run, network.to(run.device).train(), config.seed
        self.optimiser = torch.optim.AdamW(
            network.parameters(), config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
        self._forward, self._stepper = run.wrapped(network, self.optimiser)
        self._class_weights = class_weights.to(run.device)
        self._dropouts = [m for m in network.modules() if isinstance(m, SeededDropout)]

    def step(self, batch: Batch, number: int, learning_rate: float) -> float:
        """One step of the optimiser on one batch; its loss, over all processes.

        Args:
            batch: this process's share, from a `Sampler`; it may hold nothing labelled if another's does.
            number: of the step, from 1; it seeds dropout.
            learning_rate: the step's.
        """
        for place, dropout in enumerate(self._dropouts):
            dropout.reseed(int(np.random.SeedSequence([self._seed, number, place]).generate_state(1)[0]))
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate
        logits, _ = self._forward(*batch.inputs)
        loss, weight = weighted_sums(logits.float(), batch.targets, batch.weights, self._class_weights)
        loss_of_all, weight_of_all = self.run.sum(torch.stack([loss.detach(), weight]))
        # Gradients are averaged over processes: times their number, the sum over all labels comes out.
        share = loss * self.run.processes.size if self.run.processes.size > 1 else loss
        weight_of_all = weight_of_all.clamp_min(LEAST_WEIGHT)
        self.optimiser.zero_grad(set_to_none=True)
        self.run.fabric.backward(share / weight_of_all)
        clip_gradients(self.network, GRADIENT_LIMIT)
        self._stepper.step()
        return float(loss_of_all / weight_of_all)


def _optimise(
    trainer: Trainer,
    sampler: Sampler,
    config: TrainConfig,
    progress: Progress | None,
    folder: Path | None,
    training: str,
) -> None:
    network, optimiser = trainer.network, trainer.optimiser
    held = None if folder is None else load_checkpoint(folder, training)
    done = 0 if held is None else held.step
    trainer.run.refuse_unlike(done, training)
    if held is not None:
        held.restore(network, optimiser)
        sampler.restore(held.sampler)
    writes = folder is not None and trainer.run.processes.writes
    with StepLog(folder if writes else None, done) as log:
        for step, batch in enumerate(ahead(sampler, config.steps - done), start=done + 1):
            learning_rate = config.learning_rate * rate(step - 1, config.steps, config.schedule)
            loss = trainer.step(batch, step, learning_rate)
            log.note(step, loss, learning_rate)
            if folder is not None and writes and _is_due(step, config):
                save_checkpoint(folder, step, batch.state, network, optimiser, training)
            if progress is not None:
                progress(step, loss)


def _is_due(step: int, config: TrainConfig) -> bool:
    every = config.checkpoint_every
    return every > 0 and (step % every == 0 or step == config.steps)
