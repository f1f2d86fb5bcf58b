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
from torch import Tensor, nn

from lidal3d.config import Config
from lidal3d.errors import DataError, UsageError
from lidal3d.files import fingerprint
from lidal3d.learn.architecture import Architecture, Network
from lidal3d.learn.backends import using_backend
from lidal3d.learn.beside import JointNetwork, Part, Term
from lidal3d.learn.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from lidal3d.learn.consistency import ConsistencyPart, WithUnlabelled
from lidal3d.learn.engine import Engine, engine
from lidal3d.learn.feed import Feed, Item
from lidal3d.learn.feeds import architecture_for, refuse_other_columns, training_feed
from lidal3d.learn.log import StepLog
from lidal3d.learn.loss import LEAST_WEIGHT, clip_gradients, rate, weighted_sums
from lidal3d.learn.loss_prediction.training import Cut, HeadTraining
from lidal3d.learn.model import Model
from lidal3d.learn.networks import build
from lidal3d.learn.options import NOTHING_BESIDE, Beside
from lidal3d.learn.processes import ALONE, Processes, refuse_small_batch
from lidal3d.learn.sampler import Batch, BatchSource, Portion, Sampler, ahead
from lidal3d.learn.spvcnn import SeededDropout
from lidal3d.learn.threads import own_threads
from lidal3d.scene.labels import IGNORE, LabelMap
from lidal3d.scene.scene import Frame
from lidal3d.settings.train import TrainConfig

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
    beside: Beside = NOTHING_BESIDE,
    portions: Sequence[Portion] = (),
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
        beside: what is learnt beside the labels: a loss head, which the model then has, consistency with a teacher.
        portions: cut `frames` into runs that don't share a step, each with its share of the steps; one when left out.

    Raises:
        UsageError: a batch has fewer frames than there are processes, or a single one where a loss head is to compare
            whole frames, the architecture does not fit the frames, or Fabric does not know the device.
        DataError: no frame has a label of use (a point within `config.max_range_m`), there are sweeps and pictures
            among them, one is damaged, or the checkpoint in `folder` is damaged or another training's.
        MissingDependency: `config.backend` is not installed.
    """
    config = config or Config().train
    refuse_small_batch(config.batch, processes)
    if beside.joint is not None and processes.size > 1:
        raise UsageError(
            f"joint.weight: joint training takes one process, not {processes.size}; start it without torchrun"
        )
    rng = np.random.default_rng(config.seed)
    architecture = architecture_for(label_map, config, frames)
    feed = training_feed(architecture, config)
    network = build(architecture, config.seed)
    if initial is not None:
        network.load_state_dict(initial.network.state_dict())
    head = HeadTraining.of(beside, frames, config, network, feed, initial)
    if head is not None:
        frames, portions = head.trained_on(frames), head.left_of(portions, frames)
    cut = None if head is None else head.cut
    read = lru_cache(maxsize=FRAMES_KEPT)(lambda index: _item(frames[index], labels, feed, cut))
    classes = len(label_map.classes)
    weights = _class_weights(len(frames), read, classes, config.class_balance, rng)
    training = _fingerprint(frames, label_map, config, network, weights, beside, portions)
    with engine(device, config.precision, processes) as run, using_backend(config.backend), own_threads():
        sampler = Sampler(
            len(frames), read, feed, config.batch, classes, rng, run.device, processes.share, run.agree, portions
        )
        parts = [*([] if head is None else [head.part]), *_twins(beside, network, feed, config)]
        trainer = Trainer(run, network, weights, config, [*parts, *_teachers(beside, network.to(run.device))])
        source = _with_others(beside, architecture, config, run)
        _optimise(trainer, sampler, config, progress, None if folder is None else Path(folder), training, source)
        trained = None if head is None else head.judged(network, lambda frame: _read(frame, labels, head.feed))
    network.eval()
    told = {**config.model_dump(), **beside.to_dict()}
    return Model(
        network.cpu(), label_map.classes, label_map.name, config.voxel_m, config.augmentation, told, trained
    )  # fmt: skip


def _teachers(beside: Beside, network: Network) -> list[Part]:
    """The mean teacher, where one is asked for; it starts from the network as it is."""
    settings = beside.consistency
    return [] if settings is None else [ConsistencyPart(network, settings.weight, settings.alpha)]


def _twins(beside: Beside, network: Network, feed: Feed, config: TrainConfig) -> list[Part]:
    """Barlow Twins, where it is asked for."""
    if beside.joint is None:
        return []
    from lidal3d.learn.joint import JointPart

    features = network.architecture.channels[-1]
    return [JointPart(features, beside.unlabelled, feed, beside.joint, config.seed)]


def _with_others(
    beside: Beside, architecture: Architecture, config: TrainConfig, run: Engine
) -> Callable[[Sampler, int], BatchSource]:
    """What a sampler becomes after some steps where other frames are looked at beside its batches."""
    frames = beside.unlabelled
    if beside.consistency is None or not frames:
        return lambda sampler, done: sampler
    # There are no labels to cut them to.
    feed = training_feed(architecture, config.model_copy(update={"context_m": 0.0}))
    share, agree, device = run.processes.share, run.agree, run.device
    return lambda sampler, done: WithUnlabelled(
        sampler, len(frames), lambda index: _item(frames[index], no_labels, feed), feed, config.batch, config.seed, done,
        device, share, agree,
    )  # fmt: skip


def _fingerprint(
    frames: Sequence[Frame],
    label_map: LabelMap,
    config: TrainConfig,
    network: Network,
    class_weights: Tensor,
    beside: Beside,
    portions: Sequence[Portion],
) -> str:
    """A digest of what a training's result depends on; of the labels, what the weights of the classes tell."""
    digest = hashlib.sha256()
    for tensor in (*network.state_dict().values(), class_weights):
        digest.update(tensor.cpu().numpy().tobytes())
    settings = {**config.model_dump(exclude={"checkpoint_every"}), **beside.to_dict()}
    names = [f"{frame.scene.id}/{frame.name}" for frame in (*frames, *beside.unlabelled)]
    shares = [(portion.frames, portion.share) for portion in portions]
    return fingerprint([digest.hexdigest(), settings, names, label_map.classes, shares])


