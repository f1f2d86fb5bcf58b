# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Info files of mmdet3d: how scenes are found in them, where files lie, old forms, and what is refused."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import miniature as mini
import numpy as np
import pytest
from command_line import CommandLine

from lidal3d.errors import DataError
from lidal3d.scene.open import open_drive
from lidal3d.scene.readers.mmdet3d_info import label_map_of

SCENES = mini.make_scenes(6, ("a", "b"), range(32), ("CAM_FRONT",), frames=3)
FILE = "nuscenes_infos_train.pkl"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return mini.write_mmdet3d(tmp_path / "drive", SCENES)


def change(root: Path, edit: Any) -> Path:
    """Edit what an info file holds; `edit` gives back the new content, or nothing where it changed it in place."""
    path = root / FILE
    info = pickle.loads(path.read_bytes())
    path.write_bytes(pickle.dumps(edit(info) or info))
    return root


def each(edit: Any) -> Any:
    def edit_all(info: dict) -> None:
        for entry in info["data_list"]:
            edit(entry)

    return edit_all


def test_without_scene_tokens_logs_are_cut_where_time_passes(root):
    change(root, each(lambda entry: entry.pop("scene_token")))
    assert [scene.id for scene in open_drive(root)] == ["a", "b"]

    def later(entry: dict) -> None:
        if entry["sample_idx"] == 2:
            entry["timestamp"] += 1.0

    change(root, each(later))
    scenes = open_drive(root)
    assert [(scene.id, len(scene)) for scene in scenes] == [("a-000", 2), ("a-001", 1), ("b-000", 2), ("b-001", 1)]
    np.testing.assert_array_equal(scenes[1][0].points()[:, :3], SCENES[0].frames[2].points[:, :3])


def test_sequences_and_the_info_file_name_scenes(root):
    def as_kitti(entry: dict) -> None:
        entry.pop("scene_token")
        name = entry["lidar_points"]["lidar_path"]
        place = root / "sequences" / name[0] / "velodyne" / f"{entry['sample_idx']:06d}.bin"
        place.parent.mkdir(parents=True, exist_ok=True)
        (root / "samples" / "LIDAR_TOP" / name).rename(place)
        entry["lidar_points"]["lidar_path"] = str(place.relative_to(root))

    change(root, each(as_kitti))
    (root / "sequences").rename(root / "held")
    (root / "held").rename(root / "sequences")
    scenes = open_drive(root / FILE)
    assert [scene.id for scene in scenes] == ["a", "b"]
    assert scenes[0].frame_names == ("000000", "000001", "000002")

    def plain(entry: dict) -> None:
        old = root / entry["lidar_points"]["lidar_path"]
        new = root / f"{old.parts[-3]}{entry['sample_idx']}.bin"
        old.rename(new)
        entry["lidar_points"]["lidar_path"] = new.name
        entry["timestamp"] = entry["timestamp"] + (old.parts[-3] == "b") * 0.4

    change(root, each(plain))
    (scene,) = open_drive(root / FILE)
    assert (scene.id, scene.frame_names) == ("nuscenes_infos_train", ("a0", "a1", "a2", "b0", "b1", "b2"))


def test_frames_without_poses_are_scenes_of_one_frame(root):
    def bare(entry: dict) -> None:
        for key in ("ego2global", "scene_token", "timestamp"):
            entry.pop(key)

    scenes = open_drive(change(root, each(bare)))
    assert [len(scene) for scene in scenes] == [1] * 6
    np.testing.assert_array_equal(scenes[0].world_SE3_lidar, np.eye(4)[None])
    np.testing.assert_array_equal(scenes[0][0].points(), SCENES[0].frames[0].points)


def test_some_frames_without_poses_are_refused_and_check_tells_which(root, capsys):
    def one_bare(entry: dict) -> None:
        if entry["sample_idx"] == 1 and entry["scene_token"] == "b":
            entry.pop("ego2global")

    change(root, each(one_bare))
    with pytest.raises(DataError, match=rf"{FILE}: scene b: 1 of 3 frames have no ego2global \(first: b__LIDAR"):
        open_drive(root)
    ran = CommandLine(capsys)("check", root)
    assert ran.code == 1
    assert "POSES-MISSING" in ran.out
    assert "mmdet3d, 2 scenes, 6 frames" in ran.out


def test_points_in_the_ego_frame_need_no_lidar2ego(root):
    change(root, each(lambda entry: entry["lidar_points"].pop("lidar2ego")))
    scene = open_drive(root)[0]
    truth = SCENES[0].frames[1]
    world_SE3_ego = truth.world_SE3_lidar @ np.linalg.inv(mini.EGO_SE3_SENSOR @ mini.YFORWARD_FROM_LIDAR)
    np.testing.assert_allclose(scene.world_SE3_lidar[1], world_SE3_ego, atol=1e-9)
    sensor = truth.points[:, :3] @ mini.YFORWARD_FROM_LIDAR[:3, :3].T  # not turned
    np.testing.assert_allclose(scene[1].points()[:, :3], sensor, atol=1e-5)


