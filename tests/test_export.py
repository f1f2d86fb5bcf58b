# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Exporters: what is written is read back and compared with the selection it was made from."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from lidal3d.errors import DataError, UsageError
from lidal3d.export.classes import class_list, do_not_label_id, tool_ids
from lidal3d.export.exporters import EXPORTERS, OF_PICTURES
from lidal3d.export.options import ExportOptions
from lidal3d.export.queue import LabelQueue, label_queue
from lidal3d.export.segments_ai import quaternion_from_rotation
from lidal3d.export.windows import windows
from lidal3d.scene.labels import LabelMap
from lidal3d.scene.pose import from_rotation_translation, inverse, rotation_from_quaternion, transform
from lidal3d.scene.scene import CameraImage, Scene
from lidal3d.select.selection import Pick, Selection, UnitKey

CLASSES = LabelMap(
    "toy", ("car", "road", "tree"), ((255, 0, 0), (9, 9, 9), (0, 255, 0)), {10: 0, 40: 1, 70: 2}, (10, 40, 70)
)
RESERVED = 999


@dataclass(frozen=True)
class ToySource:
    """Frames of 40 + index random points, with or without a camera picture."""

    folder: Path
    cameras: bool

    def points_path(self, index: int) -> Path:
        return self.folder / f"{index}.bin"

    def labels_path(self, index: int) -> Path | None:
        return None

    def read_points(self, index: int) -> np.ndarray:
        return np.random.default_rng(index).normal(size=(40 + index, 4)).astype(np.float32)

    def read_labels(self, index: int) -> None:
        return None

    def read_instances(self, index: int) -> None:
        return None

    def images(self, index: int) -> tuple[CameraImage, ...]:
        if not self.cameras:
            return ()
        from PIL import Image

        path = self.folder / f"cam{index}.png"
        Image.new("RGB", (8, 4), (index, 0, 0)).save(path)
        axes = np.array([[0.0, -1, 0], [0, 0, -1], [1, 0, 0]])
        pose = from_rotation_translation(axes, [0.1, -0.2, 0.3])
        intrinsics = np.array([[5.0, 0, 4], [0, 5, 2], [0, 0, 1]])
        return (CameraImage("front", path, index, intrinsics, pose, 8, 4),)


def toy_scene(tmp_path: Path, frames: int = 12, cameras: bool = True, scene_id: str = "s/1") -> Scene:
    rng = np.random.default_rng(7)
    quaternions = rng.normal(size=(frames, 4)) * 0.1 + [1, 0, 0, 0]
    poses = np.stack(
        [
            from_rotation_translation(rotation_from_quaternion(q), [1e5 + 2 * i, -3e4, 0.1 * i])
            for i, q in enumerate(quaternions)
        ]
    )
    return Scene(
        scene_id, "folder", tmp_path, tuple(f"f{i:03d}" for i in range(frames)), np.arange(frames) * 10**8, poses,
        np.ones(frames, bool), CLASSES, ToySource(tmp_path, cameras),
    )  # fmt: skip


def pick(rank: int, frame: int, unit: int = 0, scene: str = "s/1", points: int = 3) -> Pick:
    return Pick(rank, UnitKey(scene, frame, unit), f"f{frame:03d}", frame * 10**8, "grid", points, float(points),
                (0.0, 0.0, 0.0), {"divergence": 1 / rank}, "neighbours <disagree>", ())  # fmt: skip


def toy_queue() -> LabelQueue:
    asked = Selection((pick(1, 8), pick(2, 2), pick(3, 8, unit=4)), "lidal", "points", 20, 9)
    points = [np.array([0, 5, 7]), np.array([1, 2, 39]), np.array([46, 10, 11])]
    assumed = Selection((pick(1, 8, unit=9), pick(2, 0, unit=1)), "lidal pseudo", "points", 20, 6)
    pseudo_points = [np.array([5, 20, 21, 22]), np.array([3, 4])]
    labels = [np.array([0, 1, 2, 255], np.uint8), np.array([2, 2], np.uint8)]
    return label_queue(asked, points, assumed, pseudo_points, labels)


