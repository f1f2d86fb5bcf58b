# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""One contract for all readers, on miniature drives whose truth is known."""

from __future__ import annotations

import gzip
import pickle
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import miniature as mini
import numpy as np
import pytest

from lidal3d.errors import DataError, UsageError
from lidal3d.scene.labels import load_label_map
from lidal3d.scene.open import open_drive, open_scene
from lidal3d.scene.pose import transform
from lidal3d.scene.scene import Scene

KITTI_IDS = (0, 10, 40, 50, 252)


@dataclass(frozen=True)
class Case:
    """One layout: the truth, what writes it, and what the reader is expected to call it."""

    dataset: str
    write: Callable[[Path, tuple[mini.MiniScene, ...]], Path]
    truth: tuple[mini.MiniScene, ...]


def _one(write: Callable[..., Path], **options: str) -> Callable[[Path, tuple[mini.MiniScene, ...]], Path]:
    return lambda root, scenes: write(root, scenes, **options)


_FOLDER = mini.make_scenes(5, ("garage",), KITTI_IDS, instances=True)
CASES = {
    "semantickitti": Case(
        "semantickitti",
        mini.write_semantickitti,
        mini.make_scenes(
            1,
            ("00", "07"),
            KITTI_IDS,
            ("image_2", "image_3"),
            instances=True,
            labelled=lambda k: k < 3,
            image_lead_ns=0,
        ),
    ),
    "nuscenes": Case(
        "nuscenes",
        mini.write_nuscenes,
        mini.make_scenes(2, ("scene-0061", "scene-0103"), range(32), mini.NUSCENES_CAMERAS, key_every=2),
    ),
    "argoverse2": Case(
        "argoverse2",
        mini.write_argoverse2,
        mini.make_scenes(3, ("log-a", "log-b"), range(31), ("ring_front", "ring_side"), labelled=lambda k: k == 0),
    ),
    "pandaset": Case(
        "pandaset", mini.write_pandaset, mini.make_scenes(4, ("001", "002"), range(1, 43), ("front_camera",))
    ),
    "mmdet3d": Case(
        "mmdet3d",
        mini.write_mmdet3d,
        mini.make_scenes(
            6, ("scene-0061", "scene-0103"), range(32), ("CAM_BACK", "CAM_FRONT"), labelled=lambda k: k < 3
        ),
    ),
    "folder-bin-kitti": Case("folder", mini.write_folder, _FOLDER),
    "folder-pcd-tum": Case("folder", _one(mini.write_folder, suffix=".pcd", trajectory="tum"), _FOLDER),
    "folder-ply-kitti": Case("folder", _one(mini.write_folder, suffix=".ply"), _FOLDER),
}


@dataclass(frozen=True)
class Drive:
    """A case as written once for the whole module; tests that damage files copy it."""

    case: Case
    path: Path
    scenes: tuple[Scene, ...]


