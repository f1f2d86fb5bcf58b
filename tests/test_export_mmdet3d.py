# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""A selection as an info file of mmdet3d: what it says, what its masks hold, and that it opens as a drive again."""

from __future__ import annotations

import pickle
from pathlib import Path

import miniature as mini
import numpy as np
import pytest
from box_drives import CLASSES, write_boxes
from command_line import CommandLine, street, write_drive

from lidal3d.errors import DataError
from lidal3d.export.classes import class_list, tool_ids
from lidal3d.export.mmdet3d import INFO_FILE, export_mmdet3d
from lidal3d.export.options import ExportOptions
from lidal3d.export.queue import LabelQueue, label_queue
from lidal3d.rounds.label_store import LabelStore
from lidal3d.scene.open import open_drive
from lidal3d.scene.restricted_pickle import loads
from lidal3d.scene.scene import Scene
from lidal3d.select.manifest import read_manifest
from lidal3d.select.selection import Pick, Selection, UnitKey
from lidal3d.units.boxes import points_in_boxes


@pytest.fixture
def lidal3d(capsys) -> CommandLine:
    return CommandLine(capsys)


def kitti(tmp_path: Path) -> dict[str, Scene]:
    scenes = mini.make_scenes(1, ("00", "01"), (10, 40, 70), instances=True)
    return {scene.id: scene for scene in open_drive(mini.write_semantickitti(tmp_path / "drive", scenes))}


def pick(rank: int, scene: Scene, frame: int, unit: int, kind: str = "grid") -> Pick:
    return Pick(
        rank, UnitKey(scene.id, frame, unit), scene.frame_names[frame], frame, kind, 3, 3.0, (0.0, 0.0, 0.0), {}, ""
    )


def queue_of(scenes: dict[str, Scene]) -> LabelQueue:
    first, second = scenes.values()
    asked = Selection((pick(1, second, 3, 0), pick(2, first, 0, 4)), "lidal", "points", 9, 6)
    pseudo = Selection((pick(1, second, 3, 7), pick(2, first, 2, 1)), "lidal pseudo", "points", 9, 6)
    labels = [np.array([0, 8, 255], np.uint8), np.array([14, 14, 14], np.uint8)]
    return label_queue(asked, [np.array([0, 5, 7]), np.array([1, 2, 3])], pseudo,
                       [np.array([10, 11, 12]), np.array([4, 5, 6])], labels)  # fmt: skip


def info_of(out: Path) -> dict:
    """As mmdet3d reads it, and as lidal3d does: nothing but built-in types and arrays."""
    content = (out / INFO_FILE).read_bytes()
    assert loads(content, INFO_FILE)["metainfo"] == pickle.loads(content)["metainfo"]
    return pickle.loads(content)


def mask_of(out: Path, entry: dict) -> np.ndarray:
    """What mmdet3d's LoadAnnotations3D (semantickitti) and PointSegClassMapping make of a mask, in plain numpy."""
    metainfo = info_of(out)["metainfo"]
    mapping = np.zeros(metainfo["max_label"] + 1, np.int64)
    for raw, train in metainfo["seg_label_mapping"].items():
        mapping[raw] = train
    content = (out / entry["pts_semantic_mask_path"]).read_bytes()
    return mapping[np.frombuffer(content, np.uint32).astype(np.int64) % 2**16]


def test_masks_train_on_assumptions_and_ignore_the_rest(tmp_path):
    scenes, out = kitti(tmp_path), tmp_path / "out"
    export_mmdet3d(queue_of(scenes), scenes, out, ExportOptions())
    info = info_of(out)
    assert [entry["lidal3d"]["frame"] for entry in info["data_list"]] == ["000000", "000002", "000003"]
    for entry, assumed, asked in zip(
        info["data_list"], ({}, {4: 14, 5: 14, 6: 14}, {10: 0, 11: 8}), ([1, 2, 3], [], [0, 5, 7]), strict=True
    ):
        frame = scenes[entry["lidal3d"]["scene"]][int(entry["lidal3d"]["frame"])]
        expected = np.full(len(frame.points()), 19)
        expected[list(assumed)] = list(assumed.values())
        np.testing.assert_array_equal(mask_of(out, entry), expected)
        flags = np.fromfile(out / entry["pts_asked_mask_path"], np.uint8)
        assert np.flatnonzero(flags).tolist() == asked
        assert len(flags) == len(expected)
    assert [unit["rank"] for entry in info["data_list"] for unit in entry["lidal3d"]["asked"]] == [2, 1]


