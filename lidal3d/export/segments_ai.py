# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Export to Segments.ai: one `pointcloud-segmentation-sequence` sample a window, with pre-labels.

    README.txt  categories.json  samples.json
    prelabels/SAMPLE.json          label attributes, format_version 0.2
    files/SCENE_FRAME.bin          kitti: float32 x y z intensity in the sensor frame
    files/SCENE_FRAME_CAMERA.png

Point clouds, bounds and camera extrinsics are in the sensor frame of their sweep; `ego_pose` maps it to the frame of
the window's first sweep, because the viewer works in float32.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lidal3d.export.classes import DO_NOT_LABEL_NAME, class_list, do_not_label_id, queue_labels, tool_ids
from lidal3d.export.files import copy_picture, write_kitti_points
from lidal3d.export.options import ExportOptions
from lidal3d.export.queue import LabelQueue
from lidal3d.export.windows import Window, safe_name, windows
from lidal3d.files import write_json, write_text
from lidal3d.scene.labels import LabelMap
from lidal3d.scene.pose import Float64, inverse, transform
from lidal3d.scene.scene import CameraImage, Frame, Scene

BOUNDS_MARGIN_M = 2.0

README = """\
Labelling queue for Segments.ai, written by lidal3d.

1. Put the folder files/ where the URLs in samples.json point to ({prefix}).
2. Make a dataset of type pointcloud-segmentation-sequence with categories.json as its task attributes.
3. Upload samples and pre-labels (pip install segments-ai):

     import json, pathlib, segments
     client = segments.SegmentsClient(API_KEY)
     for sample in json.loads(pathlib.Path("samples.json").read_text()):
         added = client.add_sample("USER/DATASET", **sample)
         label = json.loads(pathlib.Path("prelabels", sample["name"] + ".json").read_text())
         client.add_label(added.uuid, "ground-truth", label, label_status="PRELABELED")

Labellers see '{reserved_name}' on everything that nobody asks for: hide that category and label what has none yet.
Samples with a higher priority come first.
"""


def export_segments_ai(queue: LabelQueue, scenes: Mapping[str, Scene], out: Path, options: ExportOptions) -> None:
    """Write the queue to the folder `out`.

    Raises:
        DataError: the selection does not fit the drive, or a file of the drive is damaged.
    """
    queued = sorted(windows(queue, scenes, options.margin, options.max_frames), key=lambda w: w.best_rank)
    first_map = queued[0].scene.label_map if queued else next((s.label_map for s in scenes.values()), None)
    classes = class_list(first_map, options.predicted_classes)
    reserved = do_not_label_id(tool_ids(classes))
    out.mkdir(parents=True, exist_ok=True)
    samples = []
    for window in queued:
        frames, labels = _write_frames(window, out / "files", tool_ids(classes), reserved, options)
        samples.append(_sample(window, frames, queue))
        write_text(out / "prelabels" / f"{window.name}.json", json.dumps(prelabel(labels)) + "\n")
    write_json(out / "samples.json", samples)
    write_json(out / "categories.json", categories(classes, reserved))
    prefix = options.url_prefix or "no prefix was given: plain file names"
    write_text(out / "README.txt", README.format(prefix=prefix, reserved_name=DO_NOT_LABEL_NAME))


def categories(classes: LabelMap, reserved: int) -> dict[str, Any]:
    """The dataset's task attributes: every class, and do-not-label."""
    rows = [*zip(tool_ids(classes), classes.classes, classes.colors, strict=True)]
    rows.append((reserved, DO_NOT_LABEL_NAME, (40, 40, 40)))
    return {"format_version": "0.1", "categories": [{"id": i, "name": n, "color": list(c)} for i, n, c in rows]}


def prelabel(frame_labels: list[npt.NDArray[np.uint32]]) -> dict[str, Any]:
    """Label attributes from (N,) category ids a frame, 0 for none: an annotation a category, the same in all frames."""
    present = sorted({int(i) for labels in frame_labels for i in np.unique(labels)} - {0})
    frames = []
    for labels in frame_labels:
        # Annotation ids are small and shared by all frames, so that a category is one track.
        points = np.searchsorted(present, labels) + 1 if present else np.zeros(len(labels), dtype=np.int64)
        points = np.where(labels == 0, 0, points)
        annotations = [
            {"id": int(i), "category_id": present[int(i) - 1], "track_id": int(i)} for i in np.unique(points) if i
        ]
        frames.append({"annotations": annotations, "point_annotations": points.tolist()})
    return {"format_version": "0.2", "frames": frames}


