# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""PandaSet: LLL/{lidar, camera/NAME, annotations/semseg} with pickled pandas tables, read by the restricted loader.

Differs: points are stored in world coordinates, so read_points takes them back with the sweep's pose; the sensor's y
axis looks forward, so points and poses are turned; the tables hold two sensors, and only the spinning Pandar64
(column d == 0) is kept, of points and labels alike, because the forward PandarGT sees other places at other times
(Xiao et al., ITSC 2021). Camera k goes with sweep k. Instances are what lies in people's cuboids.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lidal3d.errors import DataError
from lidal3d.scene.labels import LabelMap
from lidal3d.scene.pose import Float64, inverse, rotation_from_quaternion, transform
from lidal3d.scene.readers.base import (
    DriveProblem,
    Layout,
    OnProblem,
    SceneOpener,
    absolute,
    assumed_times,
    file_stems,
    frame_numbers,
    raise_problem,
    read_json,
    require_frames,
    seconds_to_ns,
    subfolders,
    take_rows,
    unreadable,
    yforward_SE3_lidar,
)
from lidal3d.scene.readers.cameras import CameraTrack, intrinsics_matrix
from lidal3d.scene.readers.pandaset_cuboids import read_cuboids
from lidal3d.scene.restricted_pickle import Table, load_table
from lidal3d.scene.scene import CameraImage, Scene

SUFFIX = ".pkl.gz"
SPINNING_SENSOR = 0


@dataclass(frozen=True)
class PandaSetSource:
    """The contents of one log; camera tracks are indexed by frame number."""

    folder: Path
    names: tuple[str, ...]
    world_SE3_lidar: Float64
    cameras: tuple[CameraTrack, ...]

    def points_path(self, index: int) -> Path:
        return self.folder / "lidar" / (self.names[index] + SUFFIX)

    def labels_path(self, index: int) -> Path | None:
        path = self.folder / "annotations" / "semseg" / (self.names[index] + SUFFIX)
        return path if path.is_file() else None

    def read_points(self, index: int) -> npt.NDArray[np.float32]:
        path = self.points_path(index)
        if not np.isfinite(self.world_SE3_lidar[index]).all():
            raise DriveProblem("POSES-NOT-FINITE", path, "its points are in the world, and no pose takes them back")
        table = _table(path, ("x", "y", "z", "i", "d"), "POINTS")
        kept = table.columns["d"] == SPINNING_SENSOR
        xyz_world = np.stack([table.columns[axis][kept] for axis in "xyz"], axis=1)
        xyz = transform(inverse(self.world_SE3_lidar[index]), xyz_world)
        return np.column_stack([xyz, table.columns["i"][kept]]).astype(np.float32)

    def read_labels(self, index: int) -> npt.NDArray[np.uint32] | None:
        path = self.labels_path(index)
        if path is None:
            return None
        sweep = _table(self.points_path(index), ("d",), "POINTS")
        labels = _aligned(_table(path, ("class",), "LABELS"), sweep, path)
        return labels[sweep.columns["d"] == SPINNING_SENSOR].astype(np.uint32)

    def cuboids_path(self, index: int) -> Path | None:
        """The file with the sweep's cuboids, or None where it has none."""
        path = self.folder / "annotations" / "cuboids" / (self.names[index] + SUFFIX)
        return path if path.is_file() else None

    def read_instances(self, index: int) -> npt.NDArray[np.uint32] | None:
        path = self.cuboids_path(index)
        if path is None:
            return None
        xyz_world = transform(self.world_SE3_lidar[index], self.read_points(index)[:, :3])
        return read_cuboids(path).instances(xyz_world)

    def images(self, index: int) -> tuple[CameraImage, ...]:
        number, pose = int(self.names[index]), self.world_SE3_lidar[index]
        tracks = [t for t in self.cameras if number < len(t.files) and (t.root / t.files[number]).is_file()]
        return tuple(track.image(number, pose) for track in tracks)


def _table(path: Path, columns: Sequence[str], kind: str) -> Table:
    try:
        table = load_table(path)
    except OSError as error:
        raise unreadable(path, error, kind) from None
    except DataError as error:
        raise DriveProblem(f"{kind}-TRUNCATED", path, str(error).removeprefix(f"{path}: ")) from None
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise DriveProblem(f"{kind}-UNREADABLE", path, f"no column '{missing[0]}' among {sorted(table.columns)}")
    return table


