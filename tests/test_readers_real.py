# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Readers on real samples (LIDAL3D_REAL_DATA): poses bring consecutive sweeps together, cameras see what is there."""

from __future__ import annotations

import os
from pathlib import Path

import miniature as mini
import numpy as np
import pytest
from scipy.spatial import cKDTree

from lidal3d.check import check_drive
from lidal3d.scene.open import open_drive
from lidal3d.scene.pose import inverse, transform
from lidal3d.scene.restricted_pickle import loads
from lidal3d.units.boxes import points_in_boxes

REAL = Path(os.environ.get("LIDAL3D_REAL_DATA", "/nonexistent"))
real = pytest.mark.skipif(not REAL.is_dir(), reason="LIDAL3D_REAL_DATA names no folder with the real samples")


def sample(name: str) -> Path:
    path = REAL / name
    if not path.is_dir():
        pytest.skip(f"no real sample {name} in LIDAL3D_REAL_DATA")
    return path


@real
@pytest.mark.parametrize(
    ("name", "above_m", "with_poses_m", "without_poses_m"),
    [
        ("semantickitti", -1.2, 0.085, 0.16),
        ("pandaset", 0.5, 0.10, 0.24),
        ("argoverse2/sensor/val", 0.5, 0.045, 0.065),
    ],
)
def test_poses_bring_sweeps_together(name: str, above_m: float, with_poses_m: float, without_poses_m: float) -> None:
    """Median distance to the nearest neighbour in the sweep before, of points above ground."""
    scene = open_drive(sample(name))[0]
    for index in range(1, min(len(scene), 3)):
        before, after = (f.points()[:, :3] for f in (scene[index - 1], scene[index]))
        tree = cKDTree(before[before[:, 2] > above_m])
        after = after[after[:, 2] > above_m][::5]
        before_SE3_after = inverse(scene.scene_SE3_lidar[index - 1]) @ scene.scene_SE3_lidar[index]
        assert np.median(tree.query(transform(before_SE3_after, after))[0]) < with_poses_m
        assert np.median(tree.query(after)[0]) > without_poses_m


@real
@pytest.mark.parametrize("name", ["semantickitti", "pandaset", "argoverse2/sensor/val"])
def test_vehicle_drives_forward(name: str) -> None:
    scene = open_drive(sample(name))[0]
    step = (inverse(scene.world_SE3_lidar[0]) @ scene.world_SE3_lidar[1])[:3, 3]
    assert step[0] > 3 * np.abs(step[1:]).max()


@real
@pytest.mark.parametrize(
    ("name", "width", "height", "road"), [("semantickitti", 1241, 376, "road"), ("pandaset", 1920, 1080, "road")]
)
def test_camera_sees_the_road_below_and_little_of_what_lies_behind(
    name: str, width: int, height: int, road: str
) -> None:
    frame = open_drive(sample(name))[0][0]
    (image,) = frame.images()
    assert (image.width, image.height) == (width, height)
    points, labels = frame.points(), frame.labels()
    camera = transform(image.camera_SE3_lidar, points[:, :3])
    ahead = camera[:, 2] > 1
    pixels = camera[ahead] @ image.intrinsics.T
    pixels = pixels[:, :2] / pixels[:, 2:]
    inside = ((pixels >= 0) & (pixels < [width, height])).all(axis=1)
    assert inside.sum() > 10_000
    is_road = labels[ahead][inside] == frame.scene.label_map.classes.index(road)
    assert np.median(pixels[inside][is_road, 1]) > np.median(pixels[inside][~is_road, 1])
    assert image.load().shape == (height, width, 3)


@real
def test_argoverse2_labels_fit_the_first_sweep() -> None:
    scene = open_drive(sample("argoverse2/sensor/val"))[0]
    assert len(scene[0].labels()) == len(scene[0].points())
    assert scene[1].labels() is None


@real
@pytest.mark.parametrize(
    ("name", "scenes", "frames"), [("semantickitti", 1, 11), ("pandaset", 1, 4), ("argoverse2", 2, 3)]
)
def test_real_samples_have_no_errors(name: str, scenes: int, frames: int) -> None:
    report = check_drive(sample(name))
    assert (report.scenes, report.frames) == (scenes, frames)
    assert report.ok, report.findings


