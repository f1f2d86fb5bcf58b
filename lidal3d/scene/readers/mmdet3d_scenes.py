# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Which frames of mmdet3d's info files make a scene; the rules stand in `lidal3d.scene.readers.mmdet3d`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from lidal3d.scene.readers.base import DriveProblem
from lidal3d.scene.readers.mmdet3d_info import RULE, Entry, InfoFile, Locator, info_files, read_info

POINTS = ("", "training/velodyne", "training/velodyne_reduced", "testing/velodyne", "testing/velodyne_reduced",
          "samples/LIDAR_TOP", "points", "velodyne")  # fmt: skip
SCENE_KEYS = ("scene_name", "scene_token", "scene_id", "scene_idx")
LONGEST_STEP_NS = 1_000_000_000


@dataclass(frozen=True)
class PlacedEntry:
    """An entry of an info file, its place there, its points' file and the name that makes."""

    entry: Entry
    place: int
    file: Path
    name: str

    @property
    def time_ns(self) -> int | None:
        return to_ns(self.entry.get("timestamp"))


@dataclass(frozen=True)
class SceneEntries:
    """The frames of one scene, in time order where times are known."""

    scene: str
    info: InfoFile
    frames: tuple[PlacedEntry, ...]


def to_ns(value: Any) -> int | None:
    """Nanoseconds of a time in seconds, microseconds or nanoseconds, told by its size; seconds count to the microsecond."""
    if value is None:
        return None
    number = float(value)
    if number < 1e11:
        return round(number * 1e6) * 1000
    return int(value) * 1000 if number < 1e17 else int(value)


def _stem(file: str) -> str:
    return Path(file).name.removesuffix(".bin").removesuffix(".pcd")


def scene_entries(path: Path) -> dict[str, SceneEntries]:
    """Scene id -> its frames, of all info files that `path` is or holds."""
    groups: dict[str, SceneEntries] = {}
    seen: set[Path] = set()
    for file in info_files(path):
        info = read_info(file)
        fresh = [placed for placed in _placed(info) if placed.file not in seen]
        seen.update(placed.file for placed in fresh)
        for scene, frames in _cut(info, fresh).items():
            if scene in groups:
                both = f"scene {scene} is also in {groups[scene].info.path.name}, with other frames"
                raise DriveProblem(RULE, file, f"{both}; name one of the info files")
            groups[scene] = SceneEntries(scene, info, frames)
    return groups


def _placed(info: InfoFile) -> list[PlacedEntry]:
    first = [p for p in POINTS if p.startswith("testing")] if info.path.stem.endswith("test") else []
    locate = Locator(info.path.parent, [*first, *(p for p in POINTS if p not in first)])
    names = [str(entry["lidar_points"]["lidar_path"]) for entry in info.entries]
    return [
        PlacedEntry(e, k, locate(name), _stem(name))
        for k, (e, name) in enumerate(zip(info.entries, names, strict=True))
    ]


def _cut(info: InfoFile, frames: Sequence[PlacedEntry]) -> dict[str, tuple[PlacedEntry, ...]]:
    """Scenes by the rules of the module's docstring."""
    if not any("ego2global" in frame.entry for frame in frames):
        return {frame.name: (frame,) for frame in frames}
    named: dict[str, list[PlacedEntry]] = {}
    explicit = set()
    for frame in frames:
        key = next((k for k in SCENE_KEYS if frame.entry.get(k) is not None), None)
        scene = str(frame.entry[key]) if key else _implied_scene(frame, info)
        named.setdefault(scene, []).append(frame)
        if key:
            explicit.add(scene)
    scenes: dict[str, tuple[PlacedEntry, ...]] = {}
    for scene, members in named.items():
        ordered = sorted(members, key=lambda frame: (frame.time_ns or 0, frame.place))
        runs = [ordered] if scene in explicit else _runs(ordered)
        ids = [scene] if len(runs) == 1 else [f"{scene}-{number:03d}" for number in range(len(runs))]
        scenes.update(zip(ids, map(tuple, runs), strict=True))
    return scenes


def _implied_scene(frame: PlacedEntry, info: InfoFile) -> str:
    parts = Path(frame.entry["lidar_points"]["lidar_path"]).parts
    if "sequences" in parts[:-1]:
        return parts[parts.index("sequences") + 1]
    log, mark, _ = frame.name.partition("__")
    return log if mark else info.path.stem


def _runs(frames: Sequence[PlacedEntry]) -> list[list[PlacedEntry]]:
    """Frames in time order, cut where more than LONGEST_STEP_NS passes; frames without times stay together."""
    runs = [[frames[0]]]
    for before, frame in pairwise(frames):
        steps = before.time_ns is not None and frame.time_ns is not None
        if steps and frame.time_ns - before.time_ns > LONGEST_STEP_NS:  # type: ignore[operator]
            runs.append([])
        runs[-1].append(frame)
    return runs
