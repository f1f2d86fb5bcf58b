# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""`lidal3d predict`: the built-in model on every frame of a drive log, into a predictions folder.

A run that was cut off continues: frames that lie there from the same model and settings are kept. `predictions.yaml`
comes last, so a folder that has it is whole.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from lidal3d.config import Config
from lidal3d.errors import DataError, LidalError, UsageError
from lidal3d.files import TEMPORARY_PREFIX, write_json, write_text
from lidal3d.jobs.train import CONFIG_FILE, chosen_frames, chosen_scenes
from lidal3d.parallel.pool import run_tasks
from lidal3d.predictions.live import LivePredictions
from lidal3d.predictions.store import HEADER_FILE, RUN_FILE, PredictionStore
from lidal3d.scene.open import open_drive
from lidal3d.scene.scene import Frame, Scene
from lidal3d.settings.predict import PredictConfig

FAILED_FILE = "failed.jsonl"
FRAMES_A_PART = 16
# Fewer do not repay the seconds in which a process imports torch.
FRAMES_A_WORKER = 8
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Failure:
    """A frame that was left out, and why."""

    scene: str
    frame: str
    error: str


@dataclass(frozen=True)
class Predicted:
    """What a prediction run did.

    Attributes:
        store: the predictions.
        written: frames predicted now.
        kept: frames that lay there from an earlier run with the same model and settings.
        failed: frames left out under `keep_going`; they stand in `failed.jsonl`.
    """

    store: PredictionStore
    written: int
    kept: int
    failed: int


def predict_drive(
    drive_path: Path | str,
    model_folder: Path | str,
    out_folder: Path | str,
    config: Config | None = None,
    scenes: Sequence[str] | None = None,
    frames: Sequence[str] | None = None,
    keep_going: bool = False,
    progress: Progress | None = None,
    layout: str | None = None,
    label_map: str | None = None,
    device: str = "cpu",
    workers: int | None = None,
) -> Predicted:
    """Predict the frames of a drive with a model of `lidal3d train`.

    Args:
        drive_path: a drive log.
        model_folder: where `model.safetensors` lies.
        out_folder: the predictions folder; predictions there of another model or other settings are replaced.
        config: all settings; `config.predict` is used.
        scenes: only these scenes, or None for all.
        frames: "SCENE/FRAME" each, or None for all.
        keep_going: note a damaged frame in `failed.jsonl` and go on.
        progress: called with (frames done, frames in all) after every frame.
        layout: the drive's layout, or None to recognise it.
        label_map: name of the label map, or None for the data set's own.
        device: where torch computes.
        workers: processes, one core each; None takes what the machine and the number of frames warrant. The bytes
            written do not depend on it.

    Raises:
        UsageError: a scene or a frame that the drive does not have.
        DataError: no model, one of other classes than the drive's, a damaged sweep, or a folder that holds
            predictions of something other than lidal3d.
    """
    config = config or Config()
    drive = chosen_scenes(open_drive(drive_path, layout, label_map), scenes, drive_path)
    todo = chosen_frames(drive, frames, drive_path, anything=True)

    source = live_source(drive, model_folder, config.predict, device).reading(saved_extras(config.predict))
    for extra in sorted(source.extras):
        if source.lacks(extra):
            raise UsageError(f"predict.{extra}: {source.lacks(extra)}; give --views 8")
    store = PredictionStore(Path(out_folder), source.classes, source.model, config.predict.views)
    _prepare(store, source.run)
    config.write(store.root / CONFIG_FILE)
    missing = [frame for frame in todo if not _is_there(store, frame, config.predict)]
    done = kept = len(todo) - len(missing)

    def tick() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, len(todo))

    if kept and progress is not None:
        progress(kept, len(todo))
    processes = default_workers(len(missing), device) if workers is None else workers
    tasks = [_Task(tuple(part), store, source, keep_going) for part in _parts(missing, processes)]
    failures = [failure for part in run_tasks(_predict_frames, tasks, processes, tick) for failure in part]
    _finish(store, failures)
    return Predicted(store, len(missing) - len(failures), kept, len(failures))


def live_source(
    drive: Sequence[Scene], model_folder: Path | str, config: PredictConfig, device: str
) -> LivePredictions:
    """The model that is to predict a drive. Raises DataError where it is none, or one of other classes."""
    drive_map = drive[0].label_map if drive else None
    return LivePredictions.open(model_folder, config, None if drive_map is None else drive_map.classes, device)


def saved_extras(config: PredictConfig) -> frozenset[str]:
    """What is saved beside the probabilities."""
    return frozenset(name for name, wanted in (("features", config.features), ("members", config.members)) if wanted)


def default_workers(frames: int, device: str) -> int:
    """Processes worth starting: one a core, each with frames enough to repay its start; one for a GPU."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, frames // FRAMES_A_WORKER)) if device == "cpu" else 1


def _parts(frames: Sequence[Frame], workers: int) -> list[Sequence[Frame]]:
    # Several parts a worker, so that none is left with a long tail while the others are done.
    size = max(1, min(FRAMES_A_PART, -(-len(frames) // (4 * max(1, workers)))))
    return [frames[i : i + size] for i in range(0, len(frames), size)]


@dataclass(frozen=True)
class _Task:
    """Frames for one process, and what to do with them."""

    frames: tuple[Frame, ...]
    store: PredictionStore
    source: LivePredictions
    keep_going: bool


def _predict_frames(task: _Task, tick: Callable[[], None]) -> list[Failure]:
    failures = []
    for frame in task.frames:
        try:
            maps = task.source.maps(frame, frame.points())
            task.store.write(frame.scene.id, frame.name, maps.probabilities, maps.features, maps.members)
        except LidalError as error:
            if not task.keep_going:
                raise
            failures.append(Failure(frame.scene.id, frame.name, str(error)))
        tick()
    return failures


def _prepare(store: PredictionStore, run: str | None) -> None:
    """Make `store` a folder of this run: keep what an interrupted one left there, clear what another one did."""
    ours = store.root / RUN_FILE
    if (store.root / HEADER_FILE).exists() and not ours.exists():
        raise DataError(f"{store.root}: holds predictions that `lidal3d predict` did not write; choose another --out")
    try:
        (store.root / HEADER_FILE).unlink(missing_ok=True)
        (store.root / FAILED_FILE).unlink(missing_ok=True)
        for left_over in store.root.rglob(f"{TEMPORARY_PREFIX}*"):
            left_over.unlink(missing_ok=True)
        if store.run != run:
            for folder in ("probabilities", "features", "members"):
                if ours.exists():
                    shutil.rmtree(store.root / folder, ignore_errors=True)
            write_json(ours, {"run": run})
    except OSError as error:
        raise DataError(f"{store.root}: cannot write ({error.strerror}); choose another --out") from None


def _is_there(store: PredictionStore, frame: Frame, config: PredictConfig) -> bool:
    asked = (frame.scene.id, frame.name)
    wanted = {"features": store.features_path, "members": store.members_path}
    paths = [store.probabilities_path(*asked), *(wanted[extra](*asked) for extra in saved_extras(config))]
    return all(path.exists() for path in paths)


def _finish(store: PredictionStore, failures: Sequence[Failure]) -> None:
    if failures:
        lines = [json.dumps(asdict(failure)) for failure in sorted(failures, key=lambda f: (f.scene, f.frame))]
        write_text(store.root / FAILED_FILE, "\n".join(lines) + "\n")
    store.write_header()
