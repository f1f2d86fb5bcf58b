# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""nuScenes through its devkit: DATAROOT/v1.0-*/ tables, samples/, sweeps/, lidarseg/.

Differs: LIDAR_TOP's x axis looks right and its y axis forward, so points and poses are turned; a scene holds the key
frames and the sweeps between them, and only key frames have labels and can be labelled. Poses are taken from the
tables in float64 (sensor → ego → global) at each record's own time. Intensity is 0 … 255 (Caesar et al., CVPR 2020).
The devkit is used while opening only; what a scene keeps is plain paths and arrays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lidal3d.errors import MissingDependency
from lidal3d.scene.labels import LabelMap
from lidal3d.scene.pose import Float64, rotation_from_quaternion
from lidal3d.scene.readers.base import (
    DriveProblem,
    Layout,
    OnProblem,
    SceneOpener,
    absolute,
    lidar_from_yforward,
    raise_problem,
    read_records,
    subfolders,
    yforward_SE3_lidar,
)
from lidal3d.scene.readers.cameras import CameraTrack
from lidal3d.scene.scene import CameraImage, Scene

LIDAR = "LIDAR_TOP"
POINTS_SUFFIX = ".pcd.bin"
Record = dict[str, Any]


@dataclass(frozen=True)
class NuScenesSource:
    """The contents of one scene; `label_files` is "" for a sweep without labels. Pickles without the devkit."""

    dataroot: Path
    files: tuple[str, ...]
    label_files: tuple[str, ...]
    timestamps_ns: npt.NDArray[np.int64]
    world_SE3_lidar: Float64
    cameras: tuple[CameraTrack, ...]

    def points_path(self, index: int) -> Path:
        return self.dataroot / self.files[index]

    def labels_path(self, index: int) -> Path | None:
        return self.dataroot / self.label_files[index] if self.label_files[index] else None

    def read_points(self, index: int) -> npt.NDArray[np.float32]:
        records = read_records(self.points_path(index), "<f4", 5, "POINTS")
        return np.column_stack([lidar_from_yforward(records[:, :3]), records[:, 3]])

    def read_labels(self, index: int) -> npt.NDArray[np.uint32] | None:
        path = self.labels_path(index)
        return None if path is None else read_records(path, "u1", 1, "LABELS")[:, 0].astype(np.uint32)

    def read_instances(self, index: int) -> npt.NDArray[np.uint32] | None:
        return None

    def images(self, index: int) -> tuple[CameraImage, ...]:
        time_ns, pose = int(self.timestamps_ns[index]), self.world_SE3_lidar[index]
        return tuple(track.nearest(time_ns, pose) for track in self.cameras)


def _load_tables(dataroot: Path, version: str) -> Any:
    """The devkit's NuScenes object, silent, with its many kinds of failure as one."""
    try:
        from nuscenes import NuScenes
    except ImportError as error:
        how = "python -m pip install nuscenes-devkit (on a bare Debian also: apt-get install libgl1)"
        raise MissingDependency(f"nuscenes-devkit reads nuScenes, but does not load ({error}); {how}") from None
    try:
        return NuScenes(version=version, dataroot=str(dataroot), verbose=False)
    except Exception as error:  # the devkit asserts, and fails in whatever way a broken table makes it
        problem = f"nuscenes-devkit cannot open the tables ({type(error).__name__}: {error})"
        raise DriveProblem("TABLES-UNREADABLE", dataroot / version, problem) from None


def _chain(tables: Any, token: str) -> list[Record]:
    """All records of one sensor in one scene, by time: the key frame's and every one linked before and after it."""
    first = tables.get("sample_data", token)
    before, after = _follow(tables, first, "prev"), _follow(tables, first, "next")
    return [*reversed(before), first, *after]


def _follow(tables: Any, record: Record, link: str) -> list[Record]:
    """The records that `link` ("prev" or "next") leads to, one after the other."""
    found: list[Record] = []
    while token := record[link]:
        record = tables.get("sample_data", token)
        found.append(record)
    return found


def _transforms(records: list[Record]) -> Float64:
    """(K, 4, 4) of table records with 'rotation' (w, x, y, z) and 'translation' (metres)."""
    transforms = np.tile(np.eye(4), (len(records), 1, 1))
    transforms[:, :3, :3] = rotation_from_quaternion([record["rotation"] for record in records])
    transforms[:, :3, 3] = [record["translation"] for record in records]
    return transforms


