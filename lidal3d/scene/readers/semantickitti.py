# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""SemanticKITTI and KITTI odometry: sequences/SS/{velodyne, labels, image_2, image_3, calib.txt, poses.txt, times.txt}.

Differs from the conventions in nothing but its poses: poses.txt holds the left camera's, so that
world_SE3_lidar = inv(Tr) · P · Tr with Tr from calib.txt (Behley et al., ICCV 2019). Where a sequence has no poses.txt,
poses/SS.txt beside sequences/ is read (KITTI's own place). Rows belong to sweeps by frame number. Without times.txt
sweeps are taken to be 0.1 s apart. A label's low 16 bits are the class, the high 16 the instance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lidal3d.scene.labels import LabelMap
from lidal3d.scene.pose import Float64, from_rotation_translation, inverse
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
    read_kitti_poses,
    read_records,
    read_rows,
    read_text,
    require_frames,
    seconds_to_ns,
    subfolders,
    take_rows,
    to_numbers,
)
from lidal3d.scene.readers.cameras import image_size
from lidal3d.scene.scene import CameraImage, Scene

CAMERAS = {"image_2": "P2", "image_3": "P3"}


@dataclass(frozen=True)
class SemanticKittiSource:
    """The contents of one sequence; `cameras` maps a name to (intrinsics, camera_SE3_lidar)."""

    folder: Path
    names: tuple[str, ...]
    timestamps_ns: npt.NDArray[np.int64]
    cameras: Mapping[str, tuple[Float64, Float64]]

    def points_path(self, index: int) -> Path:
        return self.folder / "velodyne" / f"{self.names[index]}.bin"

    def labels_path(self, index: int) -> Path | None:
        path = self.folder / "labels" / f"{self.names[index]}.label"
        return path if path.is_file() else None

    def read_points(self, index: int) -> npt.NDArray[np.float32]:
        return read_records(self.points_path(index), "<f4", 4, "POINTS")

    def read_labels(self, index: int) -> npt.NDArray[np.uint32] | None:
        return read_semantic(self.labels_path(index))

    def read_instances(self, index: int) -> npt.NDArray[np.uint32] | None:
        return read_instances(self.labels_path(index))

    def images(self, index: int) -> tuple[CameraImage, ...]:
        found = (self._image(camera, index) for camera in self.cameras)
        return tuple(image for image in found if image is not None)

    def _image(self, camera: str, index: int) -> CameraImage | None:
        stem = self.folder / camera / self.names[index]
        path = next((p for p in (stem.with_suffix(".png"), stem.with_suffix(".jpg")) if p.is_file()), None)
        if path is None:
            return None
        intrinsics, camera_SE3_lidar = self.cameras[camera]
        time_ns = int(self.timestamps_ns[index])  # the cameras are triggered by the sweep
        return CameraImage(camera, path, time_ns, intrinsics, camera_SE3_lidar, *image_size(path))


def read_semantic(path: Path | None) -> npt.NDArray[np.uint32] | None:
    """(N,) raw class ids of a .label file, the low 16 bits."""
    return None if path is None else read_records(path, "<u4", 1, "LABELS")[:, 0] & np.uint32(0xFFFF)


def read_instances(path: Path | None) -> npt.NDArray[np.uint32] | None:
    """(N,) instance ids of a .label file, the high 16 bits."""
    return None if path is None else read_records(path, "<u4", 1, "LABELS")[:, 0] >> np.uint32(16)


def _read_calibration(path: Path) -> dict[str, Float64]:
    """The 3×4 matrices of calib.txt by name (P0 … P3, Tr)."""
    matrices = {}
    for line in read_text(path, "CALIB").splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        if len(words) == 12:
            matrices[name.strip()] = to_numbers([words], path, "CALIB").reshape(3, 4)
    if "Tr" not in matrices:
        raise DriveProblem("CALIB-UNREADABLE", path, "no line 'Tr:' with 12 numbers, the pose of the lidar")
    return matrices