def expected_labels(points: int, index: int) -> np.ndarray:
    """The oracle, point by point: asked before assumed before do-not-label."""
    queue, result = toy_queue(), []
    for point in range(points):
        label = RESERVED
        for unit in queue.assumed:
            if unit.pick.key.frame == index and point in unit.indices:
                train = int(unit.labels[list(unit.indices).index(point)])
                label = RESERVED if train == 255 else CLASSES.train_to_raw[train]
        if any(u.pick.key.frame == index and point in u.indices for u in queue.asked):
            label = 0
        result.append(label)
    return np.array(result)


def read_matrices(path: Path) -> np.ndarray:
    rows = np.loadtxt(path, ndmin=2).reshape(-1, 3, 4)
    return np.concatenate([rows, np.tile([[[0.0, 0, 0, 1]]], (len(rows), 1, 1))], axis=1)


def read_calib(path: Path) -> dict[str, np.ndarray]:
    lines = (line.split(":") for line in path.read_text().splitlines())
    return {name: np.array([float(v) for v in values.split()]).reshape(3, 4) for name, values in lines}


def test_windows_hold_every_unit_once_and_merge_when_they_touch(tmp_path):
    scenes = {"s/1": toy_scene(tmp_path)}
    apart = windows(toy_queue(), scenes, margin=1, max_frames=100)
    assert [w.frames for w in apart] == [range(1, 4), range(7, 10)]
    assert [[u.pick.rank for u in w.asked] for w in apart] == [[2], [1, 3]]
    together = windows(toy_queue(), scenes, margin=3, max_frames=100)
    assert [w.frames for w in together] == [range(12)]
    assert together[0].best_rank == 1
    cut = windows(toy_queue(), scenes, margin=3, max_frames=5)
    assert all(len(w.frames) <= 5 for w in cut)
    assert sorted(u.pick.rank for w in cut for u in w.asked) == [1, 2, 3]


@pytest.mark.parametrize("cameras", [True, False])
def test_point_labeler_round_trip(tmp_path, cameras):
    scene = toy_scene(tmp_path, cameras=cameras)
    out = tmp_path / "out"
    EXPORTERS["point_labeler"](toy_queue(), {"s/1": scene}, out, ExportOptions(margin=1))
    folders = sorted(p.name for p in out.iterdir() if p.is_dir())
    assert folders == ["s_1_000001-000003", "s_1_000007-000009"]
    for name in folders:
        mapping = json.loads((out / name / "map.json").read_text())
        assert mapping["scene"] == "s/1"
        assert mapping["do_not_label_id"] == RESERVED
        calib = read_calib(out / name / "calib.txt")
        tr = np.vstack([calib["Tr"], [0, 0, 0, 1]])
        poses = read_matrices(out / name / "poses.txt")
        first = scene.world_SE3_lidar[mapping["frames"][0]["frame"]]
        np.testing.assert_allclose(mapping["world_SE3_first"], first)
        assert len(poses) == len(mapping["frames"]) == len(list((out / name / "velodyne").iterdir()))
        for entry, pose in zip(mapping["frames"], poses, strict=True):
            points = np.fromfile(out / name / "velodyne" / f"{entry['number']}.bin", np.float32).reshape(-1, 4)
            np.testing.assert_array_equal(points, scene[entry["frame"]].points())
            labels = np.fromfile(out / name / "labels" / f"{entry['number']}.label", np.uint32)
            np.testing.assert_array_equal(labels, expected_labels(len(points), entry["frame"]))
            wanted = inverse(first) @ scene.world_SE3_lidar[entry["frame"]]
            np.testing.assert_allclose(np.linalg.inv(tr) @ pose @ tr, wanted, atol=1e-6)
            assert (out / name / "image_2" / f"{entry['number']}.png").exists() == cameras
            if cameras:
                source = scene[entry["frame"]].images()[0]
                np.testing.assert_array_equal(calib["P2"][:, :3], source.intrinsics)
                np.testing.assert_allclose(tr, source.camera_SE3_lidar, atol=1e-9)


