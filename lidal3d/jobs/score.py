# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Score a drive: Scene + Predictions + Units -> ScoreTable, on any number of processes and machines.

    OUT/run.json                          what the parts were made with; a folder of other settings is refused
    OUT/parts/SCENE/000000-000049.arrow   one part for each 50 frames, written whole; what is there is not done again
    OUT/failed.jsonl                      frames that could not be read (only with keep_going)
    OUT/scores.parquet, config.yaml, source.yaml    the table, when every part is there

Everything is written beside its place and renamed into it: a kill at any moment costs at most the open parts.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from lidal3d.config import Config
from lidal3d.errors import DataError, UsageError
from lidal3d.files import fingerprint, remove_abandoned, write_json, write_text
from lidal3d.interframe.measure import PointScores
from lidal3d.interframe.regions import region_scores
from lidal3d.interframe.stream import score_frames
from lidal3d.parallel.memory import give_memory_back
from lidal3d.parallel.pool import run_tasks
from lidal3d.predictions.store import PredictionStore
from lidal3d.scene.pose import transform
from lidal3d.scene.scene import Scene
from lidal3d.scores.table import ScoreTable, concatenate
from lidal3d.units.regions import region_centers, region_sizes

# How much of a scene is saved at once; what a kill can cost. The table does not depend on it.
FRAMES_A_PART = 50


@dataclass(frozen=True)
class Part:
    """Frames first … stop−1 of a scene: what one part file holds."""

    scene: str
    first: int
    stop: int

    def path(self, folder: Path) -> Path:
        """Where the part lies in a results folder."""
        return folder / "parts" / self.scene / f"{self.first:06d}-{self.stop - 1:06d}.arrow"

    def failed_path(self, folder: Path) -> Path:
        """Where the frames lie that could not be read while the part was made; written before the part."""
        return self.path(folder).with_suffix(".failed.json")


@dataclass(frozen=True)
class ScoreResult:
    """The table (None while parts of other shards are missing), and the frames that could not be read."""

    table: ScoreTable | None
    failed: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class _Task:
    """A run of neighbouring parts: one worker walks them with one window."""

    scene: Scene
    parts: tuple[Part, ...]
    predictions: PredictionStore
    config: Config
    folder: Path
    metadata: dict[str, Any] = field(hash=False)
    keep_going: bool = False


def score_drive(
    scenes: Sequence[Scene],
    predictions: PredictionStore,
    out: Path,
    config: Config,
    drive: Path | None = None,
    workers: int = 1,
    shard: tuple[int, int] = (1, 1),
    keep_going: bool = False,
    frames_a_part: int = FRAMES_A_PART,
    start: Callable[[int], None] = lambda frames: None,
    tick: Callable[[], None] = lambda: None,
) -> ScoreResult:
    """Score every frame of some scenes and write the score table; continue where an interrupted run stopped.

    Args:
        out: the results folder.
        drive: the path that the scenes were opened from, noted in source.yaml for the steps that follow.
        workers: processes.
        shard: (i, n): do the i-th of n shares (1-based); a table is only written by `merge_scores` when n > 1.
        keep_going: record frames that cannot be read in failed.jsonl instead of stopping at the first.
        frames_a_part: frames that one file of `parts/` holds.
        start: told how many frames are to be scored.
        tick: called for each frame done.

    Raises:
        DataError: a frame cannot be read; the folder holds scores made with other settings.
    """
    metadata = _metadata(scenes, predictions, config)
    parts = all_parts(scenes, frames_a_part)
    mine = _share(parts, *shard)
    _claim_folder(out, metadata, parts, predictions)
    remove_abandoned(out)
    source = {"drive": str((drive or scenes[0].root).resolve()), "predictions": str(predictions.root.resolve())}
    write_text(out / "source.yaml", yaml.safe_dump(source))
    config.write(out / "config.yaml")
    # Frames that could not be read may have been mended since: then everything that saw them changes.
    if (out / "scores.parquet").is_file() and not (out / "failed.jsonl").is_file():
        return ScoreResult(ScoreTable.read(out / "scores.parquet"), ())
    tasks = _tasks(scenes, mine, predictions, config, out, metadata, workers, keep_going)
    start(sum(part.stop - part.first for task in tasks for part in task.parts))
    for _ in run_tasks(_run_task, tasks, workers, tick):
        pass
    if shard[1] > 1:
        return ScoreResult(None, _failures([out], mine))
    return _finish([out], parts, out)


def all_parts(scenes: Sequence[Scene], frames_a_part: int) -> list[Part]:
    """The parts of a drive, in order of scene and frame."""
    return [
        Part(scene.id, first, min(first + frames_a_part, len(scene)))
        for scene in sorted(scenes, key=lambda scene: scene.id)
        for first in range(0, len(scene), frames_a_part)
    ]


