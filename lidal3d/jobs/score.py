# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Score a drive: Scene + Predictions (or a model) + Units -> ScoreTable, on any number of processes and machines."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import yaml

from lidal3d.config import Config
from lidal3d.errors import DataError, UsageError
from lidal3d.files import remove_abandoned, write_text
from lidal3d.jobs.predict import live_source
from lidal3d.jobs.score_arrays import SCORES_FILE
from lidal3d.jobs.score_folder import GUESSES, ScoreResult, claim_folder, failures_of, finish
from lidal3d.jobs.score_parts import all_parts, share
from lidal3d.jobs.score_scene import Recipe
from lidal3d.jobs.score_task import missing_tasks, run_task
from lidal3d.jobs.score_tracks import score_tracks
from lidal3d.jobs.signals import SignalSources, facts_of, make_signals
from lidal3d.parallel.pool import run_tasks
from lidal3d.predictions.guesses import BestGuesses
from lidal3d.predictions.maps import MapSource, Unpredicted
from lidal3d.predictions.store import PredictionStore
from lidal3d.scene.scene import Scene
from lidal3d.scores.table import ScoreTable
from lidal3d.select.pseudo import is_off
from lidal3d.settings.geal import OF_SCORING
from lidal3d.strategies import STRATEGIES, Strategy, strategy_named
from lidal3d.strategies.kinds import PICTURES, kinds_in_words
from lidal3d.strategies.strategy import HOW_TO_GET, SIGNAL_WORDS
from lidal3d.strategies.wanted import EXTRAS, Wanted, needing
from lidal3d.tracks.units import KIND as TRACK
from lidal3d.units import make_partition
from lidal3d.units.make import refuse_other_sensor

# How much of a scene is saved at once; what a kill can cost. The table does not depend on it.
FRAMES_A_PART = 50
ALL = "all"  # in place of a strategy's name


def score_drive(
    scenes: Sequence[Scene],
    predictions: MapSource,
    out: Path,
    config: Config,
    drive: Path | None = None,
    workers: int = 1,
    shard: tuple[int, int] = (1, 1),
    keep_going: bool = False,
    frames_a_part: int = FRAMES_A_PART,
    start: Callable[[int], None] = lambda frames: None,
    tick: Callable[[], None] = lambda: None,
    strategies: Sequence[str] = (),
    signals: SignalSources | None = None,
) -> ScoreResult:
    """Score every frame of some scenes and write the score table; continue where an interrupted run stopped.

    Args:
        predictions: a PredictionStore, or LivePredictions of a model.
        out: the results folder.
        drive: the path that the scenes were opened from, noted in source.yaml for the steps that follow.
        workers: processes.
        shard: (i, n): do the i-th of n shares (1-based); a table is only written by `merge_scores` when n > 1.
        keep_going: record frames that cannot be read in failed.jsonl instead of stopping at the first.
        frames_a_part: frames that one file of `parts/` holds.
        start: told how many frames are to be scored.
        tick: called for each frame done.
        strategies: names of strategies whose columns, mean features and mean probabilities are made as well; "all" is
            every one that looks at no label and for which all is there.
        signals: what is asked beside the model, where strategies need it.

    Raises:
        DataError: a frame cannot be read; the folder holds scores made with other settings.
        UsageError: no such strategy, or one that needs what the predictions or the drive lack.
    """
    sources = signals or SignalSources()
    named = strategies_for_scores(strategies, sources, config.units.kind)
    config = shared_settings(named, config)
    refuse_lacking(named, predictions, scenes, sources)
    refuse_other_sensor(config.units, scenes)
    if config.units.kind == TRACK:
        if shard != (1, 1) or keep_going:
            raise UsageError("tracks are scored whole: leave out --shard and --keep-going, give --workers")
        metadata = {**_metadata(scenes, predictions, config), "tracks": config.tracks.model_dump()}
        return score_tracks(scenes, predictions, out, config, metadata, drive, workers, start, tick)
    recipe = _recipe(scenes, predictions, out, config, Wanted.by(*named), sources)
    parts = all_parts(scenes, frames_a_part)
    mine = share(parts, *shard)
    claim_folder(out, recipe, parts)
    remove_abandoned(out)
    source = {"drive": drive or scenes[0].root, **predictions.origin}
    if sources.encoder is not None:
        source["encoder"] = sources.encoder
    write_text(out / "source.yaml", yaml.safe_dump({name: str(path.resolve()) for name, path in source.items()}))
    config.write(out / "config.yaml")
    # Frames that could not be read may have been mended since: then everything that saw them changes.
    if (out / SCORES_FILE).is_file() and not (out / "failed.jsonl").is_file():
        return ScoreResult(ScoreTable.read(out / SCORES_FILE), ())
    tasks = missing_tasks(scenes, mine, recipe, out, workers, keep_going)
    start(sum(len(task.frames) for task in tasks))
    for _ in run_tasks(run_task, tasks, workers, tick):
        pass
    if shard[1] > 1:
        return ScoreResult(None, failures_of([out], mine))
    return finish([out], parts, out)


def refuse_sources(
    *, predictions: Path | None, model: Path | None, boxes: Path | None, encoder: Path | None = None
) -> None:
    """Raise UsageError unless exactly one of what a drive can be scored with is given; an encoder can stand alone."""
    paths = {"--predictions": predictions, "--model": model, "--boxes": boxes}
    given = [name for name, path in paths.items() if path is not None]
    if len(given) != 1 and (given or encoder is None):
        said = f"{' and '.join(given)} are given" if given else "none is given"
        alone = "" if given else ", or an --encoder"
        raise UsageError(f"--predictions, --model or --boxes: {said}; give the one that is to be scored with{alone}")


