# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Export to SemanticKITTI's point_labeler: one KITTI sequence folder a window, and one labels.xml for all.

README.txt  labels.xml
SCENE_FIRST-LAST/velodyne/000000.bin     float32 x y z intensity
                 labels/000000.label     uint32: 0 = to label, class id = assumed, do-not-label = everything else
                 image_2/000000.png      the first camera, where there is one
                 calib.txt  poses.txt    camera-frame poses P with inv(Tr) · P · Tr = first_SE3_lidar
                 map.json                which frame of which scene each number is, which units are asked in it
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from lidal3d.export.classes import DO_NOT_LABEL_NAME, UNLABELED, class_list, do_not_label_id, queue_labels, tool_ids
from lidal3d.export.files import copy_picture, write_kitti_points
from lidal3d.export.options import ExportOptions
from lidal3d.export.queue import LabelQueue
from lidal3d.export.windows import Window, windows
from lidal3d.files import write_json, write_text
from lidal3d.scene.labels import LabelMap
from lidal3d.scene.pose import Float64, inverse
from lidal3d.scene.scene import CameraImage, Scene

# x forward, y left, z up -> x right, y down, z forward: what a drive without a camera uses as Tr.
CAMERA_AXES = np.array([[0.0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]])

README = """\
Labelling queue for point_labeler (github.com/jbehley/point_labeler), written by lidal3d.

1. Copy labels.xml over the labels.xml beside the labeler's program.
2. Start the labeler and open the folders below in this order; the most valuable one comes first.
3. In the label filter hide '{reserved_name}' (id {reserved}). What is left in grey is 'unlabeled': label exactly that.
   Points that already have a class were labelled by the model because every view of them agreed;
   correct them where they are wrong.
4. Save. The answers lie in labels/; leave map.json where it is, it says which frame each file was.

folder                            first rank   units   points to label
{table}
"""


def export_point_labeler(queue: LabelQueue, scenes: Mapping[str, Scene], out: Path, options: ExportOptions) -> None:
    """Write the queue to the folder `out`.

    Raises:
        DataError: the selection does not fit the drive, or a file of the drive is damaged.
    """
    queued = sorted(windows(queue, scenes, options.margin, options.max_frames), key=lambda w: w.best_rank)
    first_map = queued[0].scene.label_map if queued else next((s.label_map for s in scenes.values()), None)
    classes = class_list(first_map, options.predicted_classes)
    reserved = do_not_label_id(tool_ids(classes))
    out.mkdir(parents=True, exist_ok=True)
    write_text(out / "labels.xml", labels_xml(classes, reserved))
    for window in queued:
        _write_window(window, out / window.name, classes, reserved, options)
    table = "\n".join(
        f"{w.name:<34}{w.best_rank:>10}{len(w.asked):>8}{sum(len(u.indices) for u in w.asked):>18}" for w in queued
    )
    write_text(
        out / "README.txt", README.format(reserved=reserved, reserved_name=DO_NOT_LABEL_NAME, table=table or "(none)")
    )


def labels_xml(classes: LabelMap, reserved: int) -> str:
    """point_labeler's label description: unlabeled, do-not-label, and every class with its colour."""
    root = ElementTree.Element("config")
    _label(root, UNLABELED, "unlabeled", (200, 200, 200), "a label is asked for these points")
    _label(root, reserved, DO_NOT_LABEL_NAME, (40, 40, 40), "nobody asks for these points: hide them in the filter")
    for label_id, name, color in zip(tool_ids(classes), classes.classes, classes.colors, strict=True):
        _label(root, label_id, name, color, "")
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def _label(root: ElementTree.Element, label_id: int, name: str, color: tuple[int, int, int], description: str) -> None:
    label = ElementTree.SubElement(root, "label")
    fields = {
        "id": str(label_id), "name": name, "description": description, "color": " ".join(map(str, color)),
        "root": "lidal3d", "macro": "", "category": name,
    }  # fmt: skip
    for tag, text in fields.items():
        ElementTree.SubElement(label, tag).text = text


def _write_window(window: Window, folder: Path, classes: LabelMap, reserved: int, options: ExportOptions) -> None:
    ids = tool_ids(classes)
    (folder / "labels").mkdir(parents=True, exist_ok=True)
    camera = _first_camera(window) if options.cameras else None
    for number, index in enumerate(window.frames):
        frame = window.scene[index]
        points = frame.points()
        write_kitti_points(folder / "velodyne" / f"{number:06d}.bin", points)
        labels = queue_labels(window, index, len(points), ids, reserved)
        labels.astype("<u4").tofile(folder / "labels" / f"{number:06d}.label")
        for image in frame.images():
            if camera is not None and image.camera == camera.camera:
                copy_picture(image, folder / "image_2", f"{number:06d}")
    camera_SE3_lidar = CAMERA_AXES if camera is None else camera.camera_SE3_lidar
    write_text(folder / "calib.txt", calib_text(camera_SE3_lidar, np.eye(3) if camera is None else camera.intrinsics))
    write_text(folder / "poses.txt", poses_text(window.scene.world_SE3_lidar[window.frames], camera_SE3_lidar))
    write_json(folder / "map.json", _map(window, classes, reserved))


def _first_camera(window: Window) -> CameraImage | None:
    return next((image for index in window.frames for image in window.scene[index].images()[:1]), None)


def calib_text(camera_SE3_lidar: Float64, intrinsics: Float64) -> str:
    """KITTI's calib.txt with the camera as P0 … P3 and `Tr` = camera_SE3_lidar."""
    projection = np.hstack([intrinsics, np.zeros((3, 1))])
    rows = {**{f"P{i}": projection for i in range(4)}, "Tr": camera_SE3_lidar[:3]}
    return "".join(f"{name}: {_numbers(matrix)}\n" for name, matrix in rows.items())


def poses_text(world_SE3_lidar: Float64, camera_SE3_lidar: Float64) -> str:
    """KITTI's poses.txt, relative to the first pose of (T, 4, 4): P = Tr · first_SE3_lidar · inv(Tr) a line."""
    first_SE3_lidar = inverse(world_SE3_lidar[0]) @ world_SE3_lidar
    camera_poses = camera_SE3_lidar @ first_SE3_lidar @ inverse(camera_SE3_lidar)
    return "".join(f"{_numbers(pose[:3])}\n" for pose in camera_poses)


def _numbers(matrix: Float64) -> str:
    return " ".join(f"{value:.12e}" for value in np.ravel(matrix))


def _map(window: Window, classes: LabelMap, reserved: int) -> dict[str, object]:
    scene = window.scene
    frames = [
        {
            "number": f"{number:06d}",
            "frame": index,
            "name": scene.frame_names[index],
            "timestamp_ns": int(scene.timestamps_ns[index]),
            "asked": [
                {"unit": u.pick.key.unit, "rank": u.pick.rank, "points": len(u.indices), "reason": u.pick.reason}
                for u in window.asked
                if u.pick.key.frame == index
            ],
        }
        for number, index in enumerate(window.frames)
    ]
    table = [
        {"id": i, "name": n, "train": t}
        for t, (i, n) in enumerate(zip(tool_ids(classes), classes.classes, strict=True))
    ]
    return {
        "scene": scene.id,
        "dataset": scene.dataset,
        "do_not_label_id": reserved,
        "classes": table,
        "frames": frames,
        "world_SE3_first": scene.world_SE3_lidar[window.frames[0]].tolist(),
    }