def _camera(projection: Float64, camera0_SE3_lidar: Float64) -> tuple[Float64, Float64]:
    """(intrinsics, camera_SE3_lidar) of a rectified projection P = K [I | t]."""
    intrinsics = projection[:, :3]
    offset = from_rotation_translation(np.eye(3), np.linalg.solve(intrinsics, projection[:, 3]))
    return intrinsics, offset @ camera0_SE3_lidar


def _poses_path(folder: Path) -> Path:
    own, shared = folder / "poses.txt", folder.parent.parent / "poses" / f"{folder.name}.txt"
    return shared if shared.is_file() and not own.is_file() else own


def _poses(folder: Path, numbers: Sequence[int], camera0_SE3_lidar: Float64, on_problem: OnProblem) -> Float64:
    path = _poses_path(folder)
    try:
        all_poses = read_kitti_poses(path)
    except DriveProblem as problem:
        on_problem(problem)
        return np.full((len(numbers), 4, 4), np.nan)
    poses = take_rows(all_poses, numbers, path, "POSES", on_problem)
    return inverse(camera0_SE3_lidar) @ poses @ camera0_SE3_lidar


def _times(folder: Path, numbers: Sequence[int], on_problem: OnProblem) -> npt.NDArray[np.int64]:
    path = folder / "times.txt"
    if not path.is_file():
        return assumed_times(max(numbers) + 1)[list(numbers)]
    try:
        all_times = seconds_to_ns([row[0] for row in read_rows(path, 1, "TIMES")], path)
        return take_rows(all_times, numbers, path, "TIMES", raise_problem)
    except DriveProblem as problem:
        on_problem(problem)
        return assumed_times(max(numbers) + 1)[list(numbers)]


def _calibration(folder: Path, on_problem: OnProblem) -> tuple[Float64, dict[str, tuple[Float64, Float64]]]:
    """camera0_SE3_lidar and the cameras."""
    try:
        matrices = _read_calibration(folder / "calib.txt")
    except DriveProblem as problem:
        on_problem(problem)
        return np.eye(4), {}
    camera0_SE3_lidar = from_rotation_translation(matrices["Tr"][:, :3], matrices["Tr"][:, 3])
    cameras = {c: _camera(matrices[p], camera0_SE3_lidar) for c, p in CAMERAS.items() if p in matrices}
    return camera0_SE3_lidar, cameras


def _open(folder: Path, label_map: LabelMap | None, on_problem: OnProblem = raise_problem) -> Scene:
    names = tuple(file_stems(folder / "velodyne", ".bin"))
    require_frames(names, folder / "velodyne", ".bin")
    numbers = frame_numbers(names, folder / "velodyne")
    camera0_SE3_lidar, cameras = _calibration(folder, on_problem)
    timestamps_ns = _times(folder, numbers, on_problem)
    return Scene(
        id=folder.name,
        dataset="semantickitti",
        root=folder,
        frame_names=names,
        timestamps_ns=timestamps_ns,
        world_SE3_lidar=_poses(folder, numbers, camera0_SE3_lidar, on_problem),
        is_key_frame=np.ones(len(names), dtype=bool),
        label_map=label_map,
        source=SemanticKittiSource(folder, names, timestamps_ns, cameras),
    )


def _sequences(path: Path) -> list[Path]:
    """The sequence folders that `path` holds or is."""
    path = absolute(path)
    if (path / "velodyne").is_dir():
        return [path]
    if path.name == "velodyne" and (path.parent / "calib.txt").is_file():
        return [path.parent]
    tops = [path / "sequences", path / "dataset" / "sequences", path]
    return next((found for top in tops if (found := [f for f in subfolders(top) if (f / "velodyne").is_dir()])), [])


def _scenes(path: Path) -> dict[str, SceneOpener]:
    return {folder.name: partial(_open, folder) for folder in _sequences(path)}


LAYOUT = Layout(
    name="semantickitti",
    looked_for="sequences/SS/velodyne/",
    recognises=lambda path: bool(_sequences(path)),
    scenes=_scenes,
)