def score_source(
    predictions: Path | None,
    model: Path | None,
    scenes: Sequence[Scene],
    config: Config,
    device: str = "cpu",
    encoder: Path | None = None,
) -> MapSource:
    """What regions are scored with: saved predictions, a model that predicts each sweep as it is scored, or neither.

    Raises:
        UsageError: both are given, or neither and no encoder.
        DataError: no predictions or model there, or a model of other classes than the drive's.
    """
    refuse_sources(predictions=predictions, model=model, boxes=None, encoder=encoder)
    if predictions is None and model is None:
        return Unpredicted(() if scenes[0].label_map is None else scenes[0].label_map.classes)
    return PredictionStore.open(predictions) if predictions else live_source(scenes, str(model), config.predict, device)


def strategies_for_scores(
    names: Sequence[str], sources: SignalSources | None = None, kind: str | None = None
) -> list[Strategy]:
    """The named strategies, each once; "all" stands for those that look at no label, lack nothing else and are scored
    with the config's own settings.

    Args:
        names: of strategies, or "all".
        sources: what signals can be made from.
        kind: of the units; None for any.

    Raises:
        UsageError: a name that no strategy has, or one that is not for units of the kind.
    """
    absent = {"labels", "loss_head", "pretext", *(sources or SignalSources()).absent}
    every = [
        name
        for name, strategy in STRATEGIES.items()
        if not absent & strategy.needs
        and not strategy.settings
        and (kind not in PICTURES or kind in strategy.possible_kinds)
    ]
    listed = [one for name in names for one in (every if name == ALL else [name])]
    chosen = [strategy_named(name) for name in dict.fromkeys(listed)]
    for strategy in chosen:
        if kind in PICTURES and kind not in strategy.possible_kinds:
            words = kinds_in_words(strategy.possible_kinds)
            raise UsageError(
                f"strategy '{strategy.name}' is for {words}, not for {kinds_in_words([kind])}; take another"
            )
    return chosen


def shared_settings(strategies: Sequence[Strategy], config: Config) -> Config:
    """The settings that all of some strategies are scored with. Raises UsageError where two want other patterns."""
    of_patterns = [strategy for strategy in strategies if "patterns" in strategy.needs]
    found = {strategy.name: strategy.configured(config).geal for strategy in of_patterns}
    for name, wanted in found.items():
        first = of_patterns[0].name
        for key in OF_SCORING:
            one, other = getattr(found[first], key), getattr(wanted, key)
            if one != other:
                raise UsageError(
                    f"strategies '{first}' and '{name}' need other patterns (geal.{key} {one} and {other}); score twice"
                )
    return of_patterns[0].configured(config) if of_patterns else config


def refuse_lacking(
    strategies: Sequence[Strategy],
    predictions: MapSource,
    scenes: Sequence[Scene],
    sources: SignalSources | None = None,
) -> None:
    """Raise UsageError for the first strategy that needs what predictions, drive and other sources don't have."""
    if isinstance(predictions, Unpredicted):
        for strategy in strategies:
            if Wanted.by(strategy).model:
                raise UsageError(
                    f"strategy '{strategy.name}' needs a model's probabilities; give --model or --predictions"
                )
    for signal in (sources or SignalSources()).absent:
        for name in needing(strategies, signal):
            raise UsageError(f"strategy '{name}' needs {SIGNAL_WORDS.get(signal, signal)}; {HOW_TO_GET[signal]}")
    for extra in EXTRAS:
        names, reason = needing(strategies, extra), predictions.lacks(extra)
        if names and reason:
            raise UsageError(f"strategy '{names[0]}' needs {extra}: {reason}; {HOW_TO_GET[extra]}")
    for name in needing(strategies, "labels"):
        if not any(frame.has_labels for scene in scenes for frame in scene):
            frames = sum(map(len, scenes))
            raise UsageError(f"strategy '{name}' needs labels: 0 of {frames} frames have any; {HOW_TO_GET['labels']}")
        for scene in scenes:
            if scene.label_map is None or scene.label_map.classes != predictions.classes:
                raise UsageError(
                    f"strategy '{name}' needs labels in the model's classes: scene {scene.id} has other classes than "
                    f"the {len(predictions.classes)} of {predictions.model}; give --label-map, or use another model"
                )


def _recipe(
    scenes: Sequence[Scene], predictions: MapSource, out: Path, config: Config, extra: Wanted, sources: SignalSources
) -> Recipe:
    """How the drive is scored: every table has the inter-frame columns, whatever the strategies need."""
    # Pseudo-labels are made of saved predictions, or of the likeliest classes where none are saved.
    live = "model" in predictions.origin and not is_off(config)
    signals = make_signals(extra.signals, sources, config)
    return Recipe(
        source=predictions.reading(extra.extras),
        partition=make_partition(config.units),
        interframe=config.interframe,
        wanted=extra if isinstance(predictions, Unpredicted) else extra.with_model(),
        guesses=BestGuesses(out / GUESSES, predictions.classes) if live else None,
        metadata={**_metadata(scenes, predictions, config, extra.signals), **facts_of(signals)},
        signals=signals,
    )


def _metadata(
    scenes: Sequence[Scene], predictions: MapSource, config: Config, signals: Collection[str] = ()
) -> dict[str, Any]:
    """What a table needs beside its rows. No path and no time, so that equal inputs give equal bytes."""
    if not scenes or not sum(map(len, scenes)):
        raise DataError("the drive has no frames; nothing to score")
    return {
        "classes": list(predictions.classes),
        "model": predictions.model,
        "dataset": scenes[0].dataset,
        "frames": {scene.id: len(scene) for scene in scenes},
        "units": config.units.model_dump(),
        "interframe": config.interframe.model_dump(),
        **({"geal": config.geal.model_dump(include=set(OF_SCORING))} if "patterns" in signals else {}),
    }
