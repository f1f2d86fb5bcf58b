# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""The pictures of a drive as scenes of their own, and LiDAR points in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lidal3d.errors import DataError, UsageError
from lidal3d.scene.open import open_drive
from lidal3d.scene.pixels import picture_of, picture_shape, split_address
from lidal3d.scene.projection import project, visible_pixels
from lidal3d.scene.scene import CameraImage
from lidal3d.sim import SimConfig, write_drive
from lidal3d.units import make_partition
from lidal3d.units.superpixels import Superpixels


@pytest.fixture(scope="module")
def drive(tmp_path_factory) -> Path:  # type: ignore[no-untyped-def]
    folder = tmp_path_factory.mktemp("drive")
    config = SimConfig(frames=3, beams=16, columns=360, camera_width=200, camera_height=60, seed=4)
    write_drive(config, folder, "semantickitti", "00")
    return folder


def test_a_camera_is_a_scene_of_pictures(drive):
    sweeps, (scene,) = open_drive(drive)[0], open_drive(f"{drive}@image_2:100")
    assert (scene.id, scene.sensor, len(scene)) == ("00.image_2", "camera", 3)
    points, labels = scene[1].points(), scene[1].labels()
    assert points.shape == (30 * 100, 5)
    assert picture_shape(points) == (30, 100)
    assert labels is not None
    assert labels.shape == (3000,)
    assert len(np.unique(labels)) > 3
    with Image.open(sweeps[1].images()[0].path) as whole:
        small = np.asarray(whole.convert("RGB").resize((100, 30), Image.Resampling.BOX)) / 255
    assert np.allclose(picture_of(points), small, atol=1e-6)
    assert scene[1].sweep().points().shape == sweeps[1].points().shape
    assert scene[1].positions(points).shape == (3000, 3)


def test_labels_of_pixels_are_those_of_the_picture_at_their_middle(drive):
    (scene,) = open_drive(f"{drive}@image_2")
    frame = scene[0]
    ids = np.asarray(Image.open(drive / "sequences/00/semantics_2/000000.png"))
    assert np.array_equal(frame.raw_labels().reshape(60, 200), ids)
    (half,) = open_drive(f"{drive}@image_2:100")
    assert np.array_equal(half[0].raw_labels().reshape(30, 100), ids[1::2, 1::2])


def test_pixels_with_a_lidar_point_in_them_are_where_it_is(drive):
    (scene,) = open_drive(f"{drive}@image_2")
    frame, sweep = scene[2], scene[2].sweep()
    xyz = sweep.points()[:, :3]
    pixels, _, seen = visible_pixels(sweep.images()[0], xyz)
    where = frame.positions(frame.points()).reshape(60, 200, 3)
    column, row = pixels[seen].astype(int).T
    apart = np.linalg.norm(where[row, column] - sweep.positions(sweep.points())[seen], axis=1)
    # Half a pixel off, or another point of the same pixel nearer.
    assert seen.sum() > 300
    assert np.quantile(apart, 0.8) < 0.5


def test_labels_of_points_and_of_their_pixels_agree_where_nothing_hides_them(drive):
    sweep = open_drive(drive)[0][1]
    image = sweep.images()[0]
    ids = np.asarray(Image.open(drive / "sequences/00/semantics_2/000001.png"))
    agree = {}
    for look in (project, visible_pixels):
        pixels, _, seen = look(image, sweep.points()[:, :3])
        column, row = pixels[seen].astype(int).T
        agree[look] = (ids[row, column] == sweep.raw_labels()[seen]).mean()
    assert agree[visible_pixels] > 0.85
    assert agree[visible_pixels] >= agree[project]


def test_a_wall_hides_what_is_behind_it():
    y, z = np.meshgrid(np.arange(-3, 3, 0.1), np.arange(-1, 1, 0.1))
    wall = np.stack([np.full(y.size, 10.0), y.ravel(), z.ravel()], 1)
    behind = wall * [2, 1.5, 1.5]
    to_camera = np.array([[0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1.0]])
    camera = np.array([[100, 0, 100], [0, 100, 50], [0, 0, 1.0]])
    image = CameraImage("front", Path("none.png"), 0, camera, to_camera, 200, 100)
    _, depth, seen = visible_pixels(image, np.concatenate([wall, behind]))
    assert seen[: len(wall)].all()
    assert not seen[len(wall) :].any()
    assert np.allclose(depth[: len(wall)], 10)
    beside = behind + np.array([0, 8, 0])
    assert visible_pixels(image, np.concatenate([wall, beside]))[2][len(wall) :].mean() > 0.5


def test_addresses_of_cameras(drive, tmp_path):
    assert split_address("a/b@image_2,image_3:320") == (Path("a/b"), ("image_2", "image_3"), 320)
    assert split_address("a/b") == (Path("a/b"), (), 480)
    odd = tmp_path / "me@home"
    odd.mkdir()
    assert split_address(odd) == (odd, (), 480)
    assert [scene.id for scene in open_drive(f"{drive}@*")] == ["00.image_2"]
    with pytest.raises(UsageError, match=r"no camera 'image_9' in scene 00 \(there: image_2\)"):
        open_drive(f"{drive}@image_9")
    with pytest.raises(UsageError, match="width 'x' of the pictures"):
        open_drive(f"{drive}@image_2:x")


def test_a_picture_that_is_not_whole_is_named(drive, tmp_path):
    pixels = np.array([[i % 5, i // 5, 0, 0, 0] for i in range(15)], np.float32)
    with pytest.raises(DataError, match="14 pixels for a picture of 5 × 3"):
        picture_shape(pixels[1:])
    config = SimConfig(frames=1, beams=4, columns=32, camera_width=32, camera_height=16)
    write_drive(config, tmp_path, "semantickitti", "00")
    path = tmp_path / "sequences/00/image_2/000000.png"
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(DataError, match=r"image_2/000000\.png: not a whole image"):
        open_drive(f"{tmp_path}@image_2")[0][0].points()


def test_superpixels_are_connected_alike_and_follow_colour():
    height, width = 40, 60
    row, column = np.mgrid[:height, :width]
    color = np.zeros((height, width, 3))
    color[:, 22:] = [1, 0.5, 0]
    points = np.column_stack([column.ravel(), row.ravel(), color.reshape(-1, 3)]).astype(np.float32)
    ids = Superpixels(24)(points)
    assert np.array_equal(np.unique(ids), np.arange(ids.max() + 1))
    assert 10 <= ids.max() < 40
    left = set(ids[points[:, 0] < 22].tolist())
    assert not left & set(ids[points[:, 0] >= 22].tolist())
    from scipy.ndimage import label

    for unit in range(ids.max() + 1):
        assert label((ids == unit).reshape(height, width))[1] == 1
    assert np.array_equal(ids, Superpixels(24)(points.copy()))


def test_units_of_the_other_sensor_are_refused(drive):
    from lidal3d.settings.units import UnitsConfig
    from lidal3d.units.make import refuse_other_sensor

    pictures, sweeps = open_drive(f"{drive}@image_2"), open_drive(drive)
    with pytest.raises(UsageError, match=r"scene 00.image_2 has pictures; take superpixels or image"):
        refuse_other_sensor(UnitsConfig(), pictures)
    with pytest.raises(UsageError, match="has sweeps; take supervoxels, or open its pictures as DRIVE@CAMERA"):
        refuse_other_sensor(UnitsConfig(kind="image"), sweeps)
    refuse_other_sensor(UnitsConfig(kind="image"), pictures)
    assert make_partition(UnitsConfig(kind="image"))(pictures[0][0].points()).max() == 0
