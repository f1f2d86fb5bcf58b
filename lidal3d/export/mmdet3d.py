# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Export to mmdet3d: an info file of the frames that were selected, with a label mask for each.

    README.txt
    lidal3d_infos_selected.pkl       {metainfo, data_list}: built-in types and numpy arrays only
    masks/SCENE_FRAME.label          uint32 a point: the class's id, 0 where there is no label: ignored in training
    asked/SCENE_FRAME.bin            uint8 a point: 1 where a label is asked
    points/SCENE_FRAME.bin           float32 x y z intensity, for drives that don't come from an info file

Entries of a drive that was opened from an info file are that file's own: paths, poses, pictures and axes stay, so that
its configs go on working. The masks hold people's answers, where `lidal3d ingest` has written them, and else what the
model assumed; so whatever is trained on sees nothing that nobody labelled. Boxes that are asked stand as `instances`.
"""

from __future__ import annotations

import math
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lidal3d.errors import DataError
from lidal3d.export.classes import UNLABELED, class_list, tool_ids
from lidal3d.export.files import write_kitti_points
from lidal3d.export.options import ExportOptions
from lidal3d.export.queue import LabelQueue, QueuedUnit, by_frame, check_indices, frame_of
from lidal3d.export.windows import safe_name
from lidal3d.files import write_text
from lidal3d.rounds.label_store import HEADER_FILE, LabelStore
from lidal3d.scene.labels import IGNORE, LabelMap
from lidal3d.scene.readers.mmdet3d import Mmdet3dSource
from lidal3d.scene.readers.mmdet3d_info import InfoFile, read_info
from lidal3d.scene.scene import Frame, Scene

INFO_FILE = "lidal3d_infos_selected.pkl"
PROTOCOL = 4  # of the pickle; the same bytes whatever Python writes it

README = """\
The selected frames as an info file for mmdet3d (1.x), written by lidal3d.

{info}     frames: {frames}, units asked in them: {asked}
masks/     uint32 a point: the id of its class, 0 where it has no label. {labels}
asked/     uint8 a point: 1 where a label is asked

Training a segmentor on what is labelled, all else ignored:

    metainfo = dict(classes={classes},
                    seg_label_mapping={mapping}, max_label={largest})
    train_dataloader = dict(dataset=dict(
        data_root={data_root},
        ann_file='{info}',  # the full path of the file, where data_root is another folder
        data_prefix=dict({prefix}),
        metainfo=metainfo, ignore_index={ignore},
        pipeline=[{loader}
                  dict(type='LoadAnnotations3D', with_bbox_3d=False, with_label_3d=False, with_seg_3d=True,
                       seg_3d_dtype='np.uint32', seg_offset=2**16, dataset_type='semantickitti'),
                  dict(type='PointSegClassMapping'), ...]))