@pytest.fixture(scope="module", params=CASES)
def drive(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Drive:
    case = CASES[request.param]
    path = case.write(tmp_path_factory.mktemp(request.param) / "drive", case.truth)
    return Drive(case, path, open_drive(path))


def pairs(drive: Drive):
    """(frame as read, frame as it truly is) of all scenes."""
    for scene, truth in zip(drive.scenes, drive.case.truth, strict=True):
        yield from zip(scene, truth.frames, strict=True)


def test_recognised_and_sorted(drive: Drive) -> None:
    assert [scene.id for scene in drive.scenes] == [truth.id for truth in drive.case.truth]
    assert {scene.dataset for scene in drive.scenes} == {drive.case.dataset}
    assert [len(scene) for scene in drive.scenes] == [len(truth.frames) for truth in drive.case.truth]


def test_times_names_and_key_frames(drive: Drive) -> None:
    for scene, truth in zip(drive.scenes, drive.case.truth, strict=True):
        assert len(set(scene.frame_names)) == len(scene)
        assert scene.timestamps_ns.dtype == np.int64
        np.testing.assert_array_equal(scene.timestamps_ns, [frame.timestamp_ns for frame in truth.frames])
        np.testing.assert_array_equal(scene.is_key_frame, [frame.is_key_frame for frame in truth.frames])


def test_poses_are_float64_and_true(drive: Drive) -> None:
    for scene, truth in zip(drive.scenes, drive.case.truth, strict=True):
        assert scene.world_SE3_lidar.dtype == np.float64
        expected = np.stack([frame.world_SE3_lidar for frame in truth.frames])
        # Positions are some kilometres from the origin: float32 would be off by 1e-4 m.
        np.testing.assert_allclose(scene.world_SE3_lidar, expected, rtol=0, atol=1e-9)


def test_points(drive: Drive) -> None:
    for frame, truth in pairs(drive):
        points = frame.points()
        assert points.dtype == np.float32
        np.testing.assert_allclose(points, truth.points, atol=1e-5)


def test_labels_and_instances(drive: Drive) -> None:
    labelled = 0
    for frame, truth in pairs(drive):
        raw = frame.raw_labels()
        assert frame.has_labels == (truth.raw_labels is not None)
        if truth.raw_labels is None:
            assert raw is None
            assert frame.labels() is None
            continue
        labelled += 1
        assert raw.dtype == np.uint32
        np.testing.assert_array_equal(raw, truth.raw_labels)
        if truth.instances is None:
            assert frame.instances() is None
        else:
            np.testing.assert_array_equal(frame.instances(), truth.instances)
    assert labelled


def test_train_ids_follow_the_card(drive: Drive) -> None:
    for frame, truth in pairs(drive):
        names = frame.scene.label_map
        if names is None:
            assert drive.case.dataset == "folder"
        elif truth.raw_labels is not None:
            expected = [names.raw_to_train[int(raw)] for raw in truth.raw_labels]
            np.testing.assert_array_equal(frame.labels(), expected)


def test_images_see_landmarks_where_the_true_camera_does(drive: Drive) -> None:
    landmarks = np.array([12.0, 3.0, 1.0]) + np.random.default_rng(9).normal(size=(20, 3)) * 4
    for frame, truth in pairs(drive):
        images = {image.camera: image for image in frame.images()}
        assert set(images) == {image.camera for image in truth.images}
        world = transform(truth.world_SE3_lidar, landmarks)
        for true_image in truth.images:
            image = images[true_image.camera]
            assert (image.width, image.height) == (mini.WIDTH, mini.HEIGHT)
            assert image.timestamp_ns == true_image.timestamp_ns
            assert image.load().shape == (mini.HEIGHT, mini.WIDTH, 3)
            got = image.intrinsics @ transform(image.camera_SE3_lidar, landmarks).T
            np.testing.assert_allclose(got, _true_projection(drive, true_image, world, landmarks), atol=1e-6)


def _true_projection(drive: Drive, image: mini.MiniImage, world: np.ndarray, lidar: np.ndarray) -> np.ndarray:
    """(3, N) homogeneous pixels, from the writer's own cameras."""
    if drive.case.dataset == "semantickitti":
        homogeneous = np.column_stack([lidar, np.ones(len(lidar))]).T
        return mini.kitti_projection(image.camera) @ (mini.KITTI_CAMERA0_SE3_LIDAR @ homogeneous)
    world_homogeneous = np.column_stack([world, np.ones(len(world))]).T
    return mini.INTRINSICS @ (np.linalg.inv(image.world_SE3_camera) @ world_homogeneous)[:3]


def test_ego_motion_is_inside_the_camera_pose(drive: Drive) -> None:
    """Where images are taken before the sweep, the mount alone would be 0.16 m off."""
    moved = [(f, t) for f, t in pairs(drive) if any(i.timestamp_ns != t.timestamp_ns for i in t.images)]
    for frame, _ in moved:
        for place, image in enumerate(sorted(frame.images(), key=lambda image: image.camera)):
            offset = image.camera_SE3_lidar[:3, 3] - mini.camera_SE3_lidar_mount(place)[:3, 3]
            assert np.linalg.norm(offset) == pytest.approx(0.16, abs=0.02)
    assert bool(moved) == (drive.case.dataset in ("nuscenes", "argoverse2", "pandaset", "mmdet3d"))


def test_scene_pickles_small_and_still_reads(drive: Drive) -> None:
    for scene, truth in zip(drive.scenes, drive.case.truth, strict=True):
        content = pickle.dumps(scene.source)
        assert len(content) < 20_000
        np.testing.assert_allclose(pickle.loads(content).read_points(1), truth.frames[1].points, atol=1e-5)


def copy_of(drive: Drive, tmp_path: Path) -> Path:
    return Path(shutil.copytree(drive.path, tmp_path / drive.path.name))


def point_file(path: Path, index: int = 1) -> Path:
    return open_drive(path)[0].source.points_path(index)


def test_opening_reads_no_point(drive: Drive, tmp_path: Path) -> None:
    path = copy_of(drive, tmp_path)
    for scene in open_drive(path):
        for index in range(len(scene)):
            scene.source.points_path(index).write_bytes(b"not a cloud")
    assert [len(scene) for scene in open_drive(path)] == [len(scene) for scene in drive.scenes]


def test_missing_points(drive: Drive, tmp_path: Path) -> None:
    path = copy_of(drive, tmp_path)
    scene = open_drive(path)[0]
    file = scene.source.points_path(1)
    file.unlink()
    with pytest.raises(DataError) as caught:
        scene[1].points()
    assert str(file) in str(caught.value)
    assert "missing" in str(caught.value)


def test_truncated_points(drive: Drive, tmp_path: Path) -> None:
    file = point_file(copy_of(drive, tmp_path))
    file.write_bytes(file.read_bytes()[:-5])
    scene = open_drive(tmp_path / drive.path.name)[0]
    with pytest.raises(DataError) as caught:
        scene[1].points()
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)
    # Errors cross process borders.
    assert pickle.loads(pickle.dumps(caught.value)).args == caught.value.args


