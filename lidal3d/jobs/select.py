# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""The job behind `lidal3d select`: scored units in, manifest with point indices and pseudo-labels out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from pydantic import ValidationError

from lidal3d.config import Config
from lidal3d.errors import DataError, UsageError
from lidal3d.jobs.score_arrays import read_pool
from lidal3d.jobs.score_folder import GUESSES
from lidal3d.jobs.score_tracks import TRACKS_FOLDER
from lidal3d.parallel.pool import run_tasks
from lidal3d.predictions.guesses import BestGuesses
from lidal3d.predictions.store import PredictionStore
from lidal3d.scene.scene import Scene
from lidal3d.scores.table import ScoreTable
from lidal3d.select.boxes import BoxUnits, without_pseudo
from lidal3d.select.history import history_of
from lidal3d.select.manifest import Manifest, read_manifest, refuse_foreign_folder, write_manifest
from lidal3d.select.members import (
    FrameAnswer,
    FrameTask,
    Labeller,
    answer_to,
    frame_tasks,
    pseudo_points,
    read_frames,
    selection_points,
)
from lidal3d.select.selection import Selection
from lidal3d.settings.units import UnitsConfig
from lidal3d.strategies import Strategy, UnitPool, strategy_named
from lidal3d.strategies.lidal import LIDAL
from lidal3d.strategies.pool import ARRAYS
from lidal3d.tracks.store import TrackStore
from lidal3d.tracks.units import KIND as TRACK
from lidal3d.tracks.units import TrackUnits
from lidal3d.units.base import FramePartition, Partition

SOURCE_FILE = "source.yaml"
EXISTING = "existing"  # in place of a frame's name: all frames with a label file


@dataclass(frozen=True)
class SelectOutcome:
    """What a run chose, and the frames it had to leave out with `keep_going`."""

    selection: Selection
    pseudo: Selection
    failed: tuple[Mapping[str, Any], ...]


def select_job(
    scores_folder: Path,
    out: Path,
    config: Config,
    earlier: Sequence[Path] = (),
    drive: Path | None = None,
    predictions: Path | None = None,
    *,
    labelled_frames: Collection[tuple[str, str]] = (),
    layout: str | None = None,
    keep_going: bool = False,
    workers: int = 1,
    start: Callable[[int], None] = lambda frames: None,
    tick: Callable[[], None] = lambda: None,
    strategy: str = LIDAL.name,
    source_scores: Path | None = None,
) -> SelectOutcome:
    """Choose from `scores_folder/scores.parquet` and write the manifest to `out`.

    Args:
        earlier: manifests of the rounds before, the first one first.
        drive, predictions: where they lie now, when not where `source.yaml` beside the scores says.
        labelled_frames: (scene id, frame name) of frames that people labelled whole: nothing in them is chosen.
        layout: the drive's layout, or None to recognise it.
        keep_going: a frame that can't be read costs only its own picks and is told in failed.jsonl.
        workers: processes; the manifest is the same for any number.
        start: told how many frames are to be read again.
        tick: called for each frame done.
        strategy: its name.
        source_scores: scores of a labelled drive by the same model, for strategies that compare with one.

    Raises:
        DataError: a table, drive, prediction or earlier manifest that is missing, damaged or doesn't fit the others.
        UsageError: a budget that makes no sense, an `out` that holds other files, a strategy that doesn't exist or
            that needs what the scores lack, a source for one that compares with none.
    """
    from lidal3d.scene.open import open_drive

    chosen = strategy_named(strategy)

    refuse_foreign_folder(Path(out))
    if Path(out).resolve() in [Path(folder).resolve() for folder in earlier]:
        raise UsageError(f"{out}: is an earlier round's selection and would be lost; choose another --out")
    arrays = chosen.needs & set(ARRAYS)
    pool = read_pool(Path(scores_folder), arrays)
    if source_scores is not None and "source" not in chosen.needs:
        raise UsageError(f"strategy '{chosen.name}' compares with no source; drop --source, or choose d2ada")
    labelled_pool = None if source_scores is None else read_pool(Path(source_scores), arrays)
    source = source_paths(Path(scores_folder), drive, predictions)
    scenes = open_drive(Path(source["drive"]), layout)
    return select_from_scenes(
        pool,
        scenes,
        _labeller(Path(scores_folder), source, pool.table),
        Path(out),
        config,
        [read_manifest(Path(folder)) for folder in earlier],
        source={
            **source,
            "scores": str(Path(scores_folder).resolve()),
            **({} if source_scores is None else {"source_scores": str(Path(source_scores).resolve())}),
        },
        labelled_frames=labelled_frames,
        keep_going=keep_going,
        workers=workers,
        start=start,
        tick=tick,
        partition=_track_units(Path(scores_folder), scenes) if pool.table.kind == TRACK else None,
        strategy=chosen,
        labelled_pool=labelled_pool,
    )