def own_labels(frame: Frame) -> tuple[npt.NDArray[np.uint8], None]:
    """A frame's own labels. Raises DataError where it has none."""
    labels = frame.labels()
    if labels is None:
        raise DataError(
            f"{frame.scene.id}/{frame.name}: no labels to train on; leave the frame out or add {_label_file(frame)}"
        )
    return labels, None


def no_labels(frame: Frame) -> tuple[npt.NDArray[np.uint8], None]:
    """255 for every point or pixel of a frame, whatever is labelled."""
    return np.full(len(frame.points()), IGNORE, np.uint8), None


def _label_file(frame: Frame) -> str:
    return str(frame.scene.source.labels_path(frame.index) or "its label file")


def _item(frame: Frame, labels: LabelSource | None, feed: Feed, cut: Cut | None = None) -> Item:
    points, train_ids, weights = _read(frame, labels, feed)
    try:
        if cut is None:
            return feed.item(points, train_ids, weights)
        train_ids, units = cut(frame, points, train_ids)
        return feed.item(points, train_ids, weights, units)
    except DataError as error:
        raise DataError(f"{frame.scene.source.points_path(frame.index)}: {error}") from None


def _read(
    frame: Frame, labels: LabelSource | None, feed: Feed
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8], npt.NDArray[np.float32] | None]:
    """A frame's points, labels and weights. Raises DataError where they don't fit each other or the feed."""
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
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    return points, train_ids, weights


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
        parts: what is learnt beside the labels, with parameters of their own.
    """

    def __init__(
        self, run: Engine, network: Network, class_weights: Tensor, config: TrainConfig, parts: Sequence[Part] = ()
    ) -> None:
        self.run, self.network, self._seed = run, network.to(run.device).train(), config.seed
        self.parts = tuple(part.to(run.device).train() for part in parts)
        self.module: nn.Module = JointNetwork(network, parts) if parts else network
        # Each by itself: a head's gradients don't shorten the network's.
        self._clipped = [network, *(part for part in self.parts if any(True for _ in part.parameters()))]
        self.optimiser = torch.optim.AdamW(
            self.module.parameters(), config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
        self._forward, self._stepper = run.wrapped(self.module, self.optimiser)
        self._class_weights = class_weights.to(run.device)
        self._dropouts = [m for m in network.modules() if isinstance(m, SeededDropout)]

    def step(self, batch: Batch, number: int, learning_rate: float) -> float:
        """One step of the optimiser on one batch; the labels' loss, over all processes.

        Args:
            batch: this process's share, from a `Sampler`; it may hold nothing labelled if another's does.
            number: of the step, from 1; it seeds dropout.
            learning_rate: the step's.
        """
        for place, dropout in enumerate(self._dropouts):
            dropout.reseed(int(np.random.SeedSequence([self._seed, number, place]).generate_state(1)[0]))
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate
        terms = self._terms(batch, number)
        sums = self.run.sum(torch.stack([value for term in terms for value in (term.loss.detach(), term.weight)]))
        weights_of_all = sums[1::2].clamp_min(LEAST_WEIGHT)
        # Gradients are averaged over processes: times their number, the sum over all labelled voxels comes out.
        size = self.run.processes.size
        shares = [
            _times(term.loss, size) / weight * term.factor if term.factor != 1 else _times(term.loss, size) / weight
            for term, weight in zip(terms, weights_of_all, strict=True)
        ]
        self.optimiser.zero_grad(set_to_none=True)
        self.run.fabric.backward(sum(shares[1:], start=shares[0]))
        for module in self._clipped:
            clip_gradients(module, GRADIENT_LIMIT)
        self._stepper.step()
        for part in self.parts:
            part.follow(self.network, number)
        return float(sums[0] / weights_of_all[0])

    def _terms(self, batch: Batch, number: int) -> list[Term]:
        """The labels' loss, and that of each part."""
        if self.parts:
            logits, *outputs = self._forward(batch, number)
        else:
            logits, outputs = self._forward(*batch.inputs)[0], []
        labelled = weighted_sums(logits.float(), batch.targets, batch.weights, self._class_weights)
        with self.run.fabric.autocast():
            beside = [
                part.term(output, logits, batch, number) for part, output in zip(self.parts, outputs, strict=True)
            ]
        return [Term(*labelled), *beside]

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint keeps beside weights and moments."""
        return {f"{i}/{name}": value for i, part in enumerate(self.parts) for name, value in part.state().items()}

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint."""
        checkpoint.restore(self.module, self.optimiser)
        for i, part in enumerate(self.parts):
            prefix = f"{i}/"
            part.restore({k.removeprefix(prefix): v for k, v in checkpoint.beside().items() if k.startswith(prefix)})


