# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Export to Label Studio, for pictures: one task an image, with what is asked as polygons.

    README.txt  label_config.xml  tasks.json
    images/SCENE_FRAME.png         the pictures as they were taken
    masks/SCENE_FRAME.png          8 bits a pixel of the picture: 0 where a label is asked, 255 elsewhere
    assumed/SCENE_FRAME.png        8 bits: the train id that the model assumed, 255 elsewhere; for any training in 2D

A polygon goes along the edges of the reduced picture's pixels, in percent of the picture: filled, it is the unit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt

from lidal3d.export.classes import class_list
from lidal3d.export.files import copy_picture
from lidal3d.export.options import ExportOptions
from lidal3d.export.outlines import at_centres, mask_of, outlines
from lidal3d.export.queue import LabelQueue, QueuedUnit, by_frame, check_indices, frame_of
from lidal3d.export.windows import safe_name
from lidal3d.files import write_json, write_text
from lidal3d.scene.labels import IGNORE, LabelMap
from lidal3d.scene.pixels import picture_shape
from lidal3d.scene.scene import CameraImage, Frame, Scene

TASKS_FILE = "tasks.json"
TO_LABEL = "to_label"
ASKED = 0  # in masks/

README = """\
Labelling queue for Label Studio (labelstud.io), written by lidal3d: {tasks} pictures, {units} units in them.

1. Put the folder images/ where the addresses in tasks.json point to ({prefix}).
   For files on Label Studio's own machine: export with --url-prefix "/data/local-files/?d=FOLDER/", start it with
   LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true and add FOLDER as a local storage of the project.
2. Make a project with label_config.xml as its labelling interface, and import tasks.json.
3. Order the tasks by prediction score, lowest first: the most valuable picture comes first.
4. A polygon '{to_label}' is a part of the picture that is asked about. Give it its class; where it holds several
   classes, draw each part in it, with polygons or the brush, and delete the polygon. What is drawn beside the asked
   parts is left out; what reaches into another one that still has its polygon doesn't answer it.
5. Export the project as JSON (not JSON-MIN) and take the answers in, also when some pictures are still open:
   lidal3d ingest QUEUE EXPORT.json --ledger ledger.jsonl --out labels

masks/     for any other tool: pictures of the same size, {asked} where a label is asked, {ignore} elsewhere
{assumed}classes    {classes}
"""
ASSUMED = "assumed/   what the model assumed: the place of the class in the list below from 0 on, 255 elsewhere\n"


def export_label_studio(queue: LabelQueue, scenes: Mapping[str, Scene], out: Path, options: ExportOptions) -> None:
    """Write the queue to the folder `out`.

    Raises:
        DataError: the selection does not fit the drive, or a picture of the drive is damaged.
    """
    asked, assumed = by_frame(queue.asked), by_frame(queue.assumed)
    frames = sorted(asked, key=lambda key: min(unit.pick.rank for unit in asked[key]))
    first_map = next((scenes[key[0]].label_map for key in frames if key[0] in scenes), None)
    classes = class_list(first_map, options.predicted_classes)
    out.mkdir(parents=True, exist_ok=True)
    tasks = [_task(frame_of(scenes, *key), asked[key], queue, out, options) for key in frames]
    for key, units in assumed.items():
        _write_assumed(frame_of(scenes, *key), units, out / "assumed")
    write_json(out / TASKS_FILE, tasks)
    write_text(out / "label_config.xml", label_config(classes))
    prefix = options.url_prefix or "no prefix was given: plain file names"
    write_text(out / "README.txt", README.format(
        tasks=len(tasks), units=len(queue.asked), prefix=prefix, to_label=TO_LABEL, asked=ASKED, ignore=IGNORE,
        assumed=ASSUMED if assumed else "", classes=", ".join(classes.classes) or "(unknown)",
    ))  # fmt: skip


