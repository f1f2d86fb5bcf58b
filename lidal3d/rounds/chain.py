# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""The stages of an experiment. Each writes its file whole and is skipped where the file lies.

    SEED/initial.json                      the initial set
    SEED/initial/model.safetensors, evaluation.json      the model that all strategies of the seed start from
    SEED/full/…                            the same with all labels
    SEED/ROW/ledger.jsonl                  who labelled what, when
    SEED/ROW/round-K/queue/                the K-th choice: a manifest, as `lidal3d select` writes it
    SEED/ROW/round-K/model.safetensors, evaluation.json

Everything random is drawn from a seed derived from (purpose, seed, round), for the choice also from the row. Strategies
never see a label: only the oracle and the evaluation open label files.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lidal3d.config import Config, TrainConfig
from lidal3d.errors import DataError
from lidal3d.files import fingerprint, remove_abandoned, write_json
from lidal3d.jobs.select import answers_of, frame_of
from lidal3d.learn.evaluate import class_iou, confusion_matrix, mean_iou
from lidal3d.predictions.guesses import BestGuesses
from lidal3d.rounds.config import ExperimentConfig
from lidal3d.rounds.initial import initial_records
from lidal3d.rounds.ledger import Ledger
from lidal3d.rounds.masks import Assumed, LedgerLabels
from lidal3d.rounds.oracle import GroundTruth
from lidal3d.rounds.record import Record, history_of_records, records_of
from lidal3d.rounds.scoring import Wanted, score_pool
from lidal3d.rounds.seeds import derived_rng, derived_seed
from lidal3d.rounds.world import World, open_world
from lidal3d.scene.scene import Frame
from lidal3d.select.manifest import read_manifest, read_pseudo_points, write_manifest
from lidal3d.select.members import frame_tasks, pseudo_points, selection_points
from lidal3d.select.selection import Selection, UnitKey
from lidal3d.strategies import UnitPool, strategy_named
from lidal3d.strategies.strategy import Strategy
from lidal3d.units import make_partition

if TYPE_CHECKING:
    from lidal3d.learn.train import LabelSource

MODEL_FILE = "model.safetensors"
EVALUATION_FILE = "evaluation.json"
FRAMES_REMEMBERED = 512
SHARED = ("initial", "full")  # of a seed; no row may be called so
Tick = Callable[[], None]


@dataclass(frozen=True)
class Link:
    """What one process does: a seed's shared part, its full supervision, or one strategy of it. Survives pickling.

    Attributes:
        experiment: all settings.
        out: the results folder.
        seed: which.
        what: "initial", "full", or the name of a row of the comparison.
        device: where torch computes.
    """

    experiment: ExperimentConfig
    out: Path
    seed: int
    what: str
    device: str = "cpu"

    @property
    def folder(self) -> Path:
        """Where its files lie."""
        return seed_folder(self.out, self.seed) / self.what


def seed_folder(out: Path, seed: int) -> Path:
    """Where a seed's files lie."""
    return out / f"seed-{seed}"


def round_folder(out: Path, seed: int, row: str, number: int) -> Path:
    """Where a round's files lie; round 0 is the initial model, which the rows share."""
    return seed_folder(out, seed) / ("initial" if number == 0 else f"{row}/round-{number}")


def trainings_of(link: Link) -> int:
    """How many models a link trains."""
    return 1 if link.what in SHARED else link.experiment.rounds


def is_done(link: Link) -> bool:
    """Whether the last file of a link is there."""
    last = link.folder if link.what in SHARED else round_folder(link.out, link.seed, link.what, link.experiment.rounds)
    return (last / EVALUATION_FILE).is_file()


def run_link(link: Link, tick: Tick) -> None:
    """Do what is still missing of a link; `tick` is called after each training."""
    with one_torch_thread():
        world = open_world(link.experiment.world, link.out)
        if link.what == "initial":
            _run_initial(link, world, tick)
        elif link.what == "full":
            _run_full(link, world, tick)
        else:
            _run_row(link, world, tick)


def _run_initial(link: Link, world: World, tick: Tick) -> None:
    config = link.experiment.shared_settings()
    labels = _labels(link, initial_set(link, world), config, {})
    frames = training_frames(labels, world, config.train, link.experiment.sampling)
    _train_and_evaluate(link, link.folder, world, config.train, labels, frames, 0, None)
    tick()