def _world_SE3_sensor(tables: Any, chain: list[Record]) -> Float64:
    """(K, 4, 4): sensor → ego → global at each record's own time."""
    world_SE3_ego = _transforms([tables.get("ego_pose", record["ego_pose_token"]) for record in chain])
    ego_SE3_sensor = _transforms([tables.get("calibrated_sensor", r["calibrated_sensor_token"]) for r in chain])
    return world_SE3_ego @ ego_SE3_sensor


def _times_ns(chain: list[Record]) -> npt.NDArray[np.int64]:
    return np.array([record["timestamp"] for record in chain], dtype=np.int64) * 1000  # the tables hold microseconds


def _camera(tables: Any, dataroot: Path, channel: str, token: str) -> CameraTrack:
    chain = _chain(tables, token)
    calibration = tables.get("calibrated_sensor", chain[0]["calibrated_sensor_token"])
    return CameraTrack(
        camera=channel,
        root=dataroot,
        files=tuple(record["filename"] for record in chain),
        timestamps_ns=_times_ns(chain),
        world_SE3_camera=_world_SE3_sensor(tables, chain),
        intrinsics=np.array(calibration["camera_intrinsic"], dtype=np.float64),
        size=(int(chain[0]["width"]), int(chain[0]["height"])),
    )


def _open(
    tables: Any,
    dataroot: Path,
    record: Record,
    label_files: Mapping[str, str],
    label_map: LabelMap | None,
    on_problem: OnProblem = raise_problem,
) -> Scene:
    try:
        return _open_scene(tables, dataroot, record, label_files, label_map)
    except (KeyError, TypeError, ValueError) as error:
        problem = f"scene {record['name']}: tables do not fit together ({type(error).__name__}: {error})"
        raise DriveProblem("TABLES-UNREADABLE", dataroot / tables.version, problem) from None


def _open_scene(
    tables: Any, dataroot: Path, record: Record, label_files: Mapping[str, str], label_map: LabelMap | None
) -> Scene:
    tokens = tables.get("sample", record["first_sample_token"])["data"]
    chain = _chain(tables, tokens[LIDAR])
    timestamps_ns = _times_ns(chain)
    world_SE3_lidar = _world_SE3_sensor(tables, chain) @ yforward_SE3_lidar
    cameras = tuple(_camera(tables, dataroot, c, tokens[c]) for c in sorted(tokens) if c.startswith("CAM_"))
    files = tuple(sweep["filename"] for sweep in chain)
    source = NuScenesSource(
        dataroot=dataroot,
        files=files,
        label_files=tuple(label_files.get(sweep["token"], "") for sweep in chain),
        timestamps_ns=timestamps_ns,
        world_SE3_lidar=world_SE3_lidar,
        cameras=cameras,
    )
    return Scene(
        id=record["name"],
        dataset="nuscenes",
        root=dataroot,
        frame_names=tuple(Path(file).name.removesuffix(POINTS_SUFFIX) for file in files),
        timestamps_ns=timestamps_ns,
        world_SE3_lidar=world_SE3_lidar,
        is_key_frame=np.array([bool(sweep["is_key_frame"]) for sweep in chain]),
        label_map=label_map,
        source=source,
    )


def _table_folders(path: Path) -> list[Path]:
    path = absolute(path)
    if (path / "sample_data.json").is_file():
        return [path]
    return [folder for folder in subfolders(path) if (folder / "sample_data.json").is_file()]


def _scenes(path: Path) -> dict[str, SceneOpener]:
    folders = _table_folders(path)
    if len(folders) > 1:
        names = ", ".join(folder.name for folder in folders)
        problem = f"{len(folders)} versions there ({names}), expected 1; name one of these folders"
        raise DriveProblem("TABLES-UNREADABLE", path, problem)
    dataroot, version = folders[0].parent, folders[0].name
    tables = _load_tables(dataroot, version)
    label_files = {record["sample_data_token"]: record["filename"] for record in getattr(tables, "lidarseg", [])}
    if not tables.scene:
        raise DriveProblem("DRIVE-EMPTY", folders[0] / "scene.json", "0 scenes, at least 1 needed")
    return {record["name"]: partial(_open, tables, dataroot, record, label_files) for record in tables.scene}


LAYOUT = Layout(
    name="nuscenes",
    looked_for="v1.0-*/sample_data.json",
    recognises=lambda path: bool(_table_folders(path)),
    scenes=_scenes,
)