def _track_units(scores_folder: Path, scenes: Sequence[Scene]) -> TrackUnits:
    """The tracks that scoring left beside its table."""
    return TrackUnits.of(TrackStore.open(scores_folder / TRACKS_FOLDER), scenes)


def _labeller(scores_folder: Path, source: Mapping[str, str], table: ScoreTable) -> Labeller | None:
    """What pseudo-labels are made of: saved predictions, or the likeliest classes that scoring with a model kept."""
    if "predictions" in source:
        return PredictionStore.open(source["predictions"])
    kept = scores_folder / GUESSES
    return BestGuesses(kept, tuple(table.metadata.get("classes", ()))) if kept.is_dir() else None


def select_from_scenes(
    pool: UnitPool,
    scenes: Sequence[Scene],
    predictions: Labeller | None,
    out: Path,
    config: Config,
    earlier: Sequence[Manifest] = (),
    *,
    source: Mapping[str, str] | None = None,
    labelled_frames: Collection[tuple[str, str]] = (),
    keep_going: bool = False,
    workers: int = 1,
    start: Callable[[int], None] = lambda frames: None,
    tick: Callable[[], None] = lambda: None,
    partition: Partition | FramePartition | None = None,
    strategy: Strategy = LIDAL,
    labelled_pool: UnitPool | None = None,
) -> SelectOutcome:
    """`select_job` on what is open already; arguments and errors as there.

    Args:
        predictions: needed where the strategy pseudo-labels and `config.pseudo.budget` isn't 0.
        partition: what cut the sweeps when they were scored; None makes it from the table's settings.
        labelled_pool: scored units of a labelled drive to compare with.
    """
    config = without_pseudo(config.model_copy(update={"units": units_of(pool.table, config)}), pool.table.kind)
    by_id = {scene.id: scene for scene in scenes}
    history = history_of(
        [(manifest.selection, manifest.pseudo) for manifest in earlier], frame_indices(by_id, labelled_frames)
    )
    rng = np.random.default_rng(config.select.seed)
    selection, pseudo = strategy.choose(
        pool, config, lambda scene, frame: frame_of(by_id, scene, frame), history, rng, labelled_pool
    )
    if pseudo.picks and predictions is None:
        raise UsageError("pseudo-labels need the predictions; give --predictions, or set pseudo.budget=0")
    tasks = frame_tasks(
        selection, pseudo, by_id, partition or partition_of_table(pool.table, config.units), predictions, config.pseudo,
        keep_going,
    )  # fmt: skip
    start(len(tasks))
    answers = answers_of(tasks, workers, tick)
    failed = tuple(
        {"scene": scene, "frame": frame, "name": by_id[scene].frame_names[frame], "error": answer.error}
        for (scene, frame), answer in sorted(answers.items())
        if answer.error
    )
    selection, pseudo = without_failed(selection, answers), without_failed(pseudo, answers)
    write_manifest(
        selection,
        pseudo,
        out,
        config,
        selection_points(selection, answers),
        pseudo_points(pseudo, answers),
        classes=pool.table.metadata.get("classes", ()),
        source=source,
        failed=failed,
    )
    return SelectOutcome(selection, pseudo, failed)


def frame_of(scenes: Mapping[str, Scene], scene: str, frame: int) -> tuple[str, int]:
    """Name and timestamp of a frame. Raises DataError when the drive doesn't have it."""
    if scene not in scenes:
        raise DataError(
            f"the scores are of scene {scene}, the drive has {', '.join(scenes) or 'none'}; give its --drive"
        )
    if frame >= len(scenes[scene]):
        has = f"{len(scenes[scene])} frames"
        raise DataError(f"scene {scene}: the scores are of frame {frame} too, the drive has {has}; score again")
    return scenes[scene].frame_names[frame], int(scenes[scene].timestamps_ns[frame])


def frame_indices(scenes: Mapping[str, Scene], names: Collection[tuple[str, str]]) -> frozenset[tuple[str, int]]:
    """(scene id, frame index) of frames given by name. Raises UsageError for one that the drive doesn't have."""
    found = set()
    for scene, name in names:
        if scene not in scenes or name not in scenes[scene].frame_names:
            raise UsageError(f"labelled frame {scene}/{name}: no such frame in the drive")
        found.add((scene, scenes[scene].frame_names.index(name)))
    return frozenset(found)


