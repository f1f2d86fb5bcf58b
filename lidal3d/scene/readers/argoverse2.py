# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Argoverse 2 sensor logs: LOG/{sensors/lidar/*.feather, sensors/cameras, city_SE3_egovehicle.feather, calibration}.

Differs: points lie in the ego frame (origin at the rear axle, axes as in the conventions) and are already corrected
for ego motion, so "lidar" here means the ego vehicle; coordinates are stored as float16; intensity is 0 … 255. Image
distortion (k1 … k3) is not modelled: near the image's edge projections are some pixels off. Per-point classes exist
where the log holds flow_labels.feather, which belongs to its first sweep: 0 is "in no box", k is category k
(Wilson et al., NeurIPS 2021).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

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
    file_stems,
    frame_numbers,
    nearest_index,
    raise_problem,
    require_frames,
    unreadable,
)
from lidal3d.scene.readers.cameras import CameraTrack, intrinsics_matrix
from lidal3d.scene.scene import CameraImage, Scene

# The vehicle's pose is recorded at every sweep and image and at 200 Hz between them; one farther away is another's.
POSE_TOLERANCE_NS = 20_000_000
POSE_COLUMNS = ("qw", "qx", "qy", "qz", "tx_m", "ty_m", "tz_m")


@dataclass(frozen=True)
class Argoverse2Source:
    """The contents of one log."""

    folder: Path
    names: tuple[str, ...]
    world_SE3_lidar: Float64
    cameras: tuple[CameraTrack, ...]

    def points_path(self, index: int) -> Path:
        return self.folder / "sensors" / "lidar" / f"{self.names[index]}.feather"

    def labels_path(self, index: int) -> Path | None:
        path = self.folder / "flow_labels.feather"
        return path if index == 0 and path.is_file() else None

    def read_points(self, index: int) -> npt.NDArray[np.float32]:
        columns = _columns(self.points_path(index), ("x", "y", "z", "intensity"), "POINTS")
        return np.stack([column.astype(np.float32) for column in columns.values()], axis=1)

    def read_labels(self, index: int) -> npt.NDArray[np.uint32] | None:
        path = self.labels_path(index)
        return None if path is None else _columns(path, ("classes",), "LABELS")["classes"].astype(np.uint32)

    def read_instances(self, index: int) -> npt.NDArray[np.uint32] | None:
        return None

    def images(self, index: int) -> tuple[CameraImage, ...]:
        time_ns, pose = int(self.names[index]), self.world_SE3_lidar[index]
        return tuple(track.nearest(time_ns, pose) for track in self.cameras)


def _columns(path: Path, names: Sequence[str], kind: str) -> dict[str, npt.NDArray[Any]]:
    """Columns of a feather file as numpy arrays."""
    import pyarrow as pa
    import pyarrow.feather as feather

    try:
        table = feather.read_table(path, memory_map=False)
    except OSError as error:
        raise unreadable(path, error, kind) from None
    except pa.ArrowInvalid as error:
        size = f"{path.stat().st_size} bytes are not a whole feather file"
        raise DriveProblem(f"{kind}-TRUNCATED", path, f"{size} ({str(error).splitlines()[0]})") from None
    missing = [name for name in names if name not in table.column_names]
    if missing:
        raise DriveProblem(f"{kind}-UNREADABLE", path, f"no column '{missing[0]}' among {table.column_names}")
    return {name: table[name].to_numpy() for name in names}


def _transforms(columns: dict[str, npt.NDArray[Any]]) -> Float64:
    """(K, 4, 4) of quaternion and translation columns."""
    transforms = np.tile(np.eye(4), (len(columns["qw"]), 1, 1))
    transforms[:, :3, :3] = rotation_from_quaternion(np.stack([columns[c] for c in POSE_COLUMNS[:4]], axis=1))
    transforms[:, :3, 3] = np.stack([columns[c] for c in POSE_COLUMNS[4:]], axis=1)
    return transforms


@dataclass(frozen=True)
class _EgoPoses:
    path: Path
    timestamps_ns: npt.NDArray[np.int64]
    city_SE3_ego: Float64

    @classmethod
    def read(cls, path: Path) -> _EgoPoses:
        columns = _columns(path, ("timestamp_ns", *POSE_COLUMNS), "POSES")
        order = np.argsort(columns["timestamp_ns"], kind="stable")
        return cls(path, columns["timestamp_ns"][order].astype(np.int64), _transforms(columns)[order])

    def at(self, timestamps_ns: npt.NDArray[np.int64], on_problem: OnProblem) -> Float64:
        """(K, 4, 4) poses at the times; NaN where `on_problem` lets a missing one pass."""
        if not len(self.timestamps_ns):
            on_problem(DriveProblem("POSES-MISSING", self.path, f"0 poses, but {len(timestamps_ns)} sweeps"))
            return np.full((len(timestamps_ns), 4, 4), np.nan)
        nearest = np.array([nearest_index(self.timestamps_ns, t) for t in timestamps_ns], dtype=int)
        gap_ns = np.abs(self.timestamps_ns[nearest] - timestamps_ns)
        far = gap_ns > POSE_TOLERANCE_NS
        if far.any():
            worst = int(np.argmax(gap_ns))
            away = f"the pose nearest to {timestamps_ns[worst]} is {gap_ns[worst]} ns away, {POSE_TOLERANCE_NS} allowed"
            on_problem(DriveProblem("POSES-MISSING", self.path, f"{away}; {int(far.sum())} sweeps have none"))
        poses = self.city_SE3_ego[nearest]
        poses[far] = np.nan
        return poses