def test_answers_come_before_assumptions_and_truth_never_leaks(tmp_path):
    scenes, out = kitti(tmp_path), tmp_path / "out"
    classes = scenes["00"].label_map.classes
    store = LabelStore.open_or_create(tmp_path / "labels", classes)
    points = len(scenes["01"][3].points())
    answers = np.full(points, 255, np.uint8)
    answers[[0, 5, 11]] = [3, 4, 2]
    store.write("01", "000003", answers)
    export_mmdet3d(queue_of(scenes), scenes, out, ExportOptions(labels=tmp_path / "labels"))
    expected = np.full(points, 19)
    expected[[0, 5, 10, 11]] = [3, 4, 0, 2]
    np.testing.assert_array_equal(mask_of(out, info_of(out)["data_list"][2]), expected)
    assert "People's answers are in" in (out / "README.txt").read_text()


def test_labels_of_other_classes_or_sweeps_are_refused(tmp_path):
    scenes = kitti(tmp_path)
    LabelStore.open_or_create(tmp_path / "labels", ("car", "road"))
    with pytest.raises(DataError, match=r"labels\.yaml: 2 classes \['car', 'road'\]…, the queue has 19"):
        export_mmdet3d(queue_of(scenes), scenes, tmp_path / "out", ExportOptions(labels=tmp_path / "labels"))
    other = LabelStore.open_or_create(tmp_path / "other", scenes["00"].label_map.classes)
    other.write("00", "000000", np.zeros(7, np.uint8))
    with pytest.raises(DataError, match=r"000000\.npy: uint8 of shape \(7,\), the sweep has"):
        export_mmdet3d(queue_of(scenes), scenes, tmp_path / "out", ExportOptions(labels=tmp_path / "other"))


def test_the_export_opens_as_a_drive(tmp_path):
    scenes, out = kitti(tmp_path), tmp_path / "out"
    export_mmdet3d(queue_of(scenes), scenes, out, ExportOptions())
    again = {scene.id: scene for scene in open_drive(out)}
    assert {name: len(scene) for name, scene in again.items()} == {"00": 2, "01": 1}
    for name, frames in {"00": (0, 2), "01": (3,)}.items():
        assert again[name].label_map.classes == scenes[name].label_map.classes
        for place, index in enumerate(frames):
            before, after = scenes[name][index], again[name][place]
            np.testing.assert_array_equal(after.points(), before.points())
            np.testing.assert_allclose(after.world_SE3_lidar, before.world_SE3_lidar, atol=1e-9)
            assert after.timestamp_ns == before.timestamp_ns
            labels = after.labels()
            assert ((labels == 255) | np.isin(labels, [0, 8, 14])).all()


