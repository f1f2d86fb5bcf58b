# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""A drive split into training and validation by frames, for one that has too few scenes. Not independent, and said so.

Labels of validation frames are never seen in training; their points are, as neighbours in the inter-frame measure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from lidal3d.errors import DataError, UsageError
from lidal3d.scene.scene import Scene

RANGE = ".."
Places = dict[str, set[int]]


def split_frames(
    drive: Sequence[Scene], train: Sequence[str], validation: Sequence[str], path: Path
) -> tuple[list[Scene], list[Scene]]:
    """The scenes for training and for validation, in which just the frames named are key frames.

    Args:
        drive: all scenes.
        train, validation: "SCENE/FRAME" or "SCENE/FIRST..LAST".
        path: the drive's, for messages.

    Raises:
        UsageError: a frame that isn't there, is in both, or none at all.
        DataError: a frame without labels.
    """
    scenes = {scene.id: scene for scene in drive}
    chosen = [places_of(names, scenes, path) for names in (train, validation)]
    for scene_id in sorted(chosen[0].keys() & chosen[1].keys()):
        for index in sorted(chosen[0][scene_id] & chosen[1][scene_id]):
            name = f"{scene_id}/{scenes[scene_id].frame_names[index]}"
            raise UsageError(f"{path}: frame '{name}' is both for training and for validation; name it once")
    for what, places in zip(("train on", "validate on"), chosen, strict=True):
        if not places:
            raise UsageError(f"{path}: no frame is named to {what}; name at least one")
    first, second = ([_only(scenes[name], places[name]) for name in sorted(places)] for places in chosen)
    return first, second


def places_of(names: Sequence[str], scenes: Mapping[str, Scene], path: Path) -> Places:
    """Scene id -> indices of the frames of some names. Raises as `split_frames`."""
    places: Places = {}
    for name in names:
        scene_id, _, frames = name.rpartition("/")
        if scene_id not in scenes:
            raise UsageError(f"{path}: no scene of frame '{name}' among its {len(scenes)} ({', '.join(scenes)})")
        first, _, last = frames.partition(RANGE)
        ends = [_index(scenes[scene_id], end, path) for end in (first, last or first)]
        if ends[0] > ends[1]:
            raise UsageError(f"{path}: '{name}' ends before it begins; turn it round")
        places.setdefault(scene_id, set()).update(range(ends[0], ends[1] + 1))
    for scene_id, indices in places.items():
        for index in sorted(indices):
            if not scenes[scene_id][index].has_labels:
                frame = scenes[scene_id].frame_names[index]
                raise DataError(f"{path}: frame {scene_id}/{frame} has no labels; name frames that do")
    return places


def _index(scene: Scene, frame: str, path: Path) -> int:
    if frame not in scene.frame_names:
        has = f"{scene.frame_names[0]}{RANGE}{scene.frame_names[-1]}" if scene.frame_names else "none"
        raise UsageError(f"{path}: no frame '{frame}' in scene '{scene.id}' (it has {len(scene)}: {has})")
    return scene.frame_names.index(frame)


def _only(scene: Scene, indices: set[int]) -> Scene:
    """The same scene, in which no other frame can be asked about or is evaluated."""
    mask = np.zeros(len(scene), bool)
    mask[sorted(indices)] = True
    return replace(scene, is_key_frame=mask)


def nearest_s(train: Sequence[Scene], validation: Sequence[Scene]) -> float | None:
    """Seconds between the nearest training and validation frames of one scene; None where they share no scene."""
    by_id = {scene.id: scene for scene in train}
    gaps = [
        np.abs(scene.timestamps_ns[scene.is_key_frame][:, None] - other.timestamps_ns[other.is_key_frame][None]).min()
        for scene in validation
        if (other := by_id.get(scene.id)) is not None
    ]
    return float(min(gaps)) / 1e9 if gaps else None