def _cameras(folder: Path, ego: _EgoPoses, on_problem: OnProblem) -> tuple[CameraTrack, ...]:
    """A track for every camera that has both images and a calibration."""
    if not (folder / "sensors" / "cameras").is_dir():
        return ()
    try:
        lenses = _columns(
            folder / "calibration" / "intrinsics.feather",
            ("sensor_name", "fx_px", "fy_px", "cx_px", "cy_px", "width_px", "height_px"),
            "CALIB",
        )
        mounts_path = folder / "calibration" / "egovehicle_SE3_sensor.feather"
        mounts = _columns(mounts_path, ("sensor_name", *POSE_COLUMNS), "CALIB")
    except DriveProblem as problem:
        on_problem(problem)
        return ()
    mount_of = dict(zip(mounts["sensor_name"], _transforms(mounts), strict=True))
    rows = [(row, str(name)) for row, name in enumerate(lenses["sensor_name"]) if name in mount_of]
    tracks = (_camera(folder, ego, name, mount_of[name], lenses, row) for row, name in sorted(rows, key=lambda r: r[1]))
    return tuple(track for track in tracks if track is not None)


def _camera(
    folder: Path, ego: _EgoPoses, name: str, ego_SE3_camera: Float64, lenses: dict[str, Any], row: int
) -> CameraTrack | None:
    root = folder / "sensors" / "cameras" / name
    stems = [stem for stem in file_stems(root, ".jpg") if stem.isdigit()]
    timestamps_ns = np.array(stems, dtype=np.int64)
    # An image without a pose is left out rather than projected wrongly.
    poses = ego.at(timestamps_ns, lambda _: None)
    known = np.isfinite(poses[:, 0, 0])
    if not known.any():
        return None
    return CameraTrack(
        camera=name,
        root=root,
        files=tuple(f"{stem}.jpg" for stem, keep in zip(stems, known, strict=True) if keep),
        timestamps_ns=timestamps_ns[known],
        world_SE3_camera=poses[known] @ ego_SE3_camera,
        intrinsics=intrinsics_matrix(*(float(lenses[c][row]) for c in ("fx_px", "fy_px", "cx_px", "cy_px"))),
        size=(int(lenses["width_px"][row]), int(lenses["height_px"][row])),
    )


def _ego_poses(folder: Path, on_problem: OnProblem) -> _EgoPoses:
    path = folder / "city_SE3_egovehicle.feather"
    try:
        return _EgoPoses.read(path)
    except DriveProblem as problem:
        on_problem(problem)
        return _EgoPoses(path, np.zeros(0, dtype=np.int64), np.zeros((0, 4, 4)))


def _open(folder: Path, label_map: LabelMap | None, on_problem: OnProblem = raise_problem) -> Scene:
    lidar = folder / "sensors" / "lidar"
    names = tuple(file_stems(lidar, ".feather"))
    require_frames(names, lidar, ".feather")
    timestamps_ns = np.array(frame_numbers(names, lidar), dtype=np.int64)
    ego = _ego_poses(folder, on_problem)
    poses = ego.at(timestamps_ns, on_problem)
    return Scene(
        id=folder.name,
        dataset="argoverse2",
        root=folder,
        frame_names=names,
        timestamps_ns=timestamps_ns,
        world_SE3_lidar=poses,
        is_key_frame=np.ones(len(names), dtype=bool),
        label_map=label_map,
        source=Argoverse2Source(folder, names, poses, _cameras(folder, ego, on_problem)),
    )


def _logs(path: Path) -> list[Path]:
    """The logs that `path` is or holds, down to ROOT/sensor/SPLIT/LOG."""
    path = absolute(path)
    if (path / "sensors" / "lidar").is_dir():
        return [path]
    patterns = ("*/sensors/lidar", "*/*/sensors/lidar", "sensor/*/*/sensors/lidar")
    return sorted(found.parent.parent for pattern in patterns for found in path.glob(pattern) if found.is_dir())


def _scenes(path: Path) -> dict[str, SceneOpener]:
    return {folder.name: partial(_open, folder) for folder in _logs(path)}


LAYOUT = Layout(
    name="argoverse2",
    looked_for="LOG/sensors/lidar/*.feather",
    recognises=lambda path: bool(_logs(path)),
    scenes=_scenes,
)