def initial_set(link: Link, world: World) -> list[Record]:
    """The seed's initial records, drawn once and then read."""
    path = seed_folder(link.out, link.seed) / "initial.json"
    if not path.is_file():
        config = link.experiment.shared_settings()
        frames = world.labelled_train_frames()
        records = initial_records(frames, link.experiment.initial, make_partition(config.units), link.seed)
        write_json(path, [record.to_dict() for record in records])
    return [Record.from_dict(fields) for fields in json.loads(path.read_text(encoding="utf-8"))]


def _run_full(link: Link, world: World, tick: Tick) -> None:
    """All labels, with as many optimiser steps as the last round's model has seen."""
    from lidal3d.learn.train import own_labels

    config = link.experiment.shared_settings().train
    trainings = 1 + link.experiment.rounds if link.experiment.start == "warm" else 1
    config = config.model_copy(update={"steps": config.steps * trainings})
    frames = world.labelled_train_frames()
    _train_and_evaluate(link, link.folder, world, config, own_labels, frames, 0, None)
    tick()


def _run_row(link: Link, world: World, tick: Tick) -> None:
    """All rounds of one strategy with one seed."""
    config = link.experiment.settings_of(link.what)
    strategy = strategy_named(link.experiment.strategy_of(link.what))
    ledger = Ledger.open_or_create(link.folder / "ledger.jsonl", world.train)
    if not ledger.records:
        ledger.append(initial_set(link, world))
    for number in range(1, link.experiment.rounds + 1):
        folder = round_folder(link.out, link.seed, link.what, number)
        before = round_folder(link.out, link.seed, link.what, number - 1)
        if ledger.last_round < number:
            _choose(link, world, ledger, config, strategy, number, before, folder)
        shutil.rmtree(folder / "scores", ignore_errors=True)
        known = [record for record in ledger.records if record.round <= number]
        labels = _labels(link, known, config, _assumed(folder / "queue"))
        start = before if link.experiment.start == "warm" else None
        frames = training_frames(labels, world, config.train, link.experiment.sampling)
        _train_and_evaluate(link, folder, world, config.train, labels, frames, number, start)
        tick()


def _choose(
    link: Link,
    world: World,
    ledger: Ledger,
    config: Config,
    strategy: Strategy,
    number: int,
    before: Path,
    folder: Path,
) -> None:
    """Score with the last model, let the strategy choose, write the queue, and enter it in the ledger."""
    queue = folder / "queue"
    if not (queue / "summary.json").is_file():
        _write_queue(link, world, ledger.records, config, strategy, number, before, folder)
    manifest = read_manifest(queue)
    model, asked_by = model_fingerprint(before), _queue_fingerprint(queue)
    ledger.append(
        records_of(manifest.selection, "human", number, model, link.what, asked_by)
        + records_of(manifest.pseudo, "pseudo", number, model, link.what, asked_by)
    )


def _write_queue(
    link: Link,
    world: World,
    records: Sequence[Record],
    config: Config,
    strategy: Strategy,
    number: int,
    before: Path,
    folder: Path,
) -> None:
    from lidal3d.learn.model import load_model

    partition = make_partition(config.units)
    remove_abandoned(folder)
    predict = config.predict.model_copy(update={"seed": derived_seed("predict", link.seed, number)})
    config = config.model_copy(update={"predict": predict})
    model = load_model(before, world.classes.classes)
    pool, guesses = score_pool(
        world.train, model, config, partition, Wanted.by(strategy), folder / "scores", link.device
    )
    history = history_of_records(records, partition.kind)
    rng = derived_rng("choose", link.seed, number, link.what)
    selection, pseudo = choose_from(pool, strategy, config, world, history, rng)
    write_queue(selection, pseudo, world, config, guesses, folder / "queue")


def choose_from(
    pool: UnitPool, strategy: Strategy, config: Config, world: World, history: Any, rng: np.random.Generator
) -> tuple[Selection, Selection]:
    """What the strategy asks and assumes; it may ask for what is left where the budget is more."""
    scenes = world.train_by_id
    return strategy.choose(pool, config, lambda scene, frame: frame_of(scenes, scene, frame), history, rng)


def write_queue(
    selection: Selection, pseudo: Selection, world: World, config: Config, guesses: BestGuesses, folder: Path
) -> None:
    """Write a choice as a manifest, with the points of its units and their pseudo-labels."""
    partition = make_partition(config.units)
    tasks = frame_tasks(selection, pseudo, world.train_by_id, partition, guesses, config.pseudo, False)
    answers = answers_of(tasks, 1, lambda: None)
    write_manifest(
        selection,
        pseudo,
        folder,
        config,
        selection_points(selection, answers),
        pseudo_points(pseudo, answers),
        classes=world.classes.classes,
    )


