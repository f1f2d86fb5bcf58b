# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""The world of an experiment: a drive log or a simulated one, split into training and validation by scene.

A drive of one scene can be split by frames, see `frame_split`; whoever reads the results is told. A world can have a
source: other scenes, all labelled, which are only trained on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lidal3d.errors import DataError, UsageError
from lidal3d.jobs.train import drive_classes
from lidal3d.rounds.config import SourceSettings, WorldSettings
from lidal3d.rounds.frame_split import split_frames
from lidal3d.scene.labels import LabelMap
from lidal3d.scene.open import open_drive
from lidal3d.scene.pixels import drive_scene_id
from lidal3d.scene.scene import Frame, Scene

WORLD_FOLDER = "world"
SOURCE_FOLDER = "source"
OFFICIAL = "split:"


@dataclass(frozen=True)
class World:
    """Opened scenes. Strategies see `train` without its labels; `validation` only the evaluation sees.

    Attributes:
        train, validation: scenes, no one in both; or of a split by frames the same scenes with other key frames.
        classes: the label map that all share.
        key_frames_only: whether other frames count in the evaluation.
        source: scenes whose labels are all known and free; their ids begin with "source-".
    """

    train: tuple[Scene, ...]
    validation: tuple[Scene, ...]
    classes: LabelMap
    key_frames_only: bool = True
    source: tuple[Scene, ...] = ()

    @property
    def train_by_id(self) -> dict[str, Scene]:
        """Training scenes by id."""
        return {scene.id: scene for scene in self.train}

    def labelled_train_frames(self) -> list[Frame]:
        """The training frames that can be asked about: key frames with labels behind the oracle's back."""
        return [frame for scene in self.train for frame in scene if frame.is_key_frame and frame.has_labels]

    def source_frames(self) -> list[Frame]:
        """The frames of the source that have labels."""
        return [frame for scene in self.source for frame in scene if frame.has_labels]

    def validation_frames(self) -> list[Frame]:
        """The frames that are evaluated."""
        return [
            frame
            for scene in self.validation
            for frame in scene
            if frame.has_labels and (frame.is_key_frame or not self.key_frames_only)
        ]


def open_world(settings: WorldSettings, folder: Path) -> World:
    """Open the world's scenes; a simulated one lies in `folder`/world and is made by `run_experiment` before.

    A simulated source lies in `folder`/source.

    Raises:
        UsageError: no drive given, or scenes that it doesn't have.
        DataError: the drive is damaged, or a split has no labelled frame.
    """
    if settings.simulate is None and settings.drive is None:
        raise UsageError("the experiment names no drive; give one with --drive, or world.simulate in its file")
    path = folder / WORLD_FOLDER if settings.simulate is not None else Path(str(settings.drive))
    address = path if settings.cameras is None else Path(f"{path}@{settings.cameras}")
    drive = open_drive(address, settings.layout, settings.label_map)
    if settings.train_frames is not None and settings.validation_frames is not None:
        train, validation = split_frames(drive, settings.train_frames, settings.validation_frames, path)
    else:
        train, validation = split_scenes(settings, drive, path)
    key_frames_only = settings.key_frames_only or settings.validation_frames is not None
    source = _open_source(settings.source, folder)
    classes = drive_classes([*train, *validation, *source], path)
    world = World(tuple(train), tuple(validation), classes, key_frames_only, source)
    for what, frames in (("training", world.labelled_train_frames()), ("validation", world.validation_frames())):
        if not frames:
            raise DataError(f"{path}: no frame with labels among the {what} scenes; choose other scenes")
    return world


def _open_source(settings: SourceSettings | None, folder: Path) -> tuple[Scene, ...]:
    if settings is None:
        return ()
    path = folder / SOURCE_FOLDER if settings.simulate is not None else Path(str(settings.drive))
    scenes = open_drive(path, settings.layout, settings.label_map)
    if not any(frame.has_labels for scene in scenes for frame in scene):
        raise DataError(f"{path}: no frame with labels, but a source is trained on; choose another world.source")
    # Two drives may call their scenes alike.
    return tuple(replace(scene, id=f"{SOURCE_FOLDER}-{scene.id}") for scene in scenes)


def split_scenes(settings: WorldSettings, drive: Sequence[Scene], path: Path) -> tuple[list[Scene], list[Scene]]:
    """The scenes for training and for validation. Raises as `split`."""
    # A camera's scenes are told by the drive's: what is kept for validation is kept with all its cameras.
    by_id: dict[str, list[Scene]] = {}
    for scene in drive:
        by_id.setdefault(drive_scene_id(scene), []).append(scene)
    train, validation = split(settings, list(by_id), path)
    return [one for name in train for one in by_id[name]], [one for name in validation for one in by_id[name]]


def split(settings: WorldSettings, known: Sequence[str], path: Path) -> tuple[list[str], list[str]]:
    """Scene ids for training and for validation, sorted.

    Raises:
        UsageError: a scene that isn't there, one in both, or none left to train on.
    """
    validation = _named(settings.validation, known, path)
    train = sorted(set(known) - set(validation)) if settings.train is None else _named(settings.train, known, path)
    both = sorted(set(train) & set(validation))
    if both:
        raise UsageError(f"{path}: scene '{both[0]}' is both for training and for validation; name it once")
    if not train or not validation:
        what = "train on" if not train else "validate on"
        raise UsageError(f"{path}: none of the {len(known)} scenes is left to {what}; name others")
    return train, validation


def _named(names: Sequence[str], known: Sequence[str], path: Path) -> list[str]:
    """The scenes of some names, sorted; "split:val" means those of nuScenes' official split that are there."""
    found: set[str] = set()
    for name in names:
        if name.startswith(OFFICIAL):
            found |= set(_official(name.removeprefix(OFFICIAL))) & set(known)
        elif name not in known:
            raise UsageError(f"{path}: no scene '{name}' among its {len(known)} ({', '.join(list(known)[:5])})")
        else:
            found.add(name)
    return sorted(found)


def _official(name: str) -> list[str]:
    from nuscenes.utils.splits import create_splits_scenes

    splits = create_splits_scenes()
    if name not in splits:
        raise UsageError(f"{OFFICIAL}{name}: nuScenes has no such split (known: {', '.join(splits)})")
    return list(splits[name])
