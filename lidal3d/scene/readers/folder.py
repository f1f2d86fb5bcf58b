# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""A plain folder: clouds (.bin of 4 float32, .pcd or .ply) in it or in its points/, with poses beside them.

Poses are the lidar's own, in poses.txt, trajectory.txt or *.tum: 12 numbers a line (KITTI) or 8 (TUM: timestamp tx ty
tz qx qy qz qw). They go with the clouds in order where there is one a cloud; otherwise by frame number (KITTI) or by
time, where the clouds are named by their time in seconds or nanoseconds (TUM). Times come from the TUM file, or from
times.txt (seconds), or are taken to be 0.1 s apart. labels/*.label is as in SemanticKITTI; without --label-map the
classes have no names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lidal3d.scene.labels import LabelMap
from lidal3d.scene.pose import Float64, rotation_from_quaternion
from lidal3d.scene.readers.base import (
    DriveProblem,
    Layout,
    OnProblem,
    SceneOpener,
    absolute,
    assumed_times,
    file_stems,
    natural_key,
    nearest_index,
    raise_problem,
    read_kitti_poses,
    read_records,
    read_rows,
    read_text,
    require_frames,
    seconds_to_ns,
    take_rows,
    to_numbers,
)
from lidal3d.scene.readers.clouds import read_cloud
from lidal3d.scene.readers.semantickitti import read_instances, read_semantic
from lidal3d.scene.scene import CameraImage, Scene

SUFFIXES = (".bin", ".pcd", ".ply")
TUM_TOLERANCE_NS = 50_000_000
Matched = tuple[Float64, "npt.NDArray[np.int64] | None"]  # poses and, where the file has them, times


@dataclass(frozen=True)
class FolderSource:
    """The contents of one folder; `files` are the clouds' names with their suffix."""

    clouds: Path
    labels: Path
    files: tuple[str, ...]

    def points_path(self, index: int) -> Path:
        return self.clouds / self.files[index]

    def labels_path(self, index: int) -> Path | None:
        path = self.labels / f"{_stem(self.files[index])}.label"
        return path if path.is_file() else None

    def read_points(self, index: int) -> npt.NDArray[np.float32]:
        path = self.points_path(index)
        return read_records(path, "<f4", 4, "POINTS") if path.suffix == ".bin" else read_cloud(path)

    def read_labels(self, index: int) -> npt.NDArray[np.uint32] | None:
        return read_semantic(self.labels_path(index))

    def read_instances(self, index: int) -> npt.NDArray[np.uint32] | None:
        return read_instances(self.labels_path(index))

    def images(self, index: int) -> tuple[CameraImage, ...]:
        return ()


@dataclass(frozen=True)
class _Trajectory:
    """Poses of a file, with their times where it has them."""

    path: Path
    world_SE3_lidar: Float64
    timestamps_ns: npt.NDArray[np.int64] | None


def _stem(file: str) -> str:
    # Path.stem would cut "1557539924.49981.bin" as wanted but "12.5" too: only a cloud's suffix goes.
    return file[: -len(SUFFIXES[0])]


def _read_trajectory(path: Path) -> _Trajectory:
    lines = [line.replace(",", " ").split() for line in read_text(path, "POSES").splitlines()]
    width = next((len(words) for words in lines if words and not words[0].startswith("#")), 0)
    if width == 12:
        return _Trajectory(path, read_kitti_poses(path), None)
    if width != 8:
        raise DriveProblem("POSES-UNREADABLE", path, f"{width} numbers a line, expected 12 (KITTI) or 8 (TUM)")
    rows = read_rows(path, 8, "POSES")
    numbers = to_numbers(rows, path, "POSES")
    poses = np.tile(np.eye(4), (len(numbers), 1, 1))
    poses[:, :3, :3] = rotation_from_quaternion(numbers[:, [7, 4, 5, 6]])
    poses[:, :3, 3] = numbers[:, 1:4]
    return _Trajectory(path, poses, seconds_to_ns([row[0] for row in rows], path))


def _find_trajectory(folder: Path) -> Path:
    named = [folder / "poses.txt", folder / "trajectory.txt", *sorted(folder.glob("*.tum"))]
    found = next((path for path in named if path.is_file()), None)
    if found is None:
        problem = "no poses.txt, trajectory.txt or *.tum there; write the lidar's poses"
        raise DriveProblem("POSES-MISSING", folder, problem)
    return found


def _name_to_ns(name: str, path: Path) -> int:
    """The time a cloud's name says: integers of 18 digits and more are nanoseconds, of 15 and more microseconds."""
    if name.isdigit() and len(name) >= 15:
        return int(name) * (1 if len(name) >= 18 else 1000)
    return int(seconds_to_ns([name], path)[0])


def _match(names: Sequence[str], track: _Trajectory, on_problem: OnProblem) -> Matched:
    """Poses and times of the clouds."""
    if len(names) == len(track.world_SE3_lidar):
        return track.world_SE3_lidar, track.timestamps_ns
    if track.timestamps_ns is None:
        if not all(name.isdigit() for name in names):
            counts = f"{len(track.world_SE3_lidar)} poses, but {len(names)} clouds, whose names are no numbers"
            raise DriveProblem("POSES-MISSING", track.path, f"{counts}; write one pose a cloud")
        return take_rows(track.world_SE3_lidar, [int(name) for name in names], track.path, "POSES", on_problem), None
    return _match_by_time(names, track, on_problem)


def _match_by_time(
    names: Sequence[str], track: _Trajectory, on_problem: OnProblem
) -> tuple[Float64, npt.NDArray[np.int64]]:
    assert track.timestamps_ns is not None
    order = np.argsort(track.timestamps_ns, kind="stable")
    sorted_ns = track.timestamps_ns[order]
    try:
        times_ns = np.array([_name_to_ns(name, track.path) for name in names], dtype=np.int64)
    except DriveProblem:
        counts = f"{len(sorted_ns)} poses, but {len(names)} clouds, whose names are no times"
        raise DriveProblem("POSES-MISSING", track.path, f"{counts}; write one pose a cloud") from None
    nearest = np.array([nearest_index(sorted_ns, time_ns) for time_ns in times_ns])
    far = np.abs(sorted_ns[nearest] - times_ns) > TUM_TOLERANCE_NS
    if far.any():
        first = names[int(np.argmax(far))]
        counts = f"{int(far.sum())} of {len(names)} clouds have none"
        none = f"no pose within {TUM_TOLERANCE_NS} ns of cloud {first}; {counts}"
        on_problem(DriveProblem("POSES-MISSING", track.path, none))
    poses = track.world_SE3_lidar[order][nearest]
    poses[far] = np.nan
    return poses, times_ns


def _times(folder: Path, count: int, on_problem: OnProblem) -> npt.NDArray[np.int64]:
    path = folder / "times.txt"
    if not path.is_file():
        return assumed_times(count)
    try:
        times_ns = seconds_to_ns([row[0] for row in read_rows(path, 1, "TIMES")], path)
        return take_rows(times_ns, range(count), path, "TIMES", raise_problem)
    except DriveProblem as problem:
        on_problem(problem)
        return assumed_times(count)


def _trajectory(folder: Path, names: Sequence[str], on_problem: OnProblem) -> Matched:
    try:
        return _match(names, _read_trajectory(_find_trajectory(folder)), on_problem)
    except DriveProblem as problem:
        on_problem(problem)
        return np.full((len(names), 4, 4), np.nan), None


def _open(folder: Path, label_map: LabelMap | None, on_problem: OnProblem = raise_problem) -> Scene:
    clouds = _clouds_folder(folder)
    files = tuple(_cloud_files(clouds))
    require_frames(files, clouds, "|*".join(SUFFIXES))
    names = tuple(_stem(file) for file in files)
    poses, times_ns = _trajectory(folder, names, on_problem)
    return Scene(
        id=folder.name,
        dataset="folder",
        root=folder,
        frame_names=names,
        timestamps_ns=_times(folder, len(names), on_problem) if times_ns is None else times_ns,
        world_SE3_lidar=poses,
        is_key_frame=np.ones(len(names), dtype=bool),
        label_map=label_map,
        source=FolderSource(clouds, folder / "labels", files),
    )


def _cloud_files(folder: Path) -> list[str]:
    """The clouds in a folder, of the first suffix that occurs: a mixture would make names ambiguous."""
    found = ([stem + suffix for stem in file_stems(folder, suffix)] for suffix in SUFFIXES)
    return sorted(next((files for files in found if files), []), key=natural_key)


def _clouds_folder(folder: Path) -> Path:
    return folder / "points" if _cloud_files(folder / "points") else folder


def _scenes(path: Path) -> dict[str, SceneOpener]:
    folder = absolute(path)
    return {folder.name: partial(_open, folder)}


LAYOUT = Layout(
    name="folder",
    looked_for="*.bin, *.pcd or *.ply with poses",
    recognises=lambda path: bool(_cloud_files(_clouds_folder(path))),
    scenes=_scenes,
)