def test_rectified_cameras_keep_their_offset(root):
    """A 4×4 cam2img with a fourth column projects as the product of both matrices says."""
    projection = np.eye(4)
    projection[:3] = mini.kitti_projection("image_3")

    def rectified(entry: dict) -> None:
        entry["images"]["CAM_FRONT"]["cam2img"] = projection.tolist()

    lidar2cam = np.array(pickle.loads((root / FILE).read_bytes())["data_list"][0]["images"]["CAM_FRONT"]["lidar2cam"])
    change(root, each(rectified))
    first = pickle.loads((root / FILE).read_bytes())["data_list"][0]
    scene = next(scene for scene in open_drive(root) if scene.id == first["scene_token"])
    (image,) = scene[first["sample_idx"]].images()
    xyz = np.random.default_rng(0).normal(size=(9, 3))
    sensor = np.column_stack([xyz @ mini.YFORWARD_FROM_LIDAR[:3, :3].T, np.ones(9)])
    truth = (projection @ lidar2cam @ sensor.T)[:3]
    got = image.intrinsics @ (image.camera_SE3_lidar @ np.column_stack([xyz, np.ones(9)]).T)[:3]
    np.testing.assert_allclose(got, truth, atol=1e-9)


@pytest.mark.parametrize(("kind", "suffix"), [("<i4", ".bin"), ("<i8", ".bin"), ("<i2", ".bin"), ("<u4", ".label")])
def test_masks_of_every_width(root, kind, suffix):
    def wider(entry: dict) -> None:
        path = root / "lidarseg" / "v1.0-mini" / entry["pts_semantic_mask_path"]
        labels = np.fromfile(path, "u1").astype(kind)
        packed = labels + (np.uint32(7) << np.uint32(16)) if suffix == ".label" else labels
        packed.astype(kind).tofile(path.with_suffix(suffix))
        entry["pts_semantic_mask_path"] = path.with_suffix(suffix).name

    scene = open_drive(change(root, each(wider)))[0]
    np.testing.assert_array_equal(scene[1].raw_labels(), SCENES[0].frames[1].raw_labels)
    instances = scene[1].instances()
    assert (instances == 7).all() if suffix == ".label" else instances is None


def test_a_mask_of_another_sweep_is_refused(root):
    path = open_drive(root)[0].source.labels_path(0)
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(DataError, match=r"_lidarseg\.bin: \d+ bytes for the \d+ points of the sweep"):
        open_drive(root)[0][0].raw_labels()
    path.unlink()
    with pytest.raises(DataError, match=r"_lidarseg\.bin: missing"):
        open_drive(root)[0][0].raw_labels()


def test_several_info_files_in_a_folder_are_one_drive_with_each_frame_once(root):
    info = pickle.loads((root / FILE).read_bytes())
    first = [entry for entry in info["data_list"] if entry["scene_token"] == "a"]
    (root / "nuscenes_infos_a.pkl").write_bytes(pickle.dumps({**info, "data_list": first}))
    assert [(scene.id, len(scene)) for scene in open_drive(root)] == [("a", 3), ("b", 3)]
    (root / "nuscenes_infos_a.pkl").write_bytes(pickle.dumps({**info, "data_list": first[:1]}))
    with pytest.raises(DataError, match=r"scene a is also in nuscenes_infos_a\.pkl, with other frames"):
        open_drive(root)


def old_entry(root: Path, entry: dict) -> dict:
    """An entry as mmdet3d 0.x wrote it, made from scratch."""
    ego, lidar = np.array(entry["ego2global"]), np.array(entry["lidar_points"]["lidar2ego"])
    cams = {}
    for name, image in entry["images"].items():
        place = np.linalg.inv(image["lidar2cam"])
        cams[name] = {"data_path": f"./data/nuscenes/samples/{name}/{image['img_path']}",
                      "cam_intrinsic": np.array(image["cam2img"]), "sensor2lidar_rotation": place[:3, :3],
                      "sensor2lidar_translation": place[:3, 3], "timestamp": round(image["timestamp"] * 1e6)}  # fmt: skip
    return {
        "lidar_path": f"./data/nuscenes/samples/LIDAR_TOP/{entry['lidar_points']['lidar_path']}",
        "timestamp": round(entry["timestamp"] * 1e6), "scene_token": entry["scene_token"], "cams": cams,
        "ego2global_rotation": mini.quaternion(ego[:3, :3]), "ego2global_translation": ego[:3, 3].tolist(),
        "lidar2ego_rotation": mini.quaternion(lidar[:3, :3]), "lidar2ego_translation": lidar[:3, 3].tolist(),
    }  # fmt: skip


