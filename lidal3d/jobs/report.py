# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""The job behind `lidal3d report`: manifest, scores, drive and predictions in, one HTML file out."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import yaml

from lidal3d import __version__
from lidal3d.config import PRESETS, Config
from lidal3d.errors import DataError
from lidal3d.export.queue import LabelQueue
from lidal3d.files import write_text
from lidal3d.jobs.export import read_queue
from lidal3d.jobs.score_arrays import SCORES_FILE
from lidal3d.jobs.select import source_paths
from lidal3d.predictions.maps import FrameMaps
from lidal3d.predictions.store import PredictionStore
from lidal3d.report.breakdown import elements_of
from lidal3d.report.report import ReportInput, render_report
from lidal3d.scene.open import open_drive
from lidal3d.scene.scene import Scene
from lidal3d.scores.table import ScoreTable
from lidal3d.settings.interframe import InterframeConfig
from lidal3d.strategies.lidal import LIDAL

if TYPE_CHECKING:
    from lidal3d.interframe.stream import ScoredFrame

FILE_NAME = "report.html"


def report_job(
    selection_folder: Path,
    scores_folder: Path | None,
    out: Path,
    config: Config | None = None,
    drive: Path | None = None,
    predictions: Path | None = None,
    *,
    layout: str | None = None,
    label_map: str | None = None,
    created: str | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Path:
    """Write the report of a manifest.

    Args:
        scores_folder: where `scores.parquet` lies; None for where the manifest's source.yaml says.
        out: the HTML file, or a folder to write `report.html` into.
        config: `config.report` says what is drawn; all other settings are the manifest's own.
        drive, predictions: where they lie now, when not where the manifest's source.yaml says.
        created: the time to write into the report; now by default.
        progress: called with the number of cards drawn and their total.

    Returns:
        The file.

    Raises:
        DataError: something is missing, damaged, or doesn't fit the rest.
        UsageError: nobody says where the drive is.
    """
    selection_folder, out = Path(selection_folder), Path(out)
    source = source_paths(selection_folder, drive, predictions)
    folder = Path(scores_folder or _recorded(selection_folder, "scores"))
    store = PredictionStore.open(source["predictions"]) if "predictions" in source else None
    scenes = {scene.id: scene for scene in open_drive(Path(source["drive"]), layout, label_map)}
    queue, table = read_queue(selection_folder), ScoreTable.read(folder / SCORES_FILE)
    settings = manifest_config(selection_folder)
    used = settings if config is None else settings.model_copy(update={"report": config.report})
    given = ReportInput(
        queue, scenes, table, store,
        None if store is None or elements_of(scenes) == "pixels"
        else StreamedDivergence(queue, used.report.picks, store, used.interframe),
        used,
        report_facts(source["drive"], scenes, table, store, used, created or _now(), queue.selection.strategy),
    )  # fmt: skip
    path = out if out.suffix.lower() in (".html", ".htm") else out / FILE_NAME
    write_text(path, render_report(given, progress))
    return path


class StreamedDivergence:
    """Per-point divergence of the drawn frames, (N,) nats, NaN where no neighbour frame has a match.

    Frames must be asked in order of scene and frame, as the cards are drawn: then every sweep of a scene is read once
    and only a window of them is held.
    """

    def __init__(self, queue: LabelQueue, picks: int, predictions: PredictionStore, config: InterframeConfig) -> None:
        drawn = sorted(queue.asked, key=lambda unit: unit.pick.rank)[:picks]
        self._frames: dict[str, list[int]] = {}
        for scene, frame in sorted({(unit.pick.key.scene, unit.pick.key.frame) for unit in drawn}):
            self._frames.setdefault(scene, []).append(frame)
        self._predictions, self._config = predictions, config
        self._scene: str | None = None
        self._stream: Iterator[ScoredFrame] = iter(())

    def __call__(self, scene: Scene, index: int) -> npt.NDArray[np.float32]:
        from lidal3d.interframe.stream import score_frames

        if scene.id != self._scene:
            self._scene = scene.id
            # A neighbour that cannot be read is matched with nothing, as when the drive was scored with --keep-going.
            frames = self._frames[scene.id]
            self._stream = score_frames(scene, self._predictions, self._config, frames, _ignore, _keep_nothing)
        for scored in self._stream:
            if scored.index == index:
                scores = scored.scores
                return np.where(scores.matches >= self._config.min_matches, scores.divergence, np.float32(np.nan))
        raise DataError(f"{scene.source.points_path(index)}: frame {index} of scene {scene.id} cannot be scored")


def _keep_nothing(frame: int, points: npt.NDArray[np.float32], maps: FrameMaps) -> None:
    """The report reads the few sweeps it draws again."""


def _ignore(frame: int, error: DataError) -> None:
    return None


def manifest_config(selection_folder: Path) -> Config:
    """The settings that a manifest was made with. Raises DataError when they are missing or damaged."""
    path = selection_folder / "config.yaml"
    try:
        return Config.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise DataError(f"{path}: no manifest there; make one with `lidal3d select`") from None
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise DataError(f"{path}: not lidal3d's settings ({str(error).splitlines()[0]})") from None


def report_facts(
    drive: str,
    scenes: Mapping[str, Scene],
    table: ScoreTable,
    store: PredictionStore | None,
    config: Config,
    created: str,
    strategy: str = LIDAL.name,
) -> dict[str, str]:
    """What and when, for the top of the report."""
    frames = sum(len(scene) for scene in scenes.values())
    datasets = ", ".join(sorted({scene.dataset for scene in scenes.values()}))
    facts = {
        "drive": drive,
        "layout": datasets,
        "extent": f"{_count(len(scenes), 'scene')}, {_count(frames, 'frame')}, {table.points.sum():,} scored {elements_of(scenes)}",
    }
    recorded = _recorded_time([scene.timestamps_ns for scene in scenes.values() if len(scene)])
    if recorded:
        facts["recorded"] = recorded
    if store is not None:
        facts["model"] = f"{store.model}: {len(store.classes)} classes, {_count(store.views, 'view')}"
    elif "model" in table.metadata:
        facts["model"] = f"{table.metadata['model']}: {len(table.metadata.get('classes', ()))} classes"
    ranked = f"{config.select.score}, {config.select.distance_m(table.kind):g} m apart"
    budget = f"{config.select.budget} by {ranked if strategy == LIDAL.name else strategy}"
    return {**facts, "units": f"{table.kind}, {len(table):,} scored", "selection": budget,
            "settings": settings_text(config), "created": created, "lidal3d": __version__}  # fmt: skip


def settings_text(config: Config) -> str:
    """The nearest preset and what differs from it.

    >>> settings_text(Config.preset("paper"))
    'paper'
    >>> settings_text(Config().updated({"select": {"budget": "2%"}}))
    'default, with select.budget=2%'
    """
    changes = {name: list(_changes(Config.preset(name), config)) for name in PRESETS}
    name = min(changes, key=lambda preset: len(changes[preset]))
    return name + (f", with {', '.join(changes[name])}" if changes[name] else "")


def _changes(preset: Config, config: Config) -> Iterator[str]:
    for group, values in config.model_dump(exclude={"report"}).items():
        before = preset.model_dump()[group]
        yield from (f"{group}.{key}={value}" for key, value in values.items() if before[key] != value)


def _recorded(selection_folder: Path, name: str) -> str:
    path = selection_folder / "source.yaml"
    try:
        return str(yaml.safe_load(path.read_text(encoding="utf-8"))[name])
    except (OSError, KeyError, TypeError, yaml.YAMLError):
        raise DataError(f"{path}: doesn't say where the {name} are; give their folder") from None


def _recorded_time(timestamps_ns: Sequence[npt.NDArray[np.int64]]) -> str:
    """First to last moment of the drive in UTC, or how long it lasts where its clock starts at 0."""
    if not timestamps_ns:
        return ""
    first, last = (int(min(t[0] for t in timestamps_ns)), int(max(t[-1] for t in timestamps_ns)))
    if first < 10**17:  # before 1973: not the time of day
        return f"{sum(int(t[-1] - t[0]) for t in timestamps_ns) / 1e9:.1f} s"
    moments = (datetime.datetime.fromtimestamp(ns / 1e9, datetime.timezone.utc) for ns in (first, last))
    return " to ".join(f"{moment:%Y-%m-%d %H:%M:%S}" for moment in moments) + " UTC"


def _count(number: int, name: str) -> str:
    return f"{number:,} {name}{'' if number == 1 else 's'}"


def _now() -> str:
    return f"{datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d %H:%M} UTC"
