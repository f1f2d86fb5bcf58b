# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""A drive prepared for mmdet3d: its info file (`*_infos_*.pkl`), or a folder that holds some.

Differs: points lie where an entry's lidar_path says, below the info file's folder or one of the prefixes that mmdet3d's
configs use (training/velodyne, samples/LIDAR_TOP, …); poses are ego2global · lidar2ego. Where lidar2ego shows that the
sensor's y axis looks forward, as nuScenes' does, points and poses are turned; without lidar2ego the points are taken to
be in the ego frame. A scene is what an entry calls its scene; else a folder below `sequences`, a log's name before "__",
or the info file, cut where more than a second passes. Frames without poses (KITTI's objects) belong to no drive: each is
a scene of its own, so that nothing is compared across them. Label masks are read as bytes a point say; `.label` is
SemanticKITTI's. A frame that several info files hold is taken once. `lidar_sweeps` between key frames are not read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lidal3d.scene.labels import LabelMap
from lidal3d.scene.pose import Float64, from_rotation_translation
from lidal3d.scene.readers.base import (
    DriveProblem,
    Layout,
    OnProblem,
    SceneOpener,
    assumed_times,
    lidar_from_yforward,
    raise_problem,
    read_records,
    unreadable,
    yforward_SE3_lidar,
)
from lidal3d.scene.readers.cameras import image_size
from lidal3d.scene.readers.mmdet3d_info import RULE, Entry, Locator, info_files, label_map_of
from lidal3d.scene.readers.mmdet3d_scenes import PlacedEntry, SceneEntries, scene_entries, to_ns
from lidal3d.scene.readers.semantickitti import read_instances, read_semantic
from lidal3d.scene.scene import CameraImage, Scene

LABELS = ("", "labels", "lidarseg/v1.0-trainval", "lidarseg/v1.0-mini")
MASK_TYPES = {1: "u1", 2: "<i2", 4: "<i4", 8: "<i8"}  # bytes a point


@dataclass(frozen=True)
class InfoCamera:
    """One camera of a scene: a file ("" for none), a time, intrinsics (T, 3, 3) and camera_SE3_lidar (T, 4, 4) a frame."""

    camera: str
    files: tuple[str, ...]
    timestamps_ns: npt.NDArray[np.int64]
    intrinsics: Float64
    camera_SE3_lidar: Float64


@dataclass(frozen=True)
class Mmdet3dSource:
    """The contents of one scene.

    Attributes:
        root: the info file's folder; the files below are relative to it, or absolute.
        info: the info file's name, and `entries` the places of the frames in it.
        label_files: "" for a frame without a mask.
        columns: float32 a point.
        is_turned: whether the sensor's y axis looks forward.
    """

    root: Path
    info: str
    entries: tuple[int, ...]
    files: tuple[str, ...]
    label_files: tuple[str, ...]
    columns: int
    is_turned: bool
    cameras: tuple[InfoCamera, ...]

    def points_path(self, index: int) -> Path:
        return self.root / self.files[index]

    def labels_path(self, index: int) -> Path | None:
        return self.root / self.label_files[index] if self.label_files[index] else None

    def read_points(self, index: int) -> npt.NDArray[np.float32]:
        records = read_records(self.points_path(index), "<f4", self.columns, "POINTS")
        xyz = lidar_from_yforward(records[:, :3]) if self.is_turned else records[:, :3]
        intensity = records[:, 3] if self.columns > 3 else np.zeros(len(records), np.float32)
        return np.column_stack([xyz, intensity])

    def read_labels(self, index: int) -> npt.NDArray[np.uint32] | None:
        path = self.labels_path(index)
        if path is None or path.suffix == ".label":
            return read_semantic(path)
        return read_records(path, self._mask_type(path, index), 1, "LABELS")[:, 0].astype(np.uint32)

    def read_instances(self, index: int) -> npt.NDArray[np.uint32] | None:
        path = self.labels_path(index)
        return read_instances(path) if path is not None and path.suffix == ".label" else None

    def images(self, index: int) -> tuple[CameraImage, ...]:
        return tuple(self._image(camera, index) for camera in self.cameras if camera.files[index])

    def _mask_type(self, path: Path, index: int) -> str:
        """The type of a headless mask, which only the number of points tells."""
        try:
            points = self.points_path(index).stat().st_size // (4 * self.columns)
            size = path.stat().st_size
        except OSError as error:
            kind = "POINTS" if str(error.filename) != str(path) else "LABELS"
            raise unreadable(Path(error.filename), error, kind) from None
        for width, name in MASK_TYPES.items():
            if size == width * points:
                return name
        problem = f"{size} bytes for the {points} points of the sweep, expected 1, 2, 4 or 8 bytes a point"
        raise DriveProblem("LABELS-COUNT", path, f"{problem}; use the labels of the same sweep")

    def _image(self, camera: InfoCamera, index: int) -> CameraImage:
        path = self.root / camera.files[index]
        time_ns, pose = int(camera.timestamps_ns[index]), camera.camera_SE3_lidar[index]
        return CameraImage(camera.camera, path, time_ns, camera.intrinsics[index], pose, *image_size(path))


def _open(group: SceneEntries, label_map: LabelMap | None, on_problem: OnProblem = raise_problem) -> Scene:
    try:
        return _open_scene(group, label_map, on_problem)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        problem = f"an entry is not what mmdet3d writes ({type(error).__name__}: {error})"
        raise DriveProblem(RULE, group.info.path, problem) from None


def _open_scene(group: SceneEntries, label_map: LabelMap | None, on_problem: OnProblem) -> Scene:
    info, frames, root = group.info, group.frames, group.info.path.parent
    names = tuple(frame.name for frame in frames)
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DriveProblem("FRAME-NAME", info.path, f"sweep {twice} occurs {names.count(twice)} times in one scene")
    times = [frame.time_ns for frame in frames]
    known = [time for time in times if time is not None]
    timestamps_ns = np.array(known, np.int64) if len(known) == len(times) else assumed_times(len(frames))
    is_turned = any(_looks_along_y(frame.entry) for frame in frames)
    return Scene(
        id=group.scene,
        dataset="mmdet3d",
        root=info.path,
        frame_names=names,
        timestamps_ns=timestamps_ns,
        world_SE3_lidar=_poses(group, is_turned, on_problem),
        is_key_frame=np.ones(len(frames), bool),
        label_map=label_map or label_map_of(info.metainfo),
        source=Mmdet3dSource(
            root=root,
            info=info.path.name,
            entries=tuple(frame.place for frame in frames),
            files=tuple(_relative(frame.file, root) for frame in frames),
            label_files=_label_files(frames, root),
            columns=_columns(group),
            is_turned=is_turned,
            cameras=_cameras(frames, root, timestamps_ns, is_turned),
        ),
    )


def _relative(file: Path, root: Path) -> str:
    return str(file.relative_to(root)) if file.is_relative_to(root) else str(file)


def _columns(group: SceneEntries) -> int:
    """float32 a point, which has to be the same in all frames of a scene."""
    named = {int(frame.entry["lidar_points"].get("num_pts_feats", 4)) for frame in group.frames}
    if len(named) > 1 or min(named) < 3:
        problem = f"scene {group.scene}: num_pts_feats is {' and '.join(map(str, sorted(named)))}"
        raise DriveProblem(RULE, group.info.path, f"{problem}; one number from 3 on is expected")
    return named.pop()


def _lidar2ego(entry: Entry) -> Float64:
    given = entry["lidar_points"].get("lidar2ego")
    return np.eye(4) if given is None else _matrix(given, 4)


def _matrix(values: Any, size: int) -> Float64:
    """A (size, size) matrix of one with as many rows and columns or more; a missing last row is that of a rigid map."""
    given = np.asarray(values, np.float64)
    matrix = np.eye(size)
    if given.ndim != 2 or min(given.shape) < min(size, 3):
        raise ValueError(f"a matrix of shape {given.shape}, expected ({size}, {size})")
    part = given[:size, :size]
    matrix[: part.shape[0], : part.shape[1]] = part
    return matrix


def _looks_along_y(entry: Entry) -> bool:
    """Whether the sensor's y axis, not its x axis, points the way the vehicle drives."""
    ego_R_lidar = _lidar2ego(entry)[:3, :3]
    return bool(ego_R_lidar[0, 1] > abs(ego_R_lidar[0, 0]))


def _poses(group: SceneEntries, is_turned: bool, on_problem: OnProblem) -> Float64:
    """(T, 4, 4) world_SE3_lidar; the identity for the one frame of a scene without poses, NaN for a missing one."""
    poses = np.full((len(group.frames), 4, 4), np.nan)
    have = ["ego2global" in frame.entry for frame in group.frames]
    if len(have) == 1 and not have[0]:
        return np.eye(4)[None]
    if not all(have):
        counts = f"scene {group.scene}: {have.count(False)} of {len(have)} frames have no ego2global"
        first = group.frames[have.index(False)].name
        on_problem(DriveProblem("POSES-MISSING", group.info.path, f"{counts} (first: {first})"))
    for index, frame in enumerate(group.frames):
        if have[index]:
            poses[index] = _matrix(frame.entry["ego2global"], 4) @ _lidar2ego(frame.entry)
    return poses @ yforward_SE3_lidar if is_turned else poses


def _label_files(frames: Sequence[PlacedEntry], root: Path) -> tuple[str, ...]:
    locate = Locator(root, LABELS)
    named = (frame.entry.get("pts_semantic_mask_path") for frame in frames)
    return tuple("" if name is None else _relative(locate(str(name)), root) for name in named)


def _cameras(
    frames: Sequence[PlacedEntry], root: Path, timestamps_ns: npt.NDArray[np.int64], is_turned: bool
) -> tuple[InfoCamera, ...]:
    """The cameras that any frame has with file, lens and place."""
    images = [_usable(frame.entry.get("images")) for frame in frames]
    names = sorted({name for found in images for name in found})
    return tuple(_camera(name, [found.get(name) for found in images], root, timestamps_ns, is_turned) for name in names)


def _usable(images: Any) -> dict[str, Entry]:
    needs = {"img_path", "cam2img", "lidar2cam"}
    return {str(name): i for name, i in (images or {}).items() if isinstance(i, dict) and needs <= set(i)}


def _camera(
    name: str, images: Sequence[Entry | None], root: Path, timestamps_ns: npt.NDArray[np.int64], is_turned: bool
) -> InfoCamera:
    frames = len(images)
    locate = Locator(root, ("", f"samples/{name}", f"training/{name}", "training/image_2", "testing/image_2"))
    files, times = [""] * frames, timestamps_ns.copy()
    lenses, poses = np.tile(np.eye(3), (frames, 1, 1)), np.tile(np.eye(4), (frames, 1, 1))
    for index, image in enumerate(images):
        if image is not None:
            files[index] = _relative(locate(str(image["img_path"])), root)
            taken = to_ns(image.get("timestamp"))
            times[index] = times[index] if taken is None else taken
            lenses[index], pose = _lens_and_pose(image)
            poses[index] = pose @ yforward_SE3_lidar if is_turned else pose
    return InfoCamera(name, tuple(files), times, lenses, poses)


def _lens_and_pose(image: Entry) -> tuple[Float64, Float64]:
    """Intrinsics and camera_SE3_lidar: a fourth column of cam2img is a rectified camera's offset, as KITTI's P2 has it."""
    projection = np.asarray(image["cam2img"], np.float64)
    lens = _matrix(projection, 3)
    offset = np.linalg.solve(lens, projection[:3, 3]) if projection.shape[1] > 3 else np.zeros(3)
    return lens, from_rotation_translation(np.eye(3), offset) @ _matrix(image["lidar2cam"], 4)


def _scenes(path: Path) -> Mapping[str, SceneOpener]:
    return {scene: partial(_open, group) for scene, group in scene_entries(path).items()}


LAYOUT = Layout(
    name="mmdet3d",
    looked_for="*_infos_*.pkl",
    recognises=lambda path: bool(info_files(path)),
    scenes=_scenes,
)
