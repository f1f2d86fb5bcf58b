# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""`lidal3d train`: the built-in network on the labelled frames of a drive log, or on what `lidal3d ingest` took in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lidal3d.config import Config
from lidal3d.errors import DataError, UsageError
from lidal3d.learn.options import beside
from lidal3d.learn.processes import ALONE, Processes
from lidal3d.rounds.label_store import HEADER_FILE, LabelStore
from lidal3d.scene.labels import LabelMap
from lidal3d.scene.open import open_drive
from lidal3d.scene.scene import Frame, Scene

if TYPE_CHECKING:
    from lidal3d.learn.train import Progress

CONFIG_FILE = "config.yaml"


@dataclass(frozen=True)
class Trained:
    """What a training gave.

    Attributes:
        path: the model's file.
        model: its name for people.
        frames: how many labelled frames it learnt from.
        steps: optimiser steps that the model has behind it, also those before it was cut off.
        loss: mean loss of the last tenth of the steps.
    """

    path: Path
    model: str
    frames: int
    steps: int
    loss: float


def train_on_drive(
    drive_path: Path | str,
    out_folder: Path | str,
    config: Config | None = None,
    frames: Sequence[str] | None = None,
    scenes: Sequence[str] | None = None,
    progress: Progress | None = None,
    labels: Path | str | None = None,
    initial: Path | str | None = None,
    layout: str | None = None,
    label_map: str | None = None,
    device: str = "cpu",
    processes: Processes = ALONE,
) -> Trained:
    """Train on labelled frames and write `model.safetensors` and `config.yaml` into `out_folder`.

    Of several processes (`torchrun`) all call this alike, and the first one writes.

    Args:
        drive_path: a drive log.
        out_folder: where the model goes; a model there is replaced when the new one is whole.
        config: all settings; `config.train` is used, and `learning_loss`, `units` and `tod` where their weights ask for more.
        frames: "SCENE/FRAME" each, or None for all labelled frames.
        scenes: only these scenes, or None for all.
        progress: called with (step from 1, loss) after every step.
        labels: a folder of `lidal3d ingest` to learn from in place of the frames' own; without `frames` all frames with
            answers in it are taken, and points that nobody answered are not trained on.
        initial: a model's folder to start from.
        layout: the drive's layout, or None to recognise it.
        label_map: name of the label map, or None for the data set's own.
        device: where this process computes.
        processes: which of several processes this is.

    Raises:
        UsageError: a scene or a frame that the drive does not have, or fewer sweeps a batch than processes.
        DataError: no labelled frame, no classes, a damaged sweep, an initial model that does not fit, or labels of other
            classes or of another drive.
    """
    config = config or Config()
    whole = open_drive(drive_path, layout, label_map)
    drive = chosen_scenes(whole, scenes, drive_path)
    classes = drive_classes(drive, drive_path)
    if labels is None:
        answers, labelled = None, chosen_frames(drive, frames, drive_path)
    else:
        answers = answers_for(labels, whole, classes)
        labelled = answered_frames(answers, drive, frames, drive_path)

    from lidal3d.learn.checkpoint import CHECKPOINT_FILE
    from lidal3d.learn.feeds import architecture_for
    from lidal3d.learn.log import logged_losses
    from lidal3d.learn.model import MODEL_FILE, load_model
    from lidal3d.learn.train import train

    start = None
    if initial is not None:
        start = load_model(initial, classes.classes, architecture_for(classes, config.train, labelled))
    losses: list[float] = []

    def note(step: int, loss: float) -> None:
        losses.append(loss)
        if progress is not None:
            progress(step, loss)

    # With checkpoints, a training that was cut off goes on to the weights it would have had.
    folder = Path(out_folder) if config.train.checkpoint_every else None
    source = None if answers is None else answers.training_labels
    other = beside(config, [frame for scene in drive for frame in scene])
    model = train(labelled, classes, config.train, source, start, note, device, folder, processes, other)
    path = Path(out_folder) / MODEL_FILE
    if processes.writes:
        model.save(out_folder)
        config.write(Path(out_folder) / CONFIG_FILE)
        (Path(out_folder) / CHECKPOINT_FILE).unlink(missing_ok=True)
    # This run may have found all steps taken.
    losses = losses if folder is None or len(losses) == config.train.steps else logged_losses(folder)
    last = losses[-max(1, len(losses) // 10) :]
    return Trained(path, model.name, len(labelled), config.train.steps, sum(last) / max(1, len(last)))


def chosen_scenes(drive: Sequence[Scene], wanted: Sequence[str] | None, path: Path | str) -> list[Scene]:
    """The scenes of a drive that were asked for, in the drive's order. Raises UsageError for one it does not have."""
    known = [scene.id for scene in drive]
    for name in wanted or ():
        if name not in known:
            raise UsageError(f"{path}: no scene '{name}' among its {len(known)} ({_first(known)})")
    return [scene for scene in drive if wanted is None or scene.id in wanted]


def chosen_frames(
    drive: Sequence[Scene], wanted: Sequence[str] | None, path: Path | str, anything: bool = False
) -> list[Frame]:
    """The frames "SCENE/FRAME" that were asked for, or all labelled ones.

    Args:
        drive: its scenes.
        wanted: selectors, or None.
        path: the drive's, for messages.
        anything: without selectors take frames with no label file too.

    Raises:
        UsageError: a selector names no frame.
        DataError: no frame has labels.
    """
    if wanted is None:
        found = [frame for scene in drive for frame in scene if anything or frame.has_labels]
        if not found:
            total = sum(len(scene) for scene in drive)
            raise DataError(f"{path}: 0 of {total} frames have labels; label some first, or train on another drive")
        return found
    places = {f"{scene.id}/{name}": (scene, index) for scene in drive for index, name in enumerate(scene.frame_names)}
    for selector in wanted:
        if selector not in places:
            raise UsageError(f"{path}: no frame '{selector}' among its {len(places)} ({_first(list(places))})")
    return [scene[index] for scene, index in (places[selector] for selector in dict.fromkeys(wanted))]


def answers_for(folder: Path | str, drive: Sequence[Scene], classes: LabelMap) -> LabelStore:
    """A folder of labels, once it is sure to be of these classes and this drive. Raises DataError."""
    store = LabelStore.open(folder)
    if store.classes != classes.classes:
        mine, theirs = len(store.classes), len(classes.classes)
        raise DataError(
            f"{store.root / HEADER_FILE}: {mine} classes {list(store.classes)[:3]}…, the drive has {theirs} "
            f"{list(classes.classes)[:3]}…; give the --label-map that the queue was made with"
        )
    known = {(scene.id, name) for scene in drive for name in scene.frame_names}
    strange = [key for key in store.frames() if key not in known]
    if strange:
        raise DataError(
            f"{store.path(*strange[0])}: labels of a frame that is none of the drive's {len(known)}; give the drive that "
            "was asked about"
        )
    return store


def answered_frames(
    answers: LabelStore, drive: Sequence[Scene], wanted: Sequence[str] | None, path: Path | str
) -> list[Frame]:
    """The frames of some scenes that have answers. Raises DataError where there are none, or for a wanted one without."""
    there = set(answers.frames())
    if wanted is not None:
        frames = chosen_frames(drive, wanted, path)
        bare = [frame for frame in frames if (frame.scene.id, frame.name) not in there]
        if bare:
            raise DataError(
                f"{answers.path(bare[0].scene.id, bare[0].name)}: no answers for a frame that was asked for"
            )
        return frames
    found = [
        scene[index] for scene in drive for index, name in enumerate(scene.frame_names) if (scene.id, name) in there
    ]
    if not found:
        total = sum(len(scene) for scene in drive)
        raise DataError(f"{answers.root}: answers for 0 of {total} frames; run `lidal3d ingest` when some are back")
    return found


def drive_classes(drive: Sequence[Scene], path: Path | str) -> LabelMap:
    """The label map that all scenes share. Raises DataError where there is none."""
    maps = {scene.label_map.name: scene.label_map for scene in drive if scene.label_map is not None}
    if len(maps) != 1:
        raise DataError(
            f"{path}: {len(maps)} label maps in {len(drive)} scenes, training needs exactly one; give --label-map"
        )
    return next(iter(maps.values()))


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