def test_equal_selections_are_equal_bytes(tmp_path):
    scenes = kitti(tmp_path)
    for name in ("a", "b"):
        export_mmdet3d(queue_of(scenes), scenes, tmp_path / name, ExportOptions())
    for path in (tmp_path / "a").rglob("*.*"):
        assert path.read_bytes() == (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes()


def test_a_drive_of_mmdet3d_keeps_its_entries(tmp_path):
    drawn = mini.make_scenes(6, ("a", "b"), range(32), ("CAM_FRONT",))
    root = mini.write_mmdet3d(tmp_path / "drive", drawn)
    scenes, out = {scene.id: scene for scene in open_drive(root)}, tmp_path / "out"
    export_mmdet3d(queue_of(scenes), scenes, out, ExportOptions())
    before = pickle.loads((root / "nuscenes_infos_train.pkl").read_bytes())
    info = info_of(out)
    assert not (out / "points").exists()
    assert info["metainfo"]["dataset"] == "nuscenes"
    assert info["metainfo"]["categories"] == {"car": 0}
    assert len(info["data_list"]) == 3
    for entry in info["data_list"]:
        (own,) = [e for e in before["data_list"] if e["lidar_points"] == entry["lidar_points"]]
        for key in ("ego2global", "images", "timestamp", "instances", "sample_idx"):
            assert entry[key] == own[key]
        assert entry["pts_semantic_mask_path"].startswith("masks/")
        scene, name = entry["lidal3d"]["scene"], entry["lidal3d"]["frame"]
        index = scenes[scene].frame_names.index(name)
        assert len(mask_of(out, entry)) == len(scenes[scene][index].points())
    assert "load_dim=5" in (out / "README.txt").read_text()


def write_mmdet3d(root: Path, *scenes: mini.MiniScene) -> Path:
    return mini.write_mmdet3d(root, scenes)


@pytest.mark.parametrize("layout", ["semantickitti", "mmdet3d"])
def test_asked_boxes_stand_as_candidates(tmp_path, lidal3d, layout):
    drawn = [street(4, 400)]
    drive = (write_drive if layout == "semantickitti" else write_mmdet3d)(tmp_path / "drive", *drawn)
    boxes = write_boxes(tmp_path / "boxes", *drawn)
    if layout == "mmdet3d":
        (scene,) = open_drive(drive)
        for k, name in enumerate(scene.frame_names):
            (boxes / "boxes" / "00" / f"{k:06d}.npz").rename(boxes / "boxes" / "00" / f"{name}.npz")
    lidal3d.fine("score", drive, "--boxes", boxes, "-o", tmp_path / "scores")
    options = ("--set", "select.score=entropy", "--set", "select.min_points=1", "-b", "3:boxes")
    lidal3d.fine("select", tmp_path / "scores", *options, "-o", tmp_path / "queue")
    out = tmp_path / "out"
    assert "README.txt" in lidal3d.fine("export", tmp_path / "queue", "-f", "mmdet3d", "-o", out)
    info, picks = info_of(out), read_manifest(tmp_path / "queue").selection.picks
    assert info["metainfo"]["categories"] == {name: k for k, name in enumerate(CLASSES)}
    found = [(entry, instance) for entry in info["data_list"] for instance in entry["instances"]]
    assert len(found) == len(picks) == 3
    for entry, instance in found:
        chosen = picks[instance["rank"] - 1]
        assert chosen.frame_name == entry["lidal3d"]["frame"]
        assert instance["bbox_label_3d"] == chosen.scores["predicted_class"]
        assert instance["score"] == chosen.scores["objectness"]
        assert -np.pi <= instance["bbox_3d"][6] < np.pi
        root = out if layout == "semantickitti" else drive / "samples" / "LIDAR_TOP"
        file = np.fromfile(root / entry["lidar_points"]["lidar_path"], np.float32)
        cloud = file.reshape(-1, entry["lidar_points"]["num_pts_feats"])
        box = np.array(instance["bbox_3d"], np.float32)[None]
        box[0, 3:6] += 1e-4  # rounding of turned coordinates
        inside = np.flatnonzero(points_in_boxes(cloud, box, np.ones(1)) == 0)
        asked = np.flatnonzero(np.fromfile(out / entry["pts_asked_mask_path"], np.uint8))
        mine = read_manifest(tmp_path / "queue").points[instance["rank"] - 1]
        assert set(mine) <= set(inside)
        assert set(mine) <= set(asked)
        assert instance["num_lidar_pts"] == len(mine)
    assert "NOT labels" in (out / "README.txt").read_text()


def test_labels_are_for_mmdet3d_only(tmp_path, lidal3d):
    fault = lidal3d.fault("export", tmp_path, "-f", "segments_ai", "--labels", tmp_path, "-o", tmp_path / "out", code=2)
    assert "--labels: segments_ai carries no answers (known: mmdet3d)" in fault


def test_ids_are_those_of_the_labelling_tools(tmp_path):
    scenes, out = kitti(tmp_path), tmp_path / "out"
    export_mmdet3d(queue_of(scenes), scenes, out, ExportOptions())
    ids = tool_ids(class_list(scenes["00"].label_map))
    assert info_of(out)["metainfo"]["seg_label_mapping"] == {0: 19, **{raw: k for k, raw in enumerate(ids)}}
