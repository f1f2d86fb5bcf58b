# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Simulated drives on disk: both layouts hold what was simulated, and nothing half-written is left."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lidal3d.errors import DataError, UsageError
from lidal3d.scene.labels import load_label_map
from lidal3d.scene.open import open_drive
from lidal3d.scene.pose import inverse
from lidal3d.sim import SimConfig, simulate, write_drive
from lidal3d.sim.nuscenes_names import CATEGORIES, LIDARSEG_OF_RAW
from lidal3d.sim.write_nuscenes import quaternion

CONFIG = SimConfig(frames=12, beams=8, columns=64, camera_width=64, camera_height=24)


@pytest.fixture(scope="module")
def sweeps():
    return list(simulate(CONFIG))


@pytest.fixture(scope="module")
def kitti(tmp_path_factory):
    root = tmp_path_factory.mktemp("kitti")
    return write_drive(CONFIG.model_copy(update={"labelled": 3}), root, "semantickitti", "04")


@pytest.fixture(scope="module")
def nuscenes_root(tmp_path_factory):
    pytest.importorskip("nuscenes")
    root = tmp_path_factory.mktemp("drives") / "nuscenes"
    write_drive(CONFIG, root, "nuscenes", "04")
    write_drive(CONFIG.model_copy(update={"sensor": "vlp32", "labelled": 1}), root, "nuscenes", "05")
    return root


def digest(folder: Path) -> dict[str, str]:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def test_semantickitti_files_hold_the_sweeps(kitti, sweeps):
    assert kitti.name == "04"
    labelled = sorted(p.stem for p in (kitti / "labels").iterdir())
    assert labelled == ["000002", "000006", "000010"]
    for index, sweep in enumerate(sweeps):
        points = np.fromfile(kitti / "velodyne" / f"{index:06d}.bin", dtype="<f4").reshape(-1, 4)
        np.testing.assert_array_equal(points, sweep.points)
    packed = np.fromfile(kitti / "labels" / "000006.label", dtype="<u4")
    np.testing.assert_array_equal(packed & 0xFFFF, sweeps[6].semantic)
    np.testing.assert_array_equal(packed >> 16, sweeps[6].instance)


def test_semantickitti_poses_are_the_left_cameras(kitti, sweeps):
    rows = np.loadtxt(kitti / "poses.txt").reshape(-1, 3, 4)
    line = next(x for x in (kitti / "calib.txt").read_text().splitlines() if x.startswith("Tr:"))
    camera_SE3_lidar = np.vstack([np.array(line.split()[1:], dtype=float).reshape(3, 4), [0, 0, 0, 1]])
    np.testing.assert_allclose(rows[0], np.eye(4)[:3], atol=1e-12)
    for row, sweep in zip(rows, sweeps, strict=True):
        pose = np.linalg.inv(camera_SE3_lidar) @ np.vstack([row, [0, 0, 0, 1]]) @ camera_SE3_lidar
        expected = np.linalg.inv(sweeps[0].world_SE3_lidar) @ sweep.world_SE3_lidar
        np.testing.assert_allclose(pose, expected, atol=1e-9)
    np.testing.assert_allclose(np.loadtxt(kitti / "times.txt"), np.arange(12) / 10)


def test_pictures_and_their_classes_are_written(kitti, sweeps):
    semantic = np.asarray(Image.open(kitti / "semantics_2" / "000003.png"))
    np.testing.assert_array_equal(semantic, sweeps[3].picture.semantic)
    np.testing.assert_array_equal(np.asarray(Image.open(kitti / "image_2" / "000003.png")), sweeps[3].picture.rgb)


def test_the_same_bytes_each_time(kitti, nuscenes_root, tmp_path):
    again = write_drive(CONFIG.model_copy(update={"labelled": 3}), tmp_path / "k", "semantickitti", "04")
    assert digest(again) == digest(kitti)
    write_drive(CONFIG, tmp_path / "n", "nuscenes", "04")
    write_drive(CONFIG.model_copy(update={"sensor": "vlp32", "labelled": 1}), tmp_path / "n", "nuscenes", "05")
    assert digest(tmp_path / "n") == digest(nuscenes_root)


def test_both_layouts_open_as_the_same_drive(kitti, nuscenes_root, sweeps):
    (from_kitti,) = open_drive(kitti.parents[1])
    from_nuscenes = {scene.id: scene for scene in open_drive(nuscenes_root)}["scene-0004"]
    assert len(from_kitti) == len(from_nuscenes) == len(sweeps)
    np.testing.assert_allclose(from_kitti.scene_SE3_lidar, from_nuscenes.scene_SE3_lidar, atol=1e-6)
    np.testing.assert_allclose(from_nuscenes.world_SE3_lidar, np.array([s.world_SE3_lidar for s in sweeps]), atol=1e-6)
    np.testing.assert_array_equal(np.diff(from_kitti.timestamps_ns), np.diff(from_nuscenes.timestamps_ns))
    assert from_nuscenes.is_key_frame.tolist() == [k % 5 == 0 for k in range(12)]
    for a, b, sweep in zip(from_kitti, from_nuscenes, sweeps, strict=True):
        np.testing.assert_array_equal(a.points(), sweep.points)
        np.testing.assert_array_equal(a.points()[:, :3], b.points()[:, :3])
        np.testing.assert_array_equal(np.round(255 * a.points()[:, 3]), b.points()[:, 3])
        assert b.has_labels == b.is_key_frame
        if a.has_labels:
            np.testing.assert_array_equal(a.raw_labels(), sweep.semantic)
            np.testing.assert_array_equal(a.instances(), sweep.instance)
        if b.has_labels:
            np.testing.assert_array_equal(b.raw_labels(), LIDARSEG_OF_RAW[sweep.semantic])