def test_point_labeler_label_file_names_every_id_that_occurs(tmp_path):
    out = tmp_path / "out"
    EXPORTERS["point_labeler"](toy_queue(), {"s/1": toy_scene(tmp_path)}, out, ExportOptions(margin=1))
    labels = ElementTree.parse(out / "labels.xml").getroot().findall("label")
    ids = {int(label.findtext("id")): label.findtext("name") for label in labels}
    assert ids == {0: "unlabeled", RESERVED: "do-not-label", 10: "car", 40: "road", 70: "tree"}
    assert all(len(label.findtext("color").split()) == 3 for label in labels)
    used = {int(i) for path in out.glob("*/labels/*.label") for i in np.unique(np.fromfile(path, np.uint32))}
    assert used <= set(ids)
    readme = (out / "README.txt").read_text()
    assert readme.index("s_1_000007-000009") < readme.index("s_1_000001-000003")  # rank 1 is opened first


@pytest.mark.parametrize("name", list(EXPORTERS))
def test_an_empty_selection_writes_an_empty_queue(tmp_path, name):
    queue = label_queue(Selection((), "lidal", "points", 10, 0), [])
    EXPORTERS[name](queue, {"s/1": toy_scene(tmp_path)}, tmp_path / "out", ExportOptions())
    assert (tmp_path / "out" / "README.txt").exists()
    assert not list((tmp_path / "out").rglob("*.bin"))


@pytest.mark.parametrize("name", [name for name in EXPORTERS if name not in OF_PICTURES])
def test_a_selection_of_another_drive_is_refused(tmp_path, name):
    queue = label_queue(Selection((pick(1, 3),), "lidal", "points", 10, 3), [np.array([0, 43])])
    with pytest.raises(DataError, match="names point 43, the sweep has 43"):
        EXPORTERS[name](queue, {"s/1": toy_scene(tmp_path)}, tmp_path / "out", ExportOptions())
    with pytest.raises(DataError, match=r"scene 's/1', the drive has other"):
        EXPORTERS[name](queue, {"other": toy_scene(tmp_path)}, tmp_path / "out", ExportOptions())
    with pytest.raises(DataError, match="frame 3, scene s/1 has 2"):
        EXPORTERS[name](queue, {"s/1": toy_scene(tmp_path, frames=2)}, tmp_path / "out", ExportOptions())


def test_a_queue_with_missing_point_sets_is_refused():
    with pytest.raises(DataError, match="1 asked units, but points of 0"):
        label_queue(Selection((pick(1, 3),), "lidal", "points", 10, 3), [])
    with pytest.raises(UsageError, match="margin -1"):
        ExportOptions(margin=-1)


def test_segments_ai_round_trip(tmp_path):
    scene = toy_scene(tmp_path)
    out = tmp_path / "out"
    EXPORTERS["segments_ai"](toy_queue(), {"s/1": scene}, out, ExportOptions(margin=1, url_prefix="s3://b/"))
    samples = json.loads((out / "samples.json").read_text())
    assert [s["name"] for s in samples] == ["s_1_000007-000009", "s_1_000001-000003"]
    assert [s["priority"] for s in samples] == [3.0, 2.0]
    names = {c["id"]: c["name"] for c in json.loads((out / "categories.json").read_text())["categories"]}
    for sample in samples:
        frames = sample["attributes"]["frames"]
        label = json.loads((out / "prelabels" / f"{sample['name']}.json").read_text())
        for frame, answer in zip(frames, label["frames"], strict=True):
            index = scene.frame_names.index(frame["name"])
            points = np.fromfile(out / "files" / frame["pcd"]["url"].removeprefix("s3://b/"), np.float32).reshape(-1, 4)
            np.testing.assert_array_equal(points, scene[index].points())
            category = {0: 0, **{a["id"]: a["category_id"] for a in answer["annotations"]}}
            got = np.array([category[i] for i in answer["point_annotations"]])
            np.testing.assert_array_equal(got, expected_labels(len(points), index))
            assert set(got) - {0} <= set(names)
            assert frame["timestamp"] == str(index * 10**8)