def label_config(classes: LabelMap) -> str:
    """The labelling interface: polygons and a brush, to_label and every class with its colour."""
    view = ElementTree.Element("View")
    ElementTree.SubElement(view, "Header", value="$reason")
    ElementTree.SubElement(view, "Image", name="image", value="$image", zoom="true", zoomControl="true")
    entries = [
        (name, "#{:02x}{:02x}{:02x}".format(*color))
        for name, color in zip(classes.classes, classes.colors, strict=True)
    ]
    polygons = [(TO_LABEL, "#ffffff"), *entries]
    for tag, name, labels in (("PolygonLabels", "label", polygons), ("BrushLabels", "brush", entries)):
        box = ElementTree.SubElement(view, tag, name=name, toName="image")
        for label, color in labels:
            ElementTree.SubElement(box, "Label", value=label, background=color)
    ElementTree.indent(view)
    return ElementTree.tostring(view, encoding="unicode") + "\n"


def picture_name(frame: Frame) -> str:
    """A frame's file name in an export, without its suffix; unique in the drive."""
    return safe_name(f"{frame.scene.id}_{frame.name}")


def unit_mask(units: Sequence[QueuedUnit], frame: Frame, height: int, width: int) -> npt.NDArray[np.bool_]:
    """(H, W) whether a pixel of the reduced picture is in one of the units. Raises DataError for one outside."""
    for unit in units:
        check_indices(unit, height * width, frame)
    return mask_of(np.concatenate([unit.indices for unit in units]), height, width)


def _task(
    frame: Frame, units: list[QueuedUnit], queue: LabelQueue, out: Path, options: ExportOptions
) -> dict[str, Any]:
    (image,), name = frame.images(), picture_name(frame)
    height, width = picture_shape(frame.points())
    units = sorted(units, key=lambda unit: unit.pick.rank)
    asked = at_centres(unit_mask(units, frame, height, width), image.width, image.height)
    _write_png(out / "masks" / f"{name}.png", np.where(asked, ASKED, IGNORE).astype(np.uint8))
    file = copy_picture(image, out / "images", name).name if options.cameras else f"{name}{image.path.suffix.lower()}"
    best = units[0].pick
    return {
        "data": {
            "image": f"{options.url_prefix}images/{file}",
            "scene": best.key.scene,
            "frame": best.key.frame,
            "frame_name": frame.name,
            "camera": image.camera,
            "rank": best.rank,
            "units": len(units),
            "reason": best.reason,
        },
        "predictions": [
            {
                "model_version": f"lidal3d-{queue.selection.strategy}",
                "score": _place(best.rank, queue),
                "result": [part for unit in units for part in _polygons(unit, image, queue, height, width)],
            }
        ],
    }


def _place(rank: int, queue: LabelQueue) -> float:
    """Label Studio shows the lowest score first: 0 for the first of the queue, below 1 for the last."""
    return round((rank - 1) / len(queue.asked), 6)


def _polygons(unit: QueuedUnit, image: CameraImage, queue: LabelQueue, height: int, width: int) -> list[dict[str, Any]]:
    corners = outlines(mask_of(unit.indices, height, width))
    return [
        {
            "id": f"rank{unit.pick.rank}" + (f"-{part}" if part else ""),
            "type": "polygonlabels",
            "from_name": "label",
            "to_name": "image",
            "original_width": image.width,
            "original_height": image.height,
            "image_rotation": 0,
            "score": _place(unit.pick.rank, queue),
            "meta": {"text": [f"{unit.pick.rank}: {unit.pick.reason}"]},
            "value": {
                "points": (100.0 * polygon / [width, height]).round(6).tolist(),
                "closed": True,
                "polygonlabels": [TO_LABEL],
            },
        }
        for part, polygon in enumerate(corners)
    ]


def _write_assumed(frame: Frame, units: Sequence[QueuedUnit], folder: Path) -> None:
    (image,) = frame.images()
    height, width = picture_shape(frame.points())
    labels = np.full(height * width, IGNORE, np.uint8)
    for unit in units:
        check_indices(unit, len(labels), frame)
        if unit.labels is not None:
            labels[unit.indices] = unit.labels
    _write_png(
        folder / f"{picture_name(frame)}.png", at_centres(labels.reshape(height, width), image.width, image.height)
    )


def _write_png(path: Path, values: npt.NDArray[np.uint8]) -> None:
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)