def labelled_frames(
    names: Sequence[str], scores_folder: Path, drive: Path | None = None, layout: str | None = None
) -> list[tuple[str, str]]:
    """(scene id, frame name) of the frames that people labelled whole, as `select_job` takes them.

    Args:
        names: "SCENE/FRAME", or "existing" for every frame with a label file.
        scores_folder, drive, layout: as for `select_job`; the drive is opened only when there are names.

    Raises:
        UsageError: a name that is neither.
    """
    from lidal3d.scene.open import open_drive

    if not names:
        return []
    return frames_named(names, open_drive(Path(source_paths(Path(scores_folder), drive, None)["drive"]), layout))


def frames_named(names: Sequence[str], scenes: Sequence[Scene]) -> list[tuple[str, str]]:
    """`labelled_frames` in scenes that are open already."""
    found: set[tuple[str, str]] = set()
    for name in names:
        scene, slash, frame = name.rpartition("/")
        if name == EXISTING:
            found.update((one.id, each.name) for one in scenes for each in one if each.has_labels)
        elif slash:
            found.add((scene, frame))
        else:
            raise UsageError(f"labelled frame '{name}': write SCENE/FRAME, for example {scenes[0].id}/{name}")
    return sorted(found)


def source_paths(scores_folder: Path, drive: Path | None, predictions: Path | None) -> dict[str, str]:
    """Absolute paths of drive and predictions: those given, or those in the scores' source.yaml."""
    path = scores_folder / SOURCE_FILE
    try:
        recorded = yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else {}
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not readable YAML ({str(error).splitlines()[0]})") from None
    recorded = recorded if isinstance(recorded, dict) else {}
    given = {"drive": drive, "predictions": predictions}
    paths = {name: path or recorded.get(name) for name, path in given.items()}
    if not paths["drive"]:
        raise UsageError(f"{path}: names no drive; give --drive")
    _check_width(paths["drive"], recorded.get("drive"))
    return {name: str(Path(value).resolve()) for name, value in paths.items() if value}


def _check_width(given: Path | str, recorded: str | None) -> None:
    """Raise UsageError where pictures would be reduced to another width than that of the scored ones."""
    from lidal3d.scene.pixels import split_address

    (_, cameras, width), (_, _, scored) = split_address(given), split_address(recorded or given)
    if cameras and width != scored:
        raise UsageError(f"{given}: pictures of width {width} were scored at {scored}; give …@CAMERA:{scored}")


def units_of(table: ScoreTable, config: Config) -> UnitsConfig:
    """The settings of the units that were scored, from the table; those of `config` where it doesn't say.

    Raises:
        DataError: settings that this version doesn't know.
    """
    recorded = table.metadata.get("units") or table.metadata.get("config", {}).get("units")
    try:
        return UnitsConfig.model_validate(recorded) if recorded else config.units
    except ValidationError as error:
        first = error.errors()[0]
        wrong = f"units.{first['loc'][0]} = {first['input']!r}: {first['msg']}"
        raise DataError(f"score table: {wrong}; it is of another version of lidal3d, score again") from None


def partition_of(units: UnitsConfig) -> Partition:
    """What cuts a sweep as these settings say."""
    from lidal3d.units import make_partition

    return make_partition(units)


def partition_of_table(table: ScoreTable, units: UnitsConfig) -> Partition | FramePartition:
    """What cuts sweeps into the units of a table: its boxes, or what its settings say."""
    return partition_of(units) if table.boxes is None else BoxUnits.of_table(table)


def answers_of(
    tasks: Sequence[FrameTask], workers: int, tick: Callable[[], None]
) -> dict[tuple[str, int], FrameAnswer]:
    """The answer for each (scene, frame index)."""
    # A batch is pickled as one, so that its frames share one copy of their scene; four a worker even out the load.
    size = max(1, -(-len(tasks) // (4 * workers)))
    batches = [tuple(tasks[first : first + size]) for first in range(0, len(tasks), size)]
    answers = (answer for batch in run_tasks(read_frames, batches, workers, tick) for answer in batch)
    return {(answer.scene, answer.frame): answer for answer in answers}


def without_failed(selection: Selection, answers: Mapping[tuple[str, int], FrameAnswer]) -> Selection:
    """The selection without the picks in frames that couldn't be read: ranked anew, and what they cost given back."""
    kept = [pick for pick in selection.picks if not answer_to(pick, answers).error]
    if len(kept) == len(selection.picks):
        return selection
    ranked = tuple(replace(pick, rank=rank) for rank, pick in enumerate(kept, start=1))
    return replace(selection, picks=ranked, used=sum(pick.cost for pick in ranked))