def _times(loss: Tensor, size: int) -> Tensor:
    return loss * size if size > 1 else loss


def _optimise(
    trainer: Trainer,
    sampler: Sampler,
    config: TrainConfig,
    progress: Progress | None,
    folder: Path | None,
    training: str,
    others: Callable[[Sampler, int], BatchSource],
) -> None:
    held = None if folder is None else load_checkpoint(folder, training)
    done = 0 if held is None else held.step
    trainer.run.refuse_unlike(done, training)
    if held is not None:
        trainer.restore(held)
        sampler.restore(held.sampler)
    writes = folder is not None and trainer.run.processes.writes
    with StepLog(folder if writes else None, done) as log:
        for step, batch in enumerate(ahead(others(sampler, done), config.steps - done), start=done + 1):
            learning_rate = config.learning_rate * rate(step - 1, config.steps, config.schedule)
            loss = trainer.step(batch, step, learning_rate)
            log.note(step, loss, learning_rate)
            if folder is not None and writes and _is_due(step, config):
                save_checkpoint(
                    folder, step, batch.state, trainer.module, trainer.optimiser, training, trainer.state()
                )  # fmt: skip
            if progress is not None:
                progress(step, loss)


def _is_due(step: int, config: TrainConfig) -> bool:
    every = config.checkpoint_every
    return every > 0 and (step % every == 0 or step == config.steps)