as SemanticKittiDataset takes them; of other classes than its own, register a subclass whose METAINFO names them.
After labelling: lidal3d ingest QUEUE ANSWERS --ledger LEDGER --out LABELS, and export again with --labels LABELS.
{boxes}"""

BOXES = """
The asked boxes are the frames' `instances`: candidates of the detector, NOT labels. Correct, remove or confirm each before
training on them. bbox_3d is x y z of the centre (origin=(0.5, 0.5, 0.5)), length, width, height, yaw, in the axes of the
points; bbox_label_3d counts in the classes above; score is the detector's.
"""


def export_mmdet3d(queue: LabelQueue, scenes: Mapping[str, Scene], out: Path, options: ExportOptions) -> None:
    """Write the selection to the folder `out`.

    Raises:
        DataError: the selection or the labels do not fit the drive, or a file of the drive is damaged.
    """
    asked, assumed = by_frame(queue.asked), by_frame(queue.assumed)
    frames = [frame_of(scenes, *key) for key in sorted({*asked, *assumed})]
    classes = class_list(frames[0].scene.label_map if frames else None, options.predicted_classes)
    labels = _label_store(options, classes)
    writer = _Writer(out, classes, labels)
    entries = [
        writer.entry(
            frame, asked.get((frame.scene.id, frame.index), []), assumed.get((frame.scene.id, frame.index), [])
        )
        for frame in frames
    ]
    out.mkdir(parents=True, exist_ok=True)
    info = {"metainfo": writer.metainfo(queue), "data_list": entries}
    (out / INFO_FILE).write_bytes(pickle.dumps(info, protocol=PROTOCOL))
    write_text(out / "README.txt", _readme(queue, frames, classes, labels))


def metainfo_of(classes: LabelMap) -> dict[str, Any]:
    """What mmdet3d's data sets, and lidal3d's reader, need to know of the masks' ids and the boxes' classes."""
    mapping = {UNLABELED: len(classes.classes)}
    mapping |= {tool_id: train for train, tool_id in enumerate(tool_ids(classes))}
    return {
        "dataset": "lidal3d",
        "info_version": "1.1",
        "classes": list(classes.classes),
        "categories": {name: train for train, name in enumerate(classes.classes)},
        "palette": [list(color) for color in classes.colors],
        "seg_label_mapping": mapping,
        "max_label": max(mapping),
    }


def _label_store(options: ExportOptions, classes: LabelMap) -> LabelStore | None:
    if options.labels is None:
        return None
    store = LabelStore.open(options.labels)
    if store.classes != classes.classes:
        counts = f"{len(store.classes)} classes {list(store.classes)[:3]}…, the queue has {len(classes.classes)}"
        raise DataError(
            f"{options.labels / HEADER_FILE}: {counts} {list(classes.classes)[:3]}…; give the queue's labels"
        )
    return store


class _Writer:
    """Writes the files of one frame after the other, and says what the info file says of each."""

    def __init__(self, out: Path, classes: LabelMap, labels: LabelStore | None) -> None:
        self._out, self._classes, self._labels = out, classes, labels
        self._ids = np.full(IGNORE + 1, UNLABELED, np.uint32)
        self._ids[: len(classes.classes)] = tool_ids(classes)
        self._infos: dict[Path, InfoFile] = {}

    def metainfo(self, queue: LabelQueue) -> dict[str, Any]:
        """What the info file says of all frames: what the drive's own said, and the masks' classes."""
        own = metainfo_of(self._classes)
        if not self._infos:
            return own
        before = dict(next(iter(self._infos.values())).metainfo)
        # `categories` number the instances, which are the detector's only where boxes are asked.
        kept = {} if _boxes_of(queue.asked) else {name: before[name] for name in ("categories",) if name in before}
        return {**before, **own, **kept, "dataset": before.get("dataset", own["dataset"])}

    def entry(self, frame: Frame, asked: list[QueuedUnit], assumed: list[QueuedUnit]) -> dict[str, Any]:
        """The files of a frame, and its entry."""
        points = frame.points()
        for unit in (*asked, *assumed):
            check_indices(unit, len(points), frame)
        stem = safe_name(f"{frame.scene.id}_{frame.name}")
        is_asked = np.zeros(len(points), np.uint8)
        for unit in asked:
            is_asked[unit.indices] = 1
        self._write(f"masks/{stem}.label", self._ids[self._train_ids(frame, len(points), assumed)].astype("<u4"))
        self._write(f"asked/{stem}.bin", is_asked)
        entry = self._own_entry(frame, points, stem)
        if boxes := _boxes_of(asked):
            entry["instances"] = [instance_of(unit, _is_turned(frame)) for unit in boxes]
        units = [
            {"rank": u.pick.rank, "unit": u.pick.key.unit, "kind": u.pick.kind, "points": u.pick.points} for u in asked
        ]
        return {
            **entry,
            "pts_semantic_mask_path": f"masks/{stem}.label",
            "pts_asked_mask_path": f"asked/{stem}.bin",
            "lidal3d": {"scene": frame.scene.id, "frame": frame.name, "asked": units},
        }

    def _train_ids(self, frame: Frame, points: int, assumed: list[QueuedUnit]) -> npt.NDArray[np.uint8]:
        """(N,) what people answered, else what the model assumed, else 255."""
        train = np.full(points, IGNORE, np.uint8)
        for unit in assumed:
            if unit.labels is not None:
                train[unit.indices] = unit.labels
        if self._labels is None:
            return train
        answered = self._labels.labels(frame.scene.id, frame.name, points)
        return np.where(answered != IGNORE, answered, train)

    def _own_entry(self, frame: Frame, points: npt.NDArray[np.float32], stem: str) -> dict[str, Any]:
        source = frame.scene.source
        if isinstance(source, Mmdet3dSource):
            path = source.root / source.info
            if path not in self._infos:
                self._infos[path] = read_info(path)
            return dict(self._infos[path].entries[source.entries[frame.index]])
        write_kitti_points(self._out / "points" / f"{stem}.bin", points)
        return {
            "sample_idx": frame.index,
            "scene_name": frame.scene.id,
            "timestamp": frame.timestamp_ns / 1e9,
            "ego2global": frame.world_SE3_lidar.tolist(),
            "lidar_points": {
                "lidar_path": f"points/{stem}.bin",
                "num_pts_feats": points.shape[1],
                "lidar2ego": np.eye(4).tolist(),
            },
            "images": {},
            "instances": [],
        }

    def _write(self, name: str, values: npt.NDArray[np.generic]) -> None:
        path = self._out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        values.tofile(path)


def _boxes_of(units: Sequence[QueuedUnit]) -> list[QueuedUnit]:
    return [unit for unit in units if unit.pick.box is not None]


def _is_turned(frame: Frame) -> bool:
    return isinstance(frame.scene.source, Mmdet3dSource) and frame.scene.source.is_turned


def instance_of(unit: QueuedUnit, is_turned: bool) -> dict[str, Any]:
    """An asked box as a candidate among `instances`, in the axes of the info file's points."""
    assert unit.pick.box is not None
    x, y, z, length, width, height, yaw = map(float, unit.pick.box)
    if is_turned:
        x, y, yaw = -y, x, yaw + math.pi / 2
    predicted = int(unit.pick.scores.get("predicted_class", 0))
    return {
        "bbox_3d": [x, y, z, length, width, height, (yaw + math.pi) % (2 * math.pi) - math.pi],
        "bbox_3d_isvalid": True,
        "bbox_label": predicted,
        "bbox_label_3d": predicted,
        "num_lidar_pts": unit.pick.points,
        "num_radar_pts": 0,
        "velocity": [math.nan, math.nan],
        "score": float(unit.pick.scores.get("objectness", math.nan)),
        "rank": unit.pick.rank,
    }


def _readme(queue: LabelQueue, frames: list[Frame], classes: LabelMap, labels: LabelStore | None) -> str:
    own = bool(frames) and isinstance(frames[0].scene.source, Mmdet3dSource)
    columns = frames[0].scene.source.columns if own else 4  # type: ignore[attr-defined]
    metainfo = metainfo_of(classes)
    answers = (
        "People's answers are in, and the model's assumptions"
        if labels
        else "Nobody's answers yet: the model's assumptions"
    )
    loader = f"dict(type='LoadPointsFromFile', coord_type='LIDAR', load_dim={columns}, use_dim=4),"
    return README.format(
        info=INFO_FILE,
        frames=len(frames),
        asked=len(queue.asked),
        labels=f"{answers} ({len(queue.assumed)} units).",
        classes=metainfo["classes"],
        mapping=metainfo["seg_label_mapping"],
        largest=metainfo["max_label"],
        ignore=len(classes.classes),
        data_root="'the folder of the info file that the drive was opened from'" if own else "'this folder'",
        prefix="pts='as before', pts_semantic_mask='the full path of this folder'"
        if own
        else "pts='', pts_semantic_mask=''",
        loader=loader,
        boxes=BOXES if _boxes_of(queue.asked) else "",
    )