def test_open_scene(drive: Drive) -> None:
    for scene in drive.scenes:
        assert open_scene(drive.path, scene.id).frame_names == scene.frame_names
    if len(drive.scenes) > 1:
        with pytest.raises(DataError, match="none was named"):
            open_scene(drive.path)
    else:
        assert open_scene(drive.path).id == drive.scenes[0].id
    with pytest.raises(DataError, match="not 'nowhere'"):
        open_scene(drive.path, "nowhere")


# --- recognising paths --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("case", "part", "scenes"),
    [
        ("semantickitti", "sequences", 2),
        ("semantickitti", "sequences/00", 1),
        ("semantickitti", "sequences/00/velodyne", 1),
        ("nuscenes", "v1.0-mini", 2),
        ("argoverse2", "sensor", 2),
        ("argoverse2", "sensor/val", 2),
        ("argoverse2", "sensor/val/log-b", 1),
        ("pandaset", "002", 1),
        ("mmdet3d", "nuscenes_infos_train.pkl", 2),
    ],
)
def test_parts_of_a_data_set_are_recognised(tmp_path: Path, case: str, part: str, scenes: int) -> None:
    root = CASES[case].write(tmp_path / "drive", CASES[case].truth)
    found = open_drive(root / part)
    assert len(found) == scenes
    assert {scene.dataset for scene in found} == {case}


@pytest.mark.parametrize("name", ["nothing-there", "empty"])
def test_unrecognised_path(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=name) as caught:
        open_drive(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_unrecognised_path_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"sequences/SS/velodyne.*v1\.0-.*feather.*pkl\.gz.*_infos_.*\.pcd"):
        open_drive(tmp_path)


def test_unknown_layout_and_wrong_layout(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="waymo"):
        open_drive(tmp_path, layout="waymo")
    path = CASES["pandaset"].write(tmp_path / "drive", CASES["pandaset"].truth)
    with pytest.raises(DataError, match=r"v1\.0"):
        open_drive(path, layout="nuscenes")


