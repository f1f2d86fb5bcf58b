# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""The stages of an experiment. Each writes its file whole and is skipped where the file lies.

    SEED/initial.json                      the initial set
    SEED/initial/model.safetensors, evaluation.json      the model that all strategies of the seed start from
    SEED/encoder-NAME/encoder.safetensors  what strategies ask beside it, where the experiment trains one
    SEED/full/…                            the same with all labels
    SEED/ROW/ledger.jsonl                  who labelled what, when
    SEED/ROW/round-K/queue/                the K-th choice: a manifest, as `lidal3d select` writes it
    SEED/ROW/round-K/model.safetensors, evaluation.json, and stages.json where it was trained in stages

Everything random is drawn from a seed derived from (purpose, seed, round), for the choice also the strategy. Strategies
never see a label: only the oracle and the evaluation open label files.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from lidal3d.config import Config
from lidal3d.files import write_json
from lidal3d.jobs.track import track_drive
from lidal3d.rounds.carry import COUNTS_FILE, CarriedLabels, carry_labels, counts_of
from lidal3d.rounds.carry_tracks import carry_by_track
from lidal3d.rounds.choosing import SCORES, SOURCE_SCORES, assumed_in, choose
from lidal3d.rounds.held_out import held_out_records
from lidal3d.rounds.initial import initial_records
from lidal3d.rounds.ledger import Ledger
from lidal3d.rounds.links import EVALUATION_FILE, MODEL_FILE, Link, encoder_name, round_folder, seed_folder
from lidal3d.rounds.masks import Assumed, LedgerLabels
from lidal3d.rounds.oracle import GroundTruth
from lidal3d.rounds.record import Record, by_people
from lidal3d.rounds.seeds import derived_seed
from lidal3d.rounds.source import mixed, with_source
from lidal3d.rounds.stages import Staged, train_in_stages
from lidal3d.rounds.training import evaluate_model, train_model, training_frames
from lidal3d.rounds.world import World, open_world
from lidal3d.select.selection import UnitKey
from lidal3d.strategies import strategy_named
from lidal3d.units import make_partition

CARRIED = "carried"  # a folder
TRACKS = "tracks"  # another, of the whole experiment
Tick = Callable[[], None]


def run_link(link: Link, tick: Tick) -> None:
    """Do what is still missing of a link; `tick` is called after each training."""
    from lidal3d.learn.threads import one_thread

    # Sums depend on how many threads share them: with one, the bytes are the same for any number of workers.
    with one_thread():
        world = open_world(link.experiment.world, link.out)
        if link.what == "initial":
            _run_initial(link, world, tick)
        elif (encoder := encoder_name(link)) is not None:
            _run_encoder(link, world, encoder, tick)
        elif link.what == "full":
            _run_full(link, world, tick)
        else:
            _run_row(link, world, tick)


def _run_initial(link: Link, world: World, tick: Tick) -> None:
    config = link.experiment.shared_settings()
    _train_on(link, world, _labels(link, initial_set(link, world), config, {}), config, 0, None, link.folder)
    evaluate_model(link, link.folder, world)
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


def _run_encoder(link: Link, world: World, name: str, tick: Tick) -> None:
    """What strategies ask beside the model: trained on the training frames, no label read."""
    from lidal3d.jobs.pretrain import pretrain_on

    settings = link.experiment.encoders[name]
    assert settings.method is not None
    config = link.experiment.shared_settings().updated(settings.config, f"encoders.{name}.config")
    pretrain_on(world.train, link.folder, settings.method, config, derived_seed("encoder", link.seed), link.device)
    tick()


def _run_full(link: Link, world: World, tick: Tick) -> None:
    """All labels, with as many optimiser steps as the last round's model has seen."""
    from lidal3d.learn.train import own_labels

    config = link.experiment.shared_settings()
    trainings = 1 + link.experiment.rounds if link.experiment.start == "warm" else 1
    config = config.updated({"train": {"steps": config.train.steps * trainings}})
    frames, portions = mixed(world.labelled_train_frames(), world, link.experiment.world)
    train_model(link, link.folder, world, config, own_labels, frames, 0, None, portions)
    evaluate_model(link, link.folder, world)
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
            choose(link, world, ledger, config, strategy, number, before, folder)
        for scores in (SCORES, SOURCE_SCORES):
            shutil.rmtree(folder / scores, ignore_errors=True)
        if not (folder / EVALUATION_FILE).is_file():
            known = [record for record in ledger.records if record.round <= number]
            _train_round(link, world, known, config, number, before, folder)
            evaluate_model(link, folder, world)
        tick()


