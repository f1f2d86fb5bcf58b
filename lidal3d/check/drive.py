# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Checking a whole drive, with its predictions: every fault becomes a finding, and none ends the check."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from lidal3d.check.frame_rules import FRAME_RULES, FrameContents
from lidal3d.check.report import Finding, Report
from lidal3d.check.rules import RULES
from lidal3d.check.scene_rules import SCENE_RULES
from lidal3d.errors import DataError
from lidal3d.predictions.store import PredictionStore
from lidal3d.scene.open import drive_label_map, scene_openers
from lidal3d.scene.readers.base import DriveProblem
from lidal3d.scene.scene import Frame, Scene

Progress = Callable[[int, int], None]
Contents = TypeVar("Contents")


def check_drive(
    path: Path | str,
    predictions: Path | str | None = None,
    layout: str | None = None,
    label_map: str | None = None,
    progress: Progress | None = None,
) -> Report:
    """Check everything of a drive, one frame in memory at a time.

    Args:
        path: as for `open_drive`.
        predictions: a folder of predictions to check against the drive.
        layout, label_map: as for `open_drive`.
        progress: called after every frame with the frames done and the frames in all.

    Raises:
        UsageError: no such layout or label map.
        MissingDependency: the layout needs a package that is not installed.
    """
    return _Check(Path(path), layout).run(predictions, label_map, progress)


