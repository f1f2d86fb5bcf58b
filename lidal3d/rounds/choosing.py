# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""A round's choice: score with the last model, let the strategy choose, write the queue, enter it in the ledger."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from lidal3d.config import Config
from lidal3d.errors import UsageError
from lidal3d.files import fingerprint, remove_abandoned
from lidal3d.jobs.select import answers_of, frame_of
from lidal3d.jobs.signals import SignalSources, make_signals
from lidal3d.predictions.guesses import BestGuesses
from lidal3d.rounds.ledger import Ledger
from lidal3d.rounds.links import MODEL_FILE, Link, encoder_of, round_folder
from lidal3d.rounds.masks import Assumed
from lidal3d.rounds.record import Record, history_of_records, records_of
from lidal3d.rounds.scoring import Wanted, score_pool
from lidal3d.rounds.seeds import derived_rng, derived_seed
from lidal3d.rounds.world import World
from lidal3d.select.active import NothingToChoose
from lidal3d.select.manifest import read_manifest, read_pseudo_points, write_manifest
from lidal3d.select.members import frame_tasks, pseudo_points, selection_points
from lidal3d.select.pseudo import nothing
from lidal3d.select.selection import Selection, UnitKey
from lidal3d.strategies import UnitPool
from lidal3d.strategies.learning_loss import in_experiment
from lidal3d.strategies.strategy import Strategy
from lidal3d.units import make_partition

# What an experiment lacks for a signal.
IN_EXPERIMENTS = {
    "embeddings": "give the experiment `encoders`, and the row the name of one",
    "patterns": "give the experiment `encoders`, and the row the name of one",
    "pretext": "give the experiment an encoder of method masked, and the row its name",
    "loss_head": "set learning_loss.weight for the row",
}
SCORES, SOURCE_SCORES = "scores", "source-scores"  # folders, gone when the choice is made


def choose(
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
    config = in_experiment(config.model_copy(update={"predict": predict}))
    model = load_model(before, world.classes.classes)
    wanted = Wanted.by(strategy)
    sources = SignalSources(before, encoder_of(link), _earlier(link, number), link.device)
    for signal in sources.absent:
        # In the first round there is no earlier model; its signal knows what to say then.
        if signal in wanted.signals and signal != "earlier":
            raise UsageError(f"row '{link.what}': strategy '{strategy.name}' needs {signal}; {IN_EXPERIMENTS[signal]}")
    signals = make_signals(wanted.signals, sources, strategy.configured(config))
    pool, guesses = score_pool(world.train, model, config, partition, wanted, folder / SCORES, link.device, signals)
    source = None
    if world.source and "source" in strategy.needs:
        # Only what is compared: no score columns, no pseudo-labels.
        compared = replace(wanted, columns=(), guesses=False, members=False, labels=False)
        source, _ = score_pool(world.source, model, config, partition, compared, folder / SOURCE_SCORES, link.device)
    history = history_of_records(records, partition.kind)
    # By strategy, not by row: rows that differ in training alone are compared on the same draws.
    rng = derived_rng("choose", link.seed, number, link.experiment.strategy_of(link.what))
    selection, pseudo = choose_from(pool, strategy, config, world, history, rng, source)
    write_queue(selection, pseudo, world, config, guesses, folder / "queue")


def _earlier(link: Link, number: int) -> Path | None:
    """The model of the round before the last: that of round 0 has none before it."""
    return round_folder(link.out, link.seed, link.what, number - 2) if number > 1 else None


def choose_from(
    pool: UnitPool,
    strategy: Strategy,
    config: Config,
    world: World,
    history: Any,
    rng: np.random.Generator,
    source: UnitPool | None = None,
) -> tuple[Selection, Selection]:
    """What the strategy asks and assumes; of a pool that has nothing left for it, nothing.

    One row that runs out must not cost the others their results: the table says which did.
    """
    scenes = world.train_by_id
    try:
        return strategy.choose(pool, config, lambda scene, frame: frame_of(scenes, scene, frame), history, rng, source)
    except NothingToChoose:
        return replace(nothing(), strategy=strategy.name), replace(nothing(), strategy=f"{strategy.name} pseudo")


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


def assumed_in(queue: Path) -> dict[UnitKey, Assumed]:
    """The pseudo-labels of a queue, by unit."""
    picks, points = read_manifest(queue).pseudo.picks, read_pseudo_points(queue)
    return {pick.key: Assumed(points.labels_of(i), points.weights_of(i)) for i, pick in enumerate(picks)}


def model_fingerprint(folder: Path) -> str:
    """A digest of a model's file; equal weights and settings are equal bytes."""
    return hashlib.sha256((folder / MODEL_FILE).read_bytes()).hexdigest()[:16]


def _queue_fingerprint(queue: Path) -> str:
    return fingerprint((queue / "manifest.jsonl").read_text(encoding="utf-8"))