def test_cameras_of_both_layouts_are_the_simulators(kitti, nuscenes_root):
    camera = simulate(CONFIG).camera
    (from_kitti,) = open_drive(kitti.parents[1])
    from_nuscenes = {scene.id: scene for scene in open_drive(nuscenes_root)}["scene-0004"]
    for scene, tolerance in ((from_kitti, 1e-9), (from_nuscenes, 1e-6)):
        image = scene[7].images()[0]
        np.testing.assert_allclose(image.intrinsics, camera.intrinsics, atol=1e-9)
        np.testing.assert_allclose(image.camera_SE3_lidar, camera.camera_SE3_lidar, atol=tolerance)
        assert image.load().shape == (24, 64, 3)


def test_the_devkit_walks_the_tables(nuscenes_root):
    from nuscenes import NuScenes

    tables = NuScenes("v1.0-mini", str(nuscenes_root), verbose=False)
    assert [scene["name"] for scene in tables.scene] == ["scene-0004", "scene-0005"]
    assert [c["name"] for c in sorted(tables.category, key=lambda c: c["index"])] == list(CATEGORIES)
    assert len(tables.lidarseg) == 3 + 1
    for scene in tables.scene:
        token, count = scene["first_sample_token"], 0
        while token:
            sample = tables.get("sample", token)
            path, boxes, intrinsics = tables.get_sample_data(sample["data"]["CAM_FRONT"])
            assert Path(path).is_file()
            assert boxes == []
            assert intrinsics.shape == (3, 3)
            token, count = sample["next"], count + 1
        assert count == scene["nbr_samples"] == 3
    tables.list_scenes()


def test_writing_a_scene_again_replaces_it(nuscenes_root, tmp_path):
    from nuscenes import NuScenes

    root = tmp_path / "drives"
    write_drive(CONFIG, root, "nuscenes", "04")
    write_drive(CONFIG.model_copy(update={"sensor": "vlp32", "labelled": 1}), root, "nuscenes", "05")
    write_drive(CONFIG.model_copy(update={"sensor": "vlp32", "labelled": 1}), root, "nuscenes", "05")
    write_drive(CONFIG.model_copy(update={"frames": 6}), root, "nuscenes", "04")
    tables = NuScenes("v1.0-mini", str(root), verbose=False)
    assert {s["name"]: s["nbr_samples"] for s in tables.scene} == {"scene-0004": 2, "scene-0005": 3}
    assert len(tables.sample_data) == 2 * (6 + 12)


@pytest.mark.parametrize("layout", ["semantickitti", "nuscenes"])
@pytest.mark.parametrize("existing", [False, True])
def test_an_interrupted_simulation_leaves_nothing_under_the_final_name(tmp_path, layout, existing):
    root = tmp_path / "root"
    small = CONFIG.model_copy(update={"frames": 3, "camera": False})
    if existing:
        write_drive(small, root, layout, "00")
    before = digest(root) if existing else {}

    def stop(done: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_drive(small, root, layout, "01", progress=stop)
    assert (digest(root) if root.exists() else {}) == before


def test_several_sequences_share_a_root(tmp_path):
    small = CONFIG.model_copy(update={"frames": 2, "camera": False})
    done: list[int] = []
    write_drive(small, tmp_path, "semantickitti", "00", progress=done.append)
    write_drive(small.model_copy(update={"sensor": "vlp32"}), tmp_path, "semantickitti", "01")
    assert [scene.id for scene in open_drive(tmp_path)] == ["00", "01"]
    assert done == [1, 2]


def test_errors_are_for_people(tmp_path):
    small = CONFIG.model_copy(update={"frames": 1, "camera": False})
    with pytest.raises(UsageError, match="no layout named 'waymo'"):
        write_drive(small, tmp_path / "a", "waymo")  # type: ignore[arg-type]
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match="cannot write"):
        write_drive(small, tmp_path / "file" / "b")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thing.txt").write_text("x")
    with pytest.raises(DataError, match=r"category\.json: cannot add a scene"):
        write_drive(small, tmp_path / "other", "nuscenes")


def test_every_simulated_id_has_a_nuscenes_category():
    card = load_label_map("semantickitti")
    assert len(CATEGORIES) == 32
    moving_car, person = LIDARSEG_OF_RAW[252], LIDARSEG_OF_RAW[254]
    assert CATEGORIES[moving_car] == "vehicle.car"
    assert CATEGORIES[person] == "human.pedestrian.adult"
    for raw in card.train_to_raw:
        assert LIDARSEG_OF_RAW[raw] > 0


def test_quaternions_turn_back_into_their_rotation():
    from lidal3d.scene.pose import rotation_from_quaternion

    rng = np.random.default_rng(0)
    for _ in range(50):
        q = rng.normal(size=4)
        rotation = rotation_from_quaternion(q)
        np.testing.assert_allclose(rotation_from_quaternion(quaternion(rotation)), rotation, atol=1e-12)
    np.testing.assert_allclose(inverse(np.eye(4)), np.eye(4))