def test_label_map_variant(tmp_path: Path) -> None:
    path = CASES["semantickitti"].write(tmp_path / "drive", CASES["semantickitti"].truth)
    (scene, _) = open_drive(path, label_map="semantickitti-spvnas")
    assert scene.label_map is not None
    assert scene.label_map.raw_to_train[60] == 255
    assert load_label_map("semantickitti").raw_to_train[60] == 8


# --- what single layouts do on their own ---------------------------------------------------------------------------


def kitti(tmp_path: Path) -> Path:
    case = CASES["semantickitti"]
    return case.write(tmp_path / "drive", case.truth)


def test_semantickitti_poses_beside_sequences(tmp_path: Path) -> None:
    root = kitti(tmp_path)
    expected = open_scene(root, "00").world_SE3_lidar
    (root / "poses").mkdir()
    (root / "sequences" / "00" / "poses.txt").rename(root / "poses" / "00.txt")
    np.testing.assert_array_equal(open_scene(root, "00").world_SE3_lidar, expected)


def test_semantickitti_matches_poses_by_frame_number(tmp_path: Path) -> None:
    root = kitti(tmp_path)
    whole = open_scene(root, "00")
    for name in ("000000", "000002"):
        (root / "sequences" / "00" / "velodyne" / f"{name}.bin").unlink()
    part = open_scene(root, "00")
    assert part.frame_names == ("000001", "000003", "000004")
    np.testing.assert_array_equal(part.world_SE3_lidar, whole.world_SE3_lidar[[1, 3, 4]])
    np.testing.assert_array_equal(part.timestamps_ns, whole.timestamps_ns[[1, 3, 4]])


def test_semantickitti_too_few_poses(tmp_path: Path) -> None:
    poses = kitti(tmp_path) / "sequences" / "00" / "poses.txt"
    poses.write_text("".join(poses.read_text().splitlines(keepends=True)[:3]))
    with pytest.raises(DataError, match=r"poses\.txt: 3 rows, but sweep 3 needs row 4; 2 of 5"):
        open_drive(tmp_path / "drive")


def test_semantickitti_without_times_assumes_ten_sweeps_a_second(tmp_path: Path) -> None:
    root = kitti(tmp_path)
    (root / "sequences" / "00" / "times.txt").unlink()
    np.testing.assert_array_equal(np.diff(open_scene(root, "00").timestamps_ns), [100_000_000] * 4)


def test_five_thousand_sweeps_open_without_reading_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = kitti(tmp_path) / "sequences" / "00"
    row = root.joinpath("poses.txt").read_text().splitlines()[0]
    (root / "poses.txt").write_text(f"{row}\n" * 5000)
    (root / "times.txt").write_text("".join(f"{k / 10}\n" for k in range(5000)))
    for k in range(5000):
        (root / "velodyne" / f"{k:06d}.bin").touch()

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a point file was read")

    monkeypatch.setattr(np, "fromfile", refuse)
    scene = open_scene(root)
    assert len(scene) == 5000
    assert scene.frame_names[-1] == "004999"
    with pytest.raises(AssertionError, match="was read"):
        scene[0].points()


def test_nuscenes_devkit_opens_the_miniature(tmp_path: Path) -> None:
    from nuscenes import NuScenes
    from nuscenes.eval.lidarseg.utils import LidarsegClassMapper

    case = CASES["nuscenes"]
    path = case.write(tmp_path / "drive", case.truth)
    tables = NuScenes("v1.0-mini", str(path), verbose=False)
    assert len(tables.scene) == 2
    assert len(tables.lidarseg) == 2 * 3
    sample = tables.get("sample", tables.scene[0]["first_sample_token"])
    assert set(sample["data"]) == {"LIDAR_TOP", *mini.NUSCENES_CAMERAS}
    # The card is the benchmark's own merging, as the devkit knows it (train id = its index − 1, 255 for its 0).
    mapper = LidarsegClassMapper(tables)
    card = load_label_map("nuscenes")
    expected = {raw: 255 if merged == 0 else merged - 1 for raw, merged in mapper.fine_idx_2_coarse_idx_mapping.items()}
    assert card.raw_to_train == expected
    names = {index - 1: name for name, index in mapper.coarse_name_2_coarse_idx_mapping.items() if index}
    assert card.classes == tuple(names[k] for k in range(16))