@real
def test_nuscenes_boxes_project_where_the_vendor_says(tmp_path: Path) -> None:
    """A table folder made of a real key frame's info: box centres must land on the image as its own pixels say."""
    folder = sample("nuscenes_keyframe")
    (path,) = folder.glob("*.pkl")
    info = loads(path.read_bytes(), str(path))["data_list"][0]
    (scene,) = open_drive(_tables_of_key_frame(tmp_path, folder, info))
    frame = scene[0]
    assert frame.points().shape == (34688, 4)
    images = {image.camera: image for image in frame.images()}
    assert set(images) == set(info["images"])
    compared = 0
    for camera, instances in info["cam_instances"].items():
        image = images[camera]
        assert image.load().shape == (900, 1600, 3)
        # Boxes of the frame in sensor axes (x right, y forward), turned to lidar axes as the points were.
        sensor = np.array([box["bbox_3d"][:3] for box in info["instances"]])
        seen = transform(image.camera_SE3_lidar, np.column_stack([sensor[:, 1], -sensor[:, 0], sensor[:, 2]]))
        pixels = seen[seen[:, 2] > 0] @ image.intrinsics.T
        pixels = pixels[:, :2] / pixels[:, 2:]
        for instance in instances:
            off = np.linalg.norm(pixels - np.array(instance["center_2d"]), axis=1).min()
            assert off < 3.0, (camera, off)
            compared += 1
    assert compared > 60


@real
def test_an_info_file_of_mmdet3d_opens_as_it_is() -> None:
    """The vendor's boxes, turned as the points are, must hold as many points as the vendor counted in them."""
    folder = sample("nuscenes_keyframe")
    (path,) = folder.glob("*.pkl")
    (scene,) = open_drive(path)
    frame = scene[0]
    assert (scene.dataset, scene.label_map.name, frame.timestamp_ns) == ("mmdet3d", "nuscenes", 1532402927647951000)
    assert frame.points().shape == (34688, 4)
    assert check_drive(path).ok
    info = loads(path.read_bytes(), str(path))["data_list"][0]
    boxes = np.array([box["bbox_3d"] for box in info["instances"]])
    turned = np.column_stack([boxes[:, 1], -boxes[:, 0], boxes[:, 2:6], boxes[:, 6] - np.pi / 2])
    counted = np.array([box["num_lidar_pts"] for box in info["instances"]])
    inside = [
        int((points_in_boxes(frame.points(), box[None].astype(np.float32), np.ones(1)) == 0).sum()) for box in turned
    ]
    assert np.corrcoef(counted, inside)[0, 1] > 0.99
    assert abs(sum(inside) - counted.sum()) < 0.1 * counted.sum()
    images = {image.camera: image for image in frame.images()}
    for camera, instances in info["cam_instances"].items():
        seen = transform(images[camera].camera_SE3_lidar, turned[:, :3])
        pixels = seen[seen[:, 2] > 0] @ images[camera].intrinsics.T
        pixels = pixels[:, :2] / pixels[:, 2:]
        off = [np.linalg.norm(pixels - np.array(one["center_2d"]), axis=1).min() for one in instances]
        assert max(off, default=0) < 3.0


def _tables_of_key_frame(root: Path, folder: Path, info: dict) -> Path:
    tables = mini.NuScenesTables(root)
    for name in ("samples", "maps"):
        (root / name).mkdir()
    (root / "maps" / "none.png").touch()
    tables.add("log", "log", logfile="", vehicle="", date_captured="", location="singapore-onenorth")
    tables.add("map", "map", log_tokens=["log"], category="semantic_prior", filename="maps/none.png")
    tables.add("sample", "sample", timestamp=int(info["timestamp"] * 1e6), scene_token="scene", prev="", next="")
    tables.add("scene", "scene", name="scene-0061", description="", log_token="log", nbr_samples=1,
               first_sample_token="sample", last_sample_token="sample")  # fmt: skip
    world_SE3_ego, ego_SE3_lidar = np.array(info["ego2global"]), np.array(info["lidar_points"]["lidar2ego"])
    sensors = {"LIDAR_TOP": (info["lidar_points"]["lidar_path"], ego_SE3_lidar, world_SE3_ego, [], info["timestamp"])}
    for camera, image in info["images"].items():
        # The ego pose at the image's time, from the vendor's lidar2cam.
        ego_SE3_camera = np.array(image["cam2ego"])
        world_SE3_camera = world_SE3_ego @ ego_SE3_lidar @ np.linalg.inv(image["lidar2cam"])
        ego = world_SE3_camera @ np.linalg.inv(ego_SE3_camera)
        sensors[camera] = (image["img_path"], ego_SE3_camera, ego, image["cam2img"], image["timestamp"])
    for channel, (file, mount, ego, lens, seconds) in sensors.items():
        (root / "samples" / file).symlink_to(folder / file)
        tables.add("sensor", f"s{channel}", channel=channel, modality="lidar" if not lens else "camera")
        tables.pose("calibrated_sensor", f"c{channel}", mount, sensor_token=f"s{channel}", camera_intrinsic=lens)
        tables.pose("ego_pose", f"e{channel}", ego, timestamp=int(seconds * 1e6))
        tables.add("sample_data", f"d{channel}", sample_token="sample", ego_pose_token=f"e{channel}", prev="", next="",
                   calibrated_sensor_token=f"c{channel}", timestamp=int(seconds * 1e6), fileformat="", width=1600,
                   is_key_frame=True, height=900, filename=f"samples/{file}")  # fmt: skip
    tables.tables.pop("lidarseg")
    tables.write()
    return root