def merge_scores(folders: Sequence[Path], out: Path) -> ScoreResult:
    """Put the shards of one scoring run together; the same bytes as one run would have written.

    Raises:
        DataError: a folder holds no scores or those of other settings, or parts are missing (how many is said).
    """
    runs = [_read_run(folder) for folder in folders]
    for folder, run in zip(folders, runs, strict=True):
        if run != runs[0]:
            raise DataError(f"{folder}: scored with other settings or another drive than {folders[0]}; cannot merge")
    finished = [folder for folder in folders if (folder / "scores.parquet").is_file()]
    if finished:
        table, failures = ScoreTable.read(finished[0] / "scores.parquet"), _known_failures(finished[0])
        _copy_notes(finished[0], out)
        _write_failures(failures, out)
        table.write(out / "scores.parquet")
        return ScoreResult(table, failures)
    parts = [Part(*part) for part in runs[0]["parts"]]
    missing = [part for part in parts if _find(part, folders) is None]
    if missing:
        raise DataError(
            f"{folders[0]}: {len(parts) - len(missing)} of {len(parts)} parts there (first missing: scene "
            f"{missing[0].scene}, frames {missing[0].first}-{missing[0].stop - 1}); run the other shards first"
        )
    _copy_notes(folders[0], out)
    return _finish(folders, parts, out)


def _metadata(scenes: Sequence[Scene], predictions: PredictionStore, config: Config) -> dict[str, Any]:
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
    }


def _claim_folder(out: Path, metadata: dict[str, Any], parts: list[Part], predictions: PredictionStore) -> None:
    """Note what the folder's parts are made with, or refuse a folder whose parts were made with something else."""
    run: dict[str, Any] = {"settings": metadata, "parts": [[part.scene, part.first, part.stop] for part in parts]}
    # A model that was trained again keeps its name; where `lidal3d predict` says which run it was, it counts.
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        run["predicted"] = json.loads((predictions.root / "run.json").read_text(encoding="utf-8"))["run"]
    run["fingerprint"] = fingerprint(run)
    path = out / "run.json"
    if path.is_file():
        if _read_run(out)["fingerprint"] != run["fingerprint"]:
            other = "holds scores of another drive, model, predictions or settings"
            raise DataError(f"{out}: {other}; choose another --out, or remove it")
    else:
        write_json(path, run)


def _read_run(folder: Path) -> dict[str, Any]:
    path = folder / "run.json"
    try:
        run = json.loads(path.read_text(encoding="utf-8"))
        return {key: run[key] for key in ("settings", "parts", "fingerprint")}
    except FileNotFoundError:
        raise DataError(f"{folder}: no scores there (no run.json); make them with `lidal3d score`") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: damaged ({error}); remove {folder} and score again") from None


def _share(parts: list[Part], index: int, count: int) -> list[Part]:
    """The index-th of count runs of neighbouring parts, as equal as they can be."""
    if not 1 <= index <= count:
        raise UsageError(f"--shard {index}/{count}: the first number goes from 1 to {count}")
    bounds = np.linspace(0, len(parts), count + 1).round().astype(int)
    return parts[bounds[index - 1] : bounds[index]]