def test_segments_ai_poses_cameras_and_bounds(tmp_path):
    scene = toy_scene(tmp_path)
    out = tmp_path / "out"
    EXPORTERS["segments_ai"](toy_queue(), {"s/1": scene}, out, ExportOptions(margin=1))
    for sample in json.loads((out / "samples.json").read_text()):
        frames = sample["attributes"]["frames"]
        indices = [scene.frame_names.index(frame["name"]) for frame in frames]
        for index, frame in zip(indices, frames, strict=True):
            pose = as_matrix(frame["ego_pose"]["position"], frame["ego_pose"]["heading"])
            first = scene.world_SE3_lidar[indices[0]]
            np.testing.assert_allclose(first @ pose, scene.world_SE3_lidar[index], atol=1e-7)
            image = frame["images"][0]
            assert (out / "files" / image["url"]).is_file()
            assert image["camera_convention"] == "OpenCV"
            camera = as_matrix(image["extrinsics"]["translation"], image["extrinsics"]["rotation"])
            np.testing.assert_allclose(inverse(camera), scene[index].images()[0].camera_SE3_lidar, atol=1e-9)
            own = asked_points(scene, index)
            if not len(own):
                own = np.concatenate([
                    transform(inverse(scene.world_SE3_lidar[index]) @ scene.world_SE3_lidar[i], asked_points(scene, i))
                    for i in indices
                ])  # fmt: skip
            box = frame["bounds"]
            np.testing.assert_allclose([box[f"min_{a}"] for a in "xyz"], own.min(axis=0) - 2, atol=0.006)
            np.testing.assert_allclose([box[f"max_{a}"] for a in "xyz"], own.max(axis=0) + 2, atol=0.006)


def asked_points(scene: Scene, index: int) -> np.ndarray:
    parts = [scene[index].points()[u.indices, :3] for u in toy_queue().asked if u.pick.key.frame == index]
    return np.concatenate([np.zeros((0, 3)), *parts])


def as_matrix(position: dict, heading: dict) -> np.ndarray:
    rotation = rotation_from_quaternion([heading[k] for k in ("qw", "qx", "qy", "qz")])
    return from_rotation_translation(rotation, [position[a] for a in "xyz"])


@pytest.mark.parametrize("cameras", [True, False])
def test_segments_ai_validates_with_the_vendors_types(tmp_path, cameras):
    vendor = pytest.importorskip("segments.typing", reason="needs segments-ai, whose types are the oracle")
    out = tmp_path / "out"
    scenes = {"s/1": toy_scene(tmp_path, cameras=cameras)}
    EXPORTERS["segments_ai"](toy_queue(), scenes, out, ExportOptions(margin=1, url_prefix="https://host/"))
    samples = json.loads((out / "samples.json").read_text())
    assert len(samples) == 2
    for sample in samples:
        typed = vendor.PointcloudSequenceSampleAttributes.model_validate(sample["attributes"])
        assert typed.model_dump(mode="json", exclude_unset=True) == sample["attributes"]
        label = json.loads((out / "prelabels" / f"{sample['name']}.json").read_text())
        typed = vendor.PointcloudSequenceSegmentationLabelAttributes.model_validate(label)
        assert typed.model_dump(mode="json", exclude_unset=True) == label


def test_quaternions_of_random_and_half_turn_rotations():
    rng = np.random.default_rng(1)
    for q in [*rng.normal(size=(50, 4)), [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [1, 0, 0, 0]]:
        rotation = rotation_from_quaternion(q)
        again = quaternion_from_rotation(rotation)
        assert again[0] >= 0
        np.testing.assert_allclose(rotation_from_quaternion(again), rotation, atol=1e-12)


def test_class_ids_fall_back_where_the_tools_cannot_show_them():
    assert tool_ids(CLASSES) == (10, 40, 70)
    zero = LabelMap("z", ("a", "b"), ((0, 0, 0),) * 2, {0: 0, 1: 1}, (0, 1))
    assert tool_ids(zero) == (1, 2)
    assert do_not_label_id([999, 998]) == 997


def test_predicted_classes_keep_the_drives_ids_where_names_agree():
    classes = class_list(CLASSES, ("tree", "whale", "car"))
    assert classes.classes == ("tree", "whale", "car")
    assert classes.train_to_raw[0] == 70
    assert classes.train_to_raw[2] == 10
    assert len(set(classes.train_to_raw)) == 3
    assert classes.colors[0] == (0, 255, 0)
    assert class_list(None, ("x", "y")).train_to_raw == (1, 2)
    assert class_list(CLASSES) is CLASSES