def train_again(link: Link, number: int, config: Config, folder: Path) -> dict[str, object]:
    """Train on what was known in a round of a finished experiment once more, with other settings; what was measured.

    Args:
        link: the row, or "full" for all labels.
        number: the round; of "full" it tells nothing.
        config: the settings of this training.
        folder: where model and evaluation go; what lies there is kept.
    """
    from lidal3d.learn.threads import one_thread
    from lidal3d.learn.train import own_labels

    with one_thread():
        world = open_world(link.experiment.world, link.out)
        if link.what == "full":
            frames, portions = mixed(world.labelled_train_frames(), world, link.experiment.world)
            train_model(link, folder, world, config, own_labels, frames, 0, None, portions)
        else:
            ledger = Ledger.open(link.folder / "ledger.jsonl", world.train)
            known = [record for record in ledger.records if record.round <= number]
            assumed = assumed_in(round_folder(link.out, link.seed, link.what, number) / "queue") if number else {}
            _train_on(link, world, _labels(link, known, config, assumed), config, number, None, folder)
        evaluate_model(link, folder, world)
    return dict(json.loads((folder / EVALUATION_FILE).read_text(encoding="utf-8")))


def _train_round(
    link: Link, world: World, known: Sequence[Record], config: Config, number: int, before: Path, folder: Path
) -> None:
    """A round's model of all that is known by now, in one go or in stages."""
    training = link.experiment.training_of(link.what)
    assumed = assumed_in(folder / "queue")
    if training.kind == "single":
        start = before if link.experiment.start == "warm" else None
        _train_on(link, world, _labels(link, known, config, assumed), config, number, start, folder)
        return
    held_out = held_out_records(known, training, link.seed)
    aside = {record.key for record in held_out}
    human = [record for record in by_people(known) if record.labeller == "initial" or record.key not in aside]
    pseudo = [record for record in known if record.labeller == "pseudo" and record.round == number]
    sources = (_labels(link, records, config, assumed) for records in (human, held_out, pseudo))
    train_in_stages(Staged(link, world, config, training, number, folder, before, *sources))


def _train_on(
    link: Link, world: World, labels: LedgerLabels, config: Config, number: int, start: Path | None, folder: Path
) -> None:
    """Train on a ledger's labels and on those carried from them, in one go; carried labels go when it is done."""
    if (folder / MODEL_FILE).is_file():
        shutil.rmtree(folder / CARRIED, ignore_errors=True)
        return
    source: LedgerLabels | CarriedLabels = labels
    if config.carry.by == "track":
        tracks = track_drive(world.train, link.out / TRACKS, config.tracks)
        source = carry_by_track(
            labels, world.train_by_id, world.classes.classes, tracks, config.carry.weight, folder / CARRIED
        )
        write_json(folder / COUNTS_FILE, counts_of(source, world))
    elif config.carry.half_window:
        source = carry_labels(labels, world.train_by_id, world.classes.classes, config.carry, folder / CARRIED)
        write_json(folder / COUNTS_FILE, counts_of(source, world))
    frames = training_frames(source, world, config.train, link.experiment.sampling)
    frames, portions = mixed(frames, world, link.experiment.world)
    train_model(link, folder, world, config, with_source(source, world), frames, number, start, portions)
    shutil.rmtree(folder / CARRIED, ignore_errors=True)


def _labels(link: Link, records: Sequence[Record], config: Config, assumed: dict[UnitKey, Assumed]) -> LedgerLabels:
    oracle = GroundTruth(link.experiment.oracle_noise, derived_seed("oracle", link.seed))
    return LedgerLabels(records, oracle, make_partition(config.units), assumed)