def test_nuscenes_broken_tables(tmp_path: Path) -> None:
    case = CASES["nuscenes"]
    path = case.write(tmp_path / "drive", case.truth)
    (path / "v1.0-mini" / "ego_pose.json").write_text("[")
    with pytest.raises(DataError, match=r"v1\.0-mini: nuscenes-devkit cannot open"):
        open_drive(path)


def test_nuscenes_two_versions_ask_which(tmp_path: Path) -> None:
    case = CASES["nuscenes"]
    path = case.write(tmp_path / "drive", case.truth)
    shutil.copytree(path / "v1.0-mini", path / "v1.0-trainval")
    with pytest.raises(DataError, match=r"2 versions there \(v1\.0-mini, v1\.0-trainval\)"):
        open_drive(path)
    assert len(open_drive(path / "v1.0-mini")) == 2


def test_folder_tum_by_time_when_there_are_more_poses(tmp_path: Path) -> None:
    (truth,) = _FOLDER
    folder = tmp_path / "drive"
    folder.mkdir()
    (folder / "trajectory.txt").write_text(mini.tum_text(truth.frames))
    for frame in truth.frames[1::2]:
        frame.points.tofile(folder / f"{frame.timestamp_ns}.bin")
    scene = open_scene(folder)
    np.testing.assert_allclose(scene.world_SE3_lidar, [f.world_SE3_lidar for f in truth.frames[1::2]], atol=1e-9)
    np.testing.assert_array_equal(scene.timestamps_ns, [f.timestamp_ns for f in truth.frames[1::2]])


def test_folder_natural_order_and_points_subfolder(tmp_path: Path) -> None:
    (truth,) = _FOLDER
    folder = mini.write_folder(tmp_path, (truth,))
    (folder / "points").mkdir()
    for file in folder.glob("*.bin"):
        file.rename(folder / "points" / file.name)
    scene = open_scene(folder)
    assert scene.frame_names == ("7", "8", "9", "10", "11")
    np.testing.assert_array_equal(scene[3].points(), truth.frames[3].points)


def test_folder_wrong_number_of_poses(tmp_path: Path) -> None:
    folder = mini.write_folder(tmp_path, _FOLDER, trajectory="tum")
    lines = (folder / "drive.tum").read_text().splitlines(keepends=True)
    (folder / "drive.tum").write_text("".join(lines[:3]))
    with pytest.raises(DataError, match=r"drive\.tum"):
        open_drive(folder)


def test_pandaset_aligns_labels_by_row(tmp_path: Path) -> None:
    case = CASES["pandaset"]
    path = case.write(tmp_path / "drive", case.truth)
    file = path / "001" / "annotations" / "semseg" / "00.pkl.gz"
    table = pickle.loads(gzip.decompress(file.read_bytes()))
    shuffled = table.sample(frac=1, random_state=3)
    file.write_bytes(gzip.compress(pickle.dumps(shuffled, protocol=4)))
    np.testing.assert_array_equal(open_scene(path, "001")[0].raw_labels(), case.truth[0].frames[0].raw_labels)


@pytest.mark.parametrize("name", ["semantickitti", "semantickitti-spvnas", "nuscenes", "argoverse2", "pandaset"])
def test_cards_are_whole(name: str) -> None:
    card = load_label_map(name)
    assert len(card.classes) == len(set(card.classes)) == len(card.colors) == len(card.train_to_raw)
    assert set(card.raw_to_train.values()) - {255} == set(range(len(card.classes)))
    assert [card.raw_to_train[raw] for raw in card.train_to_raw] == list(range(len(card.classes)))
    known = {"nuscenes": range(32), "argoverse2": range(31), "pandaset": range(1, 43)}.get(name, ())
    assert set(known) <= set(card.raw_to_train)
