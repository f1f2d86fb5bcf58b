# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Score what a detector found in a drive: Scene + BoxStore -> a ScoreTable of kind `box`.

    OUT/scores.parquet, config.yaml, source.yaml, run.json     as for regions
    OUT/probabilities.npy       (R, C + 1) float32, row for row as the table: the boxes' distributions, background last
    OUT/features.npy            (R, D) float32, where every frame's file has features

The sweeps are read to count the points in the boxes, and that is all that takes time: OUT/parts keeps what is counted until
the table is there, and a run that was cut off goes on.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml

from lidal3d.config import Config
from lidal3d.errors import DataError
from lidal3d.files import fingerprint, remove_abandoned, write_json, write_text
from lidal3d.jobs.box_counts import count_points
from lidal3d.jobs.box_table import scene_table
from lidal3d.jobs.score_arrays import SCORES_FILE, array_path, write_blocks
from lidal3d.jobs.score_folder import ScoreResult
from lidal3d.predictions.boxes import BoxStore
from lidal3d.scene.scene import Scene
from lidal3d.scores.boxes import box_distribution
from lidal3d.scores.table import ScoreTable, concatenate


def score_boxes(
    scenes: Sequence[Scene],
    store: BoxStore,
    out: Path,
    config: Config,
    drive: Path | None = None,
    workers: int = 1,
    keep_going: bool = False,
    start: Callable[[int], None] = lambda frames: None,
    tick: Callable[[], None] = lambda: None,
) -> ScoreResult:
    """Score every box of some scenes and write the score table.

    Args:
        out: the results folder.
        drive: the path that the scenes were opened from, noted in source.yaml for the steps that follow.
        workers: processes; the table is the same for any number.
        keep_going: record frames that cannot be read in failed.jsonl instead of stopping at the first.
        start: told how many frames are to be read.
        tick: called for each frame done.

    Raises:
        DataError: a frame cannot be read, no frame has a box, or the folder holds scores made with other settings.
    """
    if not keep_going:
        for scene in scenes:
            store.refuse_missing(scene.id, scene.frame_names)
    metadata = _metadata(scenes, store, config)
    _claim(out, metadata)
    remove_abandoned(out)
    start(metadata["frames_in_all"])
    counts, failures = count_points(scenes, store, out, workers, keep_going, tick)
    tables = [scene_table(scene, store, config, counts, metadata, keep_going) for scene in scenes]
    table = concatenate(tables)
    if not len(table):
        raise DataError(f"{store.root}: 0 boxes in {metadata['frames_in_all']} frames; lower the detector's threshold")
    _write(table, store, scenes, out, config, drive, failures)
    shutil.rmtree(out / "parts", ignore_errors=True)
    return ScoreResult(table, failures)


def _metadata(scenes: Sequence[Scene], store: BoxStore, config: Config) -> dict[str, Any]:
    """What the table needs beside its rows, as for regions."""
    frames = {scene.id: len(scene) for scene in scenes}
    if not sum(frames.values()):
        raise DataError("the drive has no frames; nothing to score")
    return {
        "classes": list(store.classes),
        "model": store.model,
        "dataset": scenes[0].dataset,
        "frames": frames,
        "frames_in_all": sum(frames.values()),
        "boxes": config.boxes.model_dump(),
        "interframe": config.interframe.model_dump(),
        "view_m": None if store.view_m is None else list(store.view_m),
    }


def _claim(out: Path, metadata: Mapping[str, Any]) -> None:
    """Note what the folder is made with, or refuse one that was made with something else."""
    run = {"settings": dict(metadata), "parts": [], "fingerprint": fingerprint(metadata)}
    path = out / "run.json"
    try:
        held = json.loads(path.read_text(encoding="utf-8"))["fingerprint"]
    except FileNotFoundError:
        write_json(path, run)
        return
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: damaged ({error}); remove {out} and score again") from None
    if held != run["fingerprint"]:
        raise DataError(
            f"{out}: holds scores of another drive, detector or settings; choose another --out, or remove it"
        )


def _write(
    table: ScoreTable,
    store: BoxStore,
    scenes: Sequence[Scene],
    out: Path,
    config: Config,
    drive: Path | None,
    failures: Sequence[Mapping[str, Any]],
) -> None:
    source = {"drive": str((drive or scenes[0].root).resolve()), "boxes": str(store.root.resolve())}
    write_text(out / "source.yaml", yaml.safe_dump(source))
    config.write(out / "config.yaml")
    if failures:
        write_text(out / "failed.jsonl", "".join(json.dumps(one, sort_keys=True) + "\n" for one in failures))
    else:
        (out / "failed.jsonl").unlink(missing_ok=True)
    # The table comes last and goes first: where it lies, the arrays beside it are its own.
    (out / SCORES_FILE).unlink(missing_ok=True)
    _write_arrays(table, store, {scene.id: scene for scene in scenes}, out)
    table.write(out / SCORES_FILE)


def _write_arrays(table: ScoreTable, store: BoxStore, scenes: Mapping[str, Scene], out: Path) -> None:
    """Distributions and features row for row as the table; the boxes are read again, one frame at a time."""
    keys = dict.fromkeys(zip(table.scene.tolist(), table.frame.tolist(), strict=True))
    names = [(table.scenes[scene], scenes[table.scenes[scene]].frame_names[frame]) for scene, frame in keys]
    distributions = (box_distribution(store.read(*name).scores) for name in names)
    write_blocks(array_path(out, "probabilities"), (len(table), len(store.classes) + 1), distributions)
    features = store.read(*names[0]).features
    if features is None:
        array_path(out, "features").unlink(missing_ok=True)
    else:
        columns = features.shape[1]
        blocks = (_features(store, *name, columns) for name in names)
        write_blocks(array_path(out, "features"), (len(table), columns), blocks)


def _features(store: BoxStore, scene: str, frame: str, columns: int) -> npt.NDArray[np.float32]:
    features = store.read(scene, frame).features
    found = 0 if features is None else features.shape[1]
    if features is None or found != columns:
        path = store.path(scene, frame)
        raise DataError(f"{path}: {found} feature columns, other frames have {columns}; let one model write them all")
    return features