def _write_frames(
    window: Window, files: Path, ids: tuple[int, ...], reserved: int, options: ExportOptions
) -> tuple[list[dict[str, Any]], list[npt.NDArray[np.uint32]]]:
    first_SE3_lidar = inverse(window.scene.world_SE3_lidar[window.frames[0]]) @ window.scene.world_SE3_lidar
    asked_xyz: dict[int, npt.NDArray[np.floating]] = {}
    frames, labels = [], []
    for index in window.frames:
        frame = window.scene[index]
        points = frame.points()
        stem = safe_name(f"{window.scene.id}_{frame.name}")
        write_kitti_points(files / f"{stem}.bin", points)
        labels.append(queue_labels(window, index, len(points), ids, reserved))
        asked_xyz[index] = points[labels[-1] == 0, :3]
        images = [_image(image, files, stem, options) for image in frame.images()] if options.cameras else []
        frames.append(_frame(frame, f"{options.url_prefix}{stem}.bin", first_SE3_lidar[index], images))
    for index, entry in zip(window.frames, frames, strict=True):
        entry["bounds"] = _bounds(index, asked_xyz, first_SE3_lidar)
    return frames, labels


def _frame(frame: Frame, url: str, first_SE3_lidar: Float64, images: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "pcd": {"url": url, "type": "kitti"},
        "name": frame.name,
        "timestamp": str(frame.timestamp_ns),
        "ego_pose": {"position": _xyz(first_SE3_lidar[:3, 3]), "heading": _quaternion(first_SE3_lidar[:3, :3])},
        "images": images,
    }


def _bounds(index: int, asked_xyz: dict[int, npt.NDArray[np.floating]], first_SE3_lidar: Float64) -> dict[str, float]:
    """The box of what is asked in this frame, or, in a frame of context, of what is asked in the window."""
    own = asked_xyz[index]
    if not len(own):
        lidar_SE3_first = inverse(first_SE3_lidar[index])
        moved = [transform(lidar_SE3_first @ first_SE3_lidar[other], xyz) for other, xyz in asked_xyz.items()]
        own = np.concatenate(moved)
    if not len(own):
        return {}
    low, high = own.min(axis=0) - BOUNDS_MARGIN_M, own.max(axis=0) + BOUNDS_MARGIN_M
    box = {f"{side}_{axis}": round(float(value), 2) for side, corner in (("min", low), ("max", high))
           for axis, value in zip("xyz", corner, strict=True)}  # fmt: skip
    return dict(sorted(box.items()))


def _image(image: CameraImage, files: Path, stem: str, options: ExportOptions) -> dict[str, Any]:
    path = copy_picture(image, files, safe_name(f"{stem}_{image.camera}"))
    lidar_SE3_camera = inverse(image.camera_SE3_lidar)
    return {
        "url": f"{options.url_prefix}{path.name}",
        "name": image.camera,
        "intrinsics": {"intrinsic_matrix": image.intrinsics.tolist()},
        "extrinsics": {
            "translation": _xyz(lidar_SE3_camera[:3, 3]),
            "rotation": _quaternion(lidar_SE3_camera[:3, :3]),
        },
        "camera_convention": "OpenCV",
    }


def _sample(window: Window, frames: list[dict[str, Any]], queue: LabelQueue) -> dict[str, Any]:
    best = window.asked[0].pick
    ranks = ", ".join(f"{unit.pick.rank} (frame {unit.pick.frame_name})" for unit in window.asked)
    return {
        "name": window.name,
        "priority": float(len(queue.asked) - window.best_rank + 1),
        "metadata": {
            "scene": window.scene.id,
            "strategy": queue.selection.strategy,
            "best_rank": window.best_rank,
            "units": len(window.asked),
            "points": int(sum(len(unit.indices) for unit in window.asked)),
        },
        "readme": f"Label only points that have no category yet. Regions by rank: {ranks}. {best.reason}",
        "attributes": {"frames": frames},
    }


def _xyz(vector: Float64) -> dict[str, float]:
    return dict(zip("xyz", map(float, vector), strict=True))


def _quaternion(rotation: Float64) -> dict[str, float]:
    w, x, y, z = quaternion_from_rotation(rotation)
    return {"qx": x, "qy": y, "qz": z, "qw": w}


def quaternion_from_rotation(rotation: Float64) -> tuple[float, float, float, float]:
    """(w, x, y, z), w ≥ 0, of a 3×3 rotation: the eigenvector of Bar-Itzhack's symmetric 4×4 matrix (2000, eq. 15)."""
    r = rotation
    k = np.array([
        [r[0, 0] - r[1, 1] - r[2, 2], 0, 0, 0],
        [r[1, 0] + r[0, 1], r[1, 1] - r[0, 0] - r[2, 2], 0, 0],
        [r[2, 0] + r[0, 2], r[2, 1] + r[1, 2], r[2, 2] - r[0, 0] - r[1, 1], 0],
        [r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1], r[0, 0] + r[1, 1] + r[2, 2]],
    ])  # fmt: skip
    x, y, z, w = np.linalg.eigh(k / 3)[1][:, -1]  # eigh reads the lower triangle only
    sign = -1.0 if w < 0 else 1.0
    return sign * float(w), sign * float(x), sign * float(y), sign * float(z)
