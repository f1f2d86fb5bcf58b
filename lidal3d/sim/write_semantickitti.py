# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""A simulated drive in SemanticKITTI's layout, with `semantics_2/*.png` (16-bit raw ids per pixel) besides."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from lidal3d.files import replacing_folder
from lidal3d.scene.pose import Float64, inverse
from lidal3d.sim.camera import Picture, front_camera
from lidal3d.sim.drive import SimulatedDrive, SimulatedSweep


def write_semantickitti(drive: SimulatedDrive, out: Path, scene_id: str, progress: Callable[[int], None]) -> Path:
    """Write sequences/`scene_id`; the folder appears when it is complete. Returns it."""
    labelled = drive.config.labelled_frames()
    final = out / "sequences" / scene_id
    with replacing_folder(final) as folder:
        for name in ("velodyne", "labels", *(("image_2", "semantics_2") if drive.camera else ())):
            (folder / name).mkdir()
        _write_calibration(drive, folder)
        for index, sweep in enumerate(drive):
            _write_frame(sweep, folder, f"{index:06d}", index in labelled)
            progress(index + 1)
    return final


def _write_frame(sweep: SimulatedSweep, folder: Path, name: str, labelled: bool) -> None:
    sweep.points.tofile(folder / "velodyne" / f"{name}.bin")
    if labelled:
        packed = sweep.instance.astype(np.uint32) << 16 | sweep.semantic
        packed.tofile(folder / "labels" / f"{name}.label")
    if sweep.picture is not None:
        save_picture(sweep.picture, folder / "image_2" / f"{name}.png", folder / "semantics_2" / f"{name}.png")


def save_picture(picture: Picture, rgb_path: Path, semantic_path: Path) -> None:
    """The picture, and its classes as a 16-bit PNG."""
    from PIL import Image

    Image.fromarray(picture.rgb).save(rgb_path)
    Image.fromarray(picture.semantic).save(semantic_path)


def _row(values: Float64) -> str:
    return " ".join(repr(float(v)) for v in values.ravel())


def _write_calibration(drive: SimulatedDrive, folder: Path) -> None:
    """calib.txt, times.txt and poses.txt: camera-frame poses P with world_SE3_lidar ~ inv(Tr) · P · Tr.

    As in KITTI, the world is the first frame's camera, so the first pose is the identity.
    """
    config = drive.config
    camera = drive.camera or front_camera(config.camera_width, config.camera_height)
    projection = np.column_stack([camera.intrinsics, np.zeros(3)])
    lines = [f"P{k}: {_row(projection)}" for k in range(4)]
    lines.append(f"Tr: {_row(camera.camera_SE3_lidar[:3])}")
    (folder / "calib.txt").write_text("\n".join(lines) + "\n")
    seconds = (drive.timestamps_ns - drive.timestamps_ns[0]) / 1e9
    (folder / "times.txt").write_text("".join(f"{t:.9e}\n" for t in seconds))
    first_SE3_lidar = inverse(drive.world_SE3_lidar[0]) @ drive.world_SE3_lidar
    poses = camera.camera_SE3_lidar @ first_SE3_lidar @ inverse(camera.camera_SE3_lidar)
    (folder / "poses.txt").write_text("".join(_row(pose[:3]) + "\n" for pose in poses))