def _tasks(
    scenes: Sequence[Scene],
    parts: list[Part],
    predictions: PredictionStore,
    config: Config,
    out: Path,
    metadata: dict[str, Any],
    workers: int,
    keep_going: bool,
) -> list[_Task]:
    """Missing parts, as runs that are long (a window is read once) and even enough to keep all workers busy."""
    by_id = {scene.id: scene for scene in scenes}
    missing = [part for part in parts if not part.path(out).is_file()]
    longest = max(1, -(-len(missing) // workers))
    runs: list[list[Part]] = []
    for part in missing:
        joins = runs and runs[-1][-1].scene == part.scene and runs[-1][-1].stop == part.first
        if joins and len(runs[-1]) < longest:
            runs[-1].append(part)
        else:
            runs.append([part])
    return [_Task(by_id[run[0].scene], tuple(run), predictions, config, out, metadata, keep_going) for run in runs]


def _run_task(task: _Task, tick: Callable[[], None]) -> None:
    """Score a run of parts; each is written as soon as its last frame is scored."""
    from lidal3d.units import make_partition

    give_memory_back()
    failures: list[dict[str, Any]] = []

    def record(frame: int, error: DataError) -> None:
        failures.append({"scene": task.scene.id, "frame": frame, "name": task.scene[frame].name, "error": str(error)})

    partition = make_partition(task.config.units)

    def cut(frame: int, points: np.ndarray) -> _Cut:
        return _cut(partition(points), points, task.scene.scene_SE3_lidar[frame])

    frames = range(task.parts[0].first, task.parts[-1].stop)
    keep_going = record if task.keep_going else None
    stream = score_frames(task.scene, task.predictions, task.config.interframe, frames, keep_going, cut)
    scored = next(stream, None)
    for part in task.parts:
        rows = []
        while scored is not None and scored.index < part.stop:
            rows.append(_frame_table(task, scored.index, scored.kept, scored.scores))
            tick()
            scored = next(stream, None)
        if failures:
            write_json(part.failed_path(task.folder), failures)
        (concatenate(rows) if rows else _empty_table(task)).write(part.path(task.folder))


@dataclass(frozen=True)
class _Cut:
    """A sweep cut into R units: unit (N,), size (R,), center_m (R, 3) in the scene frame, range_m (N,) float32."""

    unit: np.ndarray
    size: np.ndarray
    center_m: np.ndarray
    range_m: np.ndarray


def _cut(unit: np.ndarray, points: np.ndarray, scene_SE3_lidar: np.ndarray) -> _Cut:
    units = int(unit.max()) + 1 if len(unit) else 0
    range_m = np.linalg.norm(points[:, :3], axis=1).astype(np.float32)
    center_m = region_centers(unit, units, transform(scene_SE3_lidar, points[:, :3]))
    return _Cut(unit, region_sizes(unit, units), center_m, range_m)


def _frame_table(task: _Task, frame: int, cut: _Cut, scores: PointScores) -> ScoreTable:
    """The rows of one sweep."""
    scene, units = task.scene, len(cut.size)
    return ScoreTable(
        scenes=(scene.id,),
        scene=np.zeros(units, np.int32),
        frame=np.full(units, frame, np.int32),
        unit=np.arange(units, dtype=np.int32),
        points=cut.size,
        center_m=cut.center_m,
        scores=region_scores(
            scores,
            cut.unit,
            units,
            range_m=cut.range_m,
            is_key_frame=bool(scene.is_key_frame[frame]),
            min_matches=task.config.interframe.min_matches,
            classes=len(task.predictions.classes),
        ),
        kind=task.config.units.kind,
        metadata=task.metadata,
    )


def _empty_table(task: _Task) -> ScoreTable:
    """A part none of whose frames could be read."""
    floats, small = np.empty(0, np.float32), np.empty(0, np.uint8)
    scores = PointScores(divergence=floats, entropy=floats, matches=small, confidence=floats, predicted=small)
    return _frame_table(task, 0, _cut(np.empty(0, np.int32), np.empty((0, 4), np.float32), np.eye(4)), scores)


def _find(part: Part, folders: Sequence[Path]) -> Path | None:
    """The first of some folders that holds the part."""
    return next((folder for folder in folders if part.path(folder).is_file()), None)


def _finish(folders: Sequence[Path], parts: list[Part], out: Path) -> ScoreResult:
    """Write the table from its parts; parts of the same folder are then no longer needed."""
    failures = _failures(folders, parts)
    _write_failures(failures, out)
    homes = [(part, _find(part, folders)) for part in parts]
    table = concatenate([ScoreTable.read(part.path(home)) for part, home in homes if home is not None])
    table.write(out / "scores.parquet")
    if not failures:
        (out / "failed.jsonl").unlink(missing_ok=True)
    shutil.rmtree(out / "parts", ignore_errors=True)
    return ScoreResult(table, failures)


def _copy_notes(source: Path, out: Path) -> None:
    """Copy what the steps after scoring need beside the table."""
    for name in ("source.yaml", "config.yaml", "run.json"):
        try:
            text = (source / name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{source / name}: cannot read ({error}); score again") from None
        write_text(out / name, text)


def _write_failures(failures: Sequence[dict[str, Any]], out: Path) -> None:
    """Write failed.jsonl; none without failures."""
    if failures:
        write_text(out / "failed.jsonl", "".join(json.dumps(failure, sort_keys=True) + "\n" for failure in failures))


def _failures(folders: Sequence[Path], parts: list[Part]) -> tuple[dict[str, Any], ...]:
    """The frames that could not be read, each once, in order."""
    by_frame = {}
    for part in parts:
        for folder in folders:
            if part.failed_path(folder).is_file():
                for failure in json.loads(part.failed_path(folder).read_text()):
                    by_frame[failure["scene"], failure["frame"]] = failure
    return tuple(by_frame[key] for key in sorted(by_frame))


def _known_failures(out: Path) -> tuple[dict[str, Any], ...]:
    path = out / "failed.jsonl"
    return tuple(json.loads(line) for line in path.read_text().splitlines()) if path.is_file() else ()


def cpu_count() -> int:
    """Processors this process may run on."""
    return len(os.sched_getaffinity(0))