def _aligned(labels: Table, sweep: Table, path: Path) -> npt.NDArray[Any]:
    """The classes in the order of the sweep's rows, which the tables' row labels tie together."""
    classes = labels.columns["class"]
    if len(classes) != len(sweep.index):
        counts = f"{len(classes)} labels, but the sweep has {len(sweep.index)} points"
        raise DriveProblem("LABELS-COUNT", path, f"{counts}; they must be of the same sweep")
    if np.array_equal(labels.index, sweep.index):
        return classes
    order = np.argsort(labels.index)
    found = order[np.minimum(np.searchsorted(labels.index[order], sweep.index), len(order) - 1)]
    if not np.array_equal(labels.index[found], sweep.index):
        raise DriveProblem("LABELS-COUNT", path, "row labels differ from the sweep's; they must be of the same sweep")
    return classes[found]


def _poses(path: Path) -> Float64:
    """(T, 4, 4) of a poses.json: position in metres and heading quaternion a row."""
    rows = read_json(path, "POSES")
    try:
        wxyz = np.array([[float(row["heading"][axis]) for axis in "wxyz"] for row in rows]).reshape(-1, 4)
        positions = np.array([[float(row["position"][axis]) for axis in "xyz"] for row in rows]).reshape(-1, 3)
    except (KeyError, TypeError, ValueError) as error:
        raise DriveProblem("POSES-UNREADABLE", path, f"not a list of headings and positions ({error!r})") from None
    poses = np.tile(np.eye(4), (len(rows), 1, 1))
    poses[:, :3, :3] = rotation_from_quaternion(wxyz)
    poses[:, :3, 3] = positions
    return poses


def _sweep_poses(folder: Path, numbers: Sequence[int], on_problem: OnProblem) -> Float64:
    path = folder / "lidar" / "poses.json"
    try:
        return take_rows(_poses(path), numbers, path, "POSES", on_problem) @ yforward_SE3_lidar
    except DriveProblem as problem:
        on_problem(problem)
        return np.full((len(numbers), 4, 4), np.nan)


def _sweep_times(folder: Path, numbers: Sequence[int], on_problem: OnProblem) -> npt.NDArray[np.int64]:
    path = folder / "lidar" / "timestamps.json"
    try:
        return take_rows(seconds_to_ns(read_json(path, "TIMES"), path), numbers, path, "TIMES", raise_problem)
    except DriveProblem as problem:
        on_problem(problem)
        return assumed_times(max(numbers) + 1)[list(numbers)]


def _camera(folder: Path) -> CameraTrack:
    lens = read_json(folder / "intrinsics.json", "CALIB")
    times_path = folder / "timestamps.json"
    times = seconds_to_ns(read_json(times_path, "TIMES"), times_path)
    poses = _poses(folder / "poses.json")
    count = min(len(times), len(poses))
    try:
        intrinsics = intrinsics_matrix(*(float(lens[key]) for key in ("fx", "fy", "cx", "cy")))
    except (KeyError, TypeError, ValueError) as error:
        problem = f"needs fx, fy, cx, cy ({error!r})"
        raise DriveProblem("CALIB-UNREADABLE", folder / "intrinsics.json", problem) from None
    files = tuple(f"{k:02d}.jpg" for k in range(count))
    return CameraTrack(folder.name, folder, files, times[:count], poses[:count], intrinsics)


def _cameras(folder: Path, on_problem: OnProblem) -> tuple[CameraTrack, ...]:
    tracks = []
    for camera in subfolders(folder / "camera"):
        try:
            tracks.append(_camera(camera))
        except DriveProblem as problem:  # noqa: PERF203
            on_problem(problem)
    return tuple(tracks)


def _open(folder: Path, label_map: LabelMap | None, on_problem: OnProblem = raise_problem) -> Scene:
    names = tuple(file_stems(folder / "lidar", SUFFIX))
    require_frames(names, folder / "lidar", SUFFIX)
    numbers = frame_numbers(names, folder / "lidar")
    poses = _sweep_poses(folder, numbers, on_problem)
    return Scene(
        id=folder.name,
        dataset="pandaset",
        root=folder,
        frame_names=names,
        timestamps_ns=_sweep_times(folder, numbers, on_problem),
        world_SE3_lidar=poses,
        is_key_frame=np.ones(len(names), dtype=bool),
        label_map=label_map,
        source=PandaSetSource(folder, names, poses, _cameras(folder, on_problem)),
    )


def _is_log(path: Path) -> bool:
    lidar = path / "lidar"
    return lidar.is_dir() and ((lidar / "poses.json").is_file() or next(lidar.glob(f"*{SUFFIX}"), None) is not None)


def _logs(path: Path) -> list[Path]:
    path = absolute(path)
    return [path] if _is_log(path) else [folder for folder in subfolders(path) if _is_log(folder)]


def _scenes(path: Path) -> dict[str, SceneOpener]:
    return {folder.name: partial(_open, folder) for folder in _logs(path)}


LAYOUT = Layout(
    name="pandaset",
    looked_for="LLL/lidar/*.pkl.gz",
    recognises=lambda path: bool(_logs(path)),
    scenes=_scenes,
)