class _Check:
    """The findings of one check, as they come."""

    def __init__(self, path: Path, layout: str | None) -> None:
        self.path = path
        self.layout = layout
        # A dict as an ordered set: labels that need their sweep find its faults a second time.
        self.findings: dict[Finding, None] = {}

    def run(self, predictions: Path | str | None, label_map: str | None, progress: Progress | None) -> Report:
        dataset, scenes = self._open(label_map)
        store = None if predictions is None else self._open_predictions(Path(predictions))
        if store is not None and scenes:
            self._compare_classes(store, scenes[0])
        total = sum(map(len, scenes))
        done = 0
        for scene in scenes:
            self._check_poses(scene)
            for frame in scene:
                self._check_frame(frame, store)
                done += 1
                if progress is not None:
                    progress(done, total)
            self._check_images(scene)
        return Report(str(self.path), dataset, len(scenes), total, tuple(self.findings))

    def add(self, rule: str, file: Path | str, message: str, scene: str = "", frame: str = "") -> None:
        """Note one finding."""
        self.findings[Finding(rule, RULES[rule].severity, scene, frame, str(file), message)] = None

    def add_error(self, error: DataError, otherwise: str, file: Path | str, scene: str = "", frame: str = "") -> None:
        """Note a fault that was raised, under its own rule where it has one."""
        if isinstance(error, DriveProblem):
            self.add(error.rule, error.path, error.problem, scene, frame)
        else:
            self.add(otherwise, file, str(error).removeprefix(f"{file}: "), scene, frame)

    def _open(self, label_map: str | None) -> tuple[str, list[Scene]]:
        """The layout's name and all scenes that open, if need be with holes where something is missing."""
        try:
            layout, openers = scene_openers(self.path, self.layout)
        except DataError as error:
            self.add_error(error, "DRIVE-UNREADABLE", self.path)
            return "", []
        names = drive_label_map(layout, label_map)
        scenes = []
        for scene_id, opener in openers.items():
            noted: list[DriveProblem] = []
            try:
                scenes.append(opener(names, noted.append))
            except DataError as error:
                self.add_error(error, "DRIVE-UNREADABLE", self.path, scene_id)
            for problem in noted:
                self.add_error(problem, "DRIVE-UNREADABLE", self.path, scene_id)
        return layout.name, scenes

    def _open_predictions(self, path: Path) -> PredictionStore | None:
        try:
            return PredictionStore.open(path)
        except DataError as error:
            self.add_error(error, "PREDICTIONS-HEADER", path / "predictions.yaml")
            return None

    def _compare_classes(self, store: PredictionStore, scene: Scene) -> None:
        names = scene.label_map.classes if scene.label_map else store.classes
        if store.classes == names:
            return
        differ = (k for k, pair in enumerate(zip(store.classes, names, strict=False)) if pair[0] != pair[1])
        place = next(differ, min(len(store.classes), len(names)))
        counts = f"{len(store.classes)} classes, the drive has {len(names)}; they differ first at column {place}"
        self.add("PREDICTIONS-CLASSES", store.root / "predictions.yaml", counts)

    def _check_poses(self, scene: Scene) -> None:
        told = {f.rule for f in self.findings if f.scene == scene.id}
        for rule, function in SCENE_RULES.items():
            # Poses that opening already found missing are NaN here; once is enough.
            if rule == "POSES-NOT-FINITE" and told & {"POSES-MISSING", "POSES-UNREADABLE", "CALIB-MISSING"}:
                continue
            for index, message in function(scene):
                frame = "" if index is None else scene.frame_names[index]
                place = f"frame {frame}: {message}" if frame else message
                self.add(rule, scene.root, place, scene.id, frame)

    def _check_frame(self, frame: Frame, store: PredictionStore | None) -> None:
        files = _files(frame, store)
        contents = self._read(frame, store, files)
        for rule, function in FRAME_RULES.items():
            message = function(contents)
            if message is not None:
                # The first word of a rule's id tells which file is at fault.
                self.add(rule, files[rule.partition("-")[0]], message, frame.scene.id, frame.name)

    def _read(self, frame: Frame, store: PredictionStore | None, files: Mapping[str, Path]) -> FrameContents:
        """The frame's contents, None where something cannot be read, which is noted."""
        probabilities = features = None
        if store is not None:
            rule = _probabilities_rule(files["PROBABILITIES"], len(store.classes))
            read = partial(store.probabilities, frame.scene.id, frame.name)
            probabilities = self._attempt(read, frame, rule, files["PROBABILITIES"])
            if files["FEATURES"].exists():
                read = partial(store.features, frame.scene.id, frame.name)
                features = self._attempt(read, frame, "FEATURES-UNREADABLE", files["FEATURES"])
        return FrameContents(
            points=self._attempt(frame.points, frame, "POINTS-UNREADABLE", files["POINTS"]),
            raw_labels=self._attempt(frame.raw_labels, frame, "LABELS-UNREADABLE", files["LABELS"]),
            label_map=frame.scene.label_map,
            probabilities=probabilities,
            features=features,
        )

    def _attempt(self, read: Callable[[], Contents], frame: Frame, otherwise: str, file: Path) -> Contents | None:
        try:
            return read()
        except DataError as error:
            self.add_error(error, otherwise, file, frame.scene.id, frame.name)
            return None

    def _check_images(self, scene: Scene) -> None:
        """One finding for all images that a scene names but does not have: a drive may come without them."""
        missing: list[Path] = []
        total = 0
        for frame in scene:
            images = self._attempt(frame.images, frame, "IMAGE-UNREADABLE", scene.root) or ()
            total += len(images)
            missing += [image.path for image in images if not image.path.is_file()]
        if missing:
            self.add("IMAGE-MISSING", missing[0], f"missing, as are {len(missing)} of {total} images", scene.id)


def _files(frame: Frame, store: PredictionStore | None) -> dict[str, Path]:
    """The file that each group of rules speaks of, by the first word of the rules' ids."""
    points = frame.scene.source.points_path(frame.index)
    files = {"POINTS": points, "LABELS": frame.scene.source.labels_path(frame.index) or points}
    if store is not None:
        files["PROBABILITIES"] = store.probabilities_path(frame.scene.id, frame.name)
        files["FEATURES"] = store.features_path(frame.scene.id, frame.name)
    return files


def _probabilities_rule(path: Path, classes: int) -> str:
    """The rule that is broken if these probabilities cannot be read; only the file's header is looked at."""
    try:
        shape = np.load(path, mmap_mode="r", allow_pickle=False).shape
    except FileNotFoundError:
        return "PROBABILITIES-MISSING"
    except (OSError, ValueError, EOFError):
        return "PROBABILITIES-UNREADABLE"
    return "PROBABILITIES-COLUMNS" if len(shape) == 2 and shape[1] != classes else "PROBABILITIES-UNREADABLE"