def _assumed(queue: Path) -> dict[UnitKey, Assumed]:
    """The pseudo-labels of a queue, by unit."""
    picks, points = read_manifest(queue).pseudo.picks, read_pseudo_points(queue)
    return {pick.key: Assumed(points.labels_of(i), points.weights_of(i)) for i, pick in enumerate(picks)}


def _labels(link: Link, records: Sequence[Record], config: Config, assumed: dict[UnitKey, Assumed]) -> LedgerLabels:
    oracle = GroundTruth(link.experiment.oracle_noise, derived_seed("oracle", link.seed))
    return LedgerLabels(records, oracle, make_partition(config.units), assumed)


def training_frames(labels: LedgerLabels, world: World, config: TrainConfig, sampling: str) -> list[Frame]:
    """The frames with labels; with sampling "points" each as often as its share of the labelled points asks for.

    The loss of a step is a mean over its labelled points. Where whole frames and frames with one small region are
    drawn alike, a region's points weigh a hundred times those of a frame, and the whole frames are hardly seen.
    """
    frames = labels.frames(world.train_by_id)
    if sampling == "frames":
        return frames
    points = np.array([labels.points(frame) for frame in frames], np.float64)
    times = np.maximum(1, np.rint(points / points.sum() * config.steps * config.batch)).astype(int)
    return [frame for frame, count in zip(frames, times.tolist(), strict=True) for _ in range(count)]


def _remembered(labels: LabelSource) -> LabelSource:
    """The same answers; those of the last frames aren't worked out again."""
    known: dict[tuple[str, int], Any] = {}

    def answer(frame: Frame) -> Any:
        key = (frame.scene.id, frame.index)
        if key not in known:
            if len(known) >= FRAMES_REMEMBERED:
                known.pop(next(iter(known)))
            known[key] = labels(frame)
        return known[key]

    return answer


def _train_and_evaluate(
    link: Link,
    folder: Path,
    world: World,
    config: TrainConfig,
    labels: LabelSource,
    frames: Sequence[Frame],
    number: int,
    start: Path | None,
) -> None:
    """Train where there is no model yet, evaluate where there is no evaluation yet."""
    from lidal3d.learn.model import load_model
    from lidal3d.learn.train import train

    if (folder / EVALUATION_FILE).is_file():
        return
    remove_abandoned(folder)
    if not (folder / MODEL_FILE).is_file():
        # The row isn't in it: with the same labels two strategies get the same model.
        settings = config.model_copy(update={"seed": derived_seed("train", link.seed, number)})
        initial = None if start is None else load_model(start, world.classes.classes)
        # A checkpoint goes on where a kill cut a long training off; short ones start again.
        kept = folder if settings.checkpoint_every else None
        train(frames, world.classes, settings, _remembered(labels), initial, device=link.device, folder=kept).save(
            folder
        )
    write_json(folder / EVALUATION_FILE, evaluate(folder, world, link.device))


def evaluate(folder: Path, world: World, device: str = "cpu") -> dict[str, Any]:
    """mIoU on the validation scenes, each sweep as it is, with the confusion matrix behind it."""
    from lidal3d.learn.model import load_model
    from lidal3d.learn.predict import frame_rng, predict_points

    model = load_model(folder, world.classes.classes)
    model.network.to(device)
    classes = len(world.classes.classes)
    confusion = np.zeros((classes, classes), np.int64)
    for frame in world.validation_frames():
        rng = frame_rng(0, frame.scene.id, frame.name)
        probabilities, _ = predict_points(model, frame.points(), 1, rng)
        labels = frame.labels()
        if labels is None or len(labels) != len(probabilities):
            number = 0 if labels is None else len(labels)
            path = frame.scene.source.labels_path(frame.index)
            raise DataError(f"{path}: {number} labels for {len(probabilities)} points; one a point is needed")
        confusion += confusion_matrix(labels, probabilities.argmax(axis=1), classes)
    iou = class_iou(confusion)
    named = {n: None if np.isnan(v) else float(v) for n, v in zip(world.classes.classes, iou.tolist(), strict=True)}
    return {"miou": mean_iou(confusion), "iou": named, "confusion": confusion.tolist()}


def model_fingerprint(folder: Path) -> str:
    """A digest of a model's file; equal weights and settings are equal bytes."""
    return hashlib.sha256((folder / MODEL_FILE).read_bytes()).hexdigest()[:16]


def _queue_fingerprint(queue: Path) -> str:
    return fingerprint((queue / "manifest.jsonl").read_text(encoding="utf-8"))


@contextlib.contextmanager
def one_torch_thread() -> Iterator[None]:
    """Sums depend on how many threads share them: with one, the bytes are the same for any number of workers."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