def test_the_old_form_says_the_same(root):
    new = open_drive(root)
    change(root, lambda info: {"infos": [old_entry(root, e) for e in info["data_list"]], "metadata": {"version": "x"}})
    for scene, other in zip(open_drive(root), new, strict=True):
        np.testing.assert_allclose(scene.world_SE3_lidar, other.world_SE3_lidar, atol=1e-9)
        np.testing.assert_array_equal(scene.timestamps_ns, other.timestamps_ns)
        np.testing.assert_array_equal(scene[1].points(), other[1].points())
        (image,), (same,) = scene[1].images(), other[1].images()
        assert image.path == same.path
        assert image.timestamp_ns == same.timestamp_ns
        np.testing.assert_allclose(image.camera_SE3_lidar, same.camera_SE3_lidar, atol=1e-9)


def test_kittis_old_list_and_its_folders(tmp_path):
    for split, value in (("training", 1), ("testing", 2)):
        (tmp_path / split / "velodyne").mkdir(parents=True)
        np.full((5, 4), value, np.float32).tofile(tmp_path / split / "velodyne" / "000001.bin")
    old = [{"image": {}, "point_cloud": {"num_features": 4, "velodyne_path": "training/velodyne/000001.bin"}}]
    (tmp_path / "kitti_infos_train.pkl").write_bytes(pickle.dumps(old))
    new = {
        "metainfo": {"dataset": "kitti"},
        "data_list": [{"lidar_points": {"lidar_path": "000001.bin", "num_pts_feats": 4}}],
    }
    (tmp_path / "kitti_infos_test.pkl").write_bytes(pickle.dumps(new))
    for name, value in (("train", 1), ("test", 2)):
        (scene,) = open_drive(tmp_path / f"kitti_infos_{name}.pkl")
        assert (scene.id, scene.label_map) == ("000001", None)
        assert (scene[0].points() == value).all()
    with pytest.raises(DataError, match=r"scene 000001 is also in kitti_infos_test\.pkl"):
        open_drive(tmp_path, layout="mmdet3d")


def test_classes_of_an_info_file():
    mapping = {0: 2, 10: 0, 11: 0, 40: 1}
    names = label_map_of({"classes": ["car", "road"], "seg_label_mapping": mapping, "palette": [[1, 2, 3], [4, 5, 6]]})
    assert names.classes == ("car", "road")
    assert names.raw_to_train == {0: 255, 10: 0, 11: 0, 40: 1}
    assert names.train_to_raw == (10, 40)
    assert names.colors == ((1, 2, 3), (4, 5, 6))
    assert label_map_of({"classes": ["car", "road"], "seg_label_mapping": {0: 0}}) is None
    assert label_map_of({"DATASET": "SemanticKITTI"}).name == "semantickitti"
    assert label_map_of({"dataset": "kitti", "categories": {"Car": 0}}) is None


class Hostile:
    def __reduce__(self):
        return os.system, ("touch PLACE",)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (pickle.dumps({"metainfo": {}, "data_list": [Hostile()]}), r"posix\.system, which is not loaded from data"),
        (b"\x80\x04 not a pickle", "not a pickle that lidal3d loads"),
        (pickle.dumps(np.arange(3)), "holds a ndarray without data_list or infos"),
        (pickle.dumps({"metainfo": {}}), "holds a dict without data_list or infos"),
        (pickle.dumps({"data_list": [1]}), "its frames are a list, expected a list of dicts"),
        (pickle.dumps({"data_list": []}), "0 frames there"),
        (
            pickle.dumps({"data_list": [{"token": "x"}]}),
            r"an entry is not what mmdet3d writes \(KeyError: 'lidar2ego_rot",
        ),
        (pickle.dumps({"data_list": [{"lidar_points": {"num_pts_feats": 4}}]}), "KeyError: 'lidar_path'"),
        (
            pickle.dumps({"data_list": [{"lidar_points": {"lidar_path": "a.bin", "num_pts_feats": 2}}]}),
            "num_pts_feats is 2",
        ),
        (
            pickle.dumps({"data_list": [{"ego2global": [[1]], "lidar_points": {"lidar_path": "a.bin"}}]}),
            r"a matrix of shape \(1, 1\), expected \(4, 4\)",
        ),
        (
            pickle.dumps({"data_list": [{"ego2global": np.eye(4), "lidar_points": {"lidar_path": "a.bin"}}] * 2}),
            "sweep a occurs 2 times in one scene",
        ),
    ],
)
def test_what_is_no_info_file_is_refused_in_one_line(tmp_path, monkeypatch, content, says):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "x_infos_train.pkl"
    path.write_bytes(content)
    for given in (path, tmp_path):
        with pytest.raises(DataError, match=says) as caught:
            open_drive(given)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "PLACE").exists()


def test_a_file_that_is_no_drive(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(DataError, match=r"notes\.txt: no drive log there \(looked for .*_infos_"):
        open_drive(tmp_path / "notes.txt")
