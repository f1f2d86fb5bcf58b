# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""PandaSet's cuboids as instances of points."""

from __future__ import annotations

import os
from pathlib import Path

import miniature as mini
import numpy as np
import pytest

from lidal3d.errors import DataError
from lidal3d.scene.open import open_drive
from lidal3d.scene.readers.pandaset_cuboids import read_cuboids

REAL = Path(os.environ.get("LIDAL3D_REAL_DATA", "/nonexistent"))
COLUMNS = ("yaw", *(f"position.{a}" for a in "xyz"), *(f"dimensions.{a}" for a in "xyz"))


def write(path: Path, rows: list[tuple[float, ...]], uuids: list[str], sensors: list[int] | None = None) -> Path:
    columns = {name: np.array([row[i] for row in rows], np.float64) for i, name in enumerate(COLUMNS)}
    columns["stationary"] = np.array([True, False, True, True][: len(rows)])
    columns["uuid"] = np.array(uuids, dtype=object)
    columns["cuboids.sensor_id"] = np.array([-1] * len(rows) if sensors is None else sensors)
    mini.pickled_table(path, columns)
    return path


def test_points_get_the_cuboid_they_lie_in(tmp_path: Path) -> None:
    """One turned by 30 degrees, a smaller one inside it, and one of the forward sensor that is left out."""
    rows = [
        (np.pi / 6, 10, 5, 1, 2, 6, 2), (0, 10, 5, 1, 0.5, 0.5, 0.5), (0, -4, 0, 1, 1, 1, 1), (0, 0, 0, 0, 4, 4, 4),
    ]  # fmt: skip
    uuids = ["0000000a-x", "0000000b-x", "00000000-x", "0000000d-x"]
    cuboids = read_cuboids(write(tmp_path / "00.pkl.gz", rows, uuids, [-1, 0, -1, 1]))
    rng = np.random.default_rng(0)
    points = rng.uniform([-6, -4, -1], [14, 10, 3], (5000, 3))
    wanted = np.zeros(5000, int)
    for yaw, x, y, z, *size, number in ((*row, n) for row, n in zip(rows[:3], (10, 11, 1), strict=True)):
        turn = np.array([[np.cos(yaw), -np.sin(yaw), 0], [np.sin(yaw), np.cos(yaw), 0], [0, 0, 1]])
        own = (points - [x, y, z]) @ turn
        wanted[(np.abs(own) <= np.array(size) / 2).all(axis=1)] = number
    assert set(wanted) == {0, 1, 10, 11}
    np.testing.assert_array_equal(cuboids.instances(points), wanted)
    assert cuboids.stationary.tolist() == [True, False, True]


def test_a_sweep_without_cuboids_has_no_instances_and_one_with_them_has(tmp_path: Path) -> None:
    drive = mini.write_pandaset(tmp_path / "drive", mini.make_scenes(4, ("001",), range(1, 43), ("front_camera",)))
    scene = open_drive(drive)[0]
    assert scene[0].instances() is None
    middle = scene.world_SE3_lidar[0][:3, 3]
    write(drive / "001" / "annotations" / "cuboids" / "00.pkl.gz", [(0, *middle, 500, 500, 500)], ["00000007-x"])
    assert (scene[0].instances() == 7).all()
    assert scene[1].instances() is None


def test_what_is_wrong_with_cuboids_is_said(tmp_path: Path) -> None:
    mini.pickled_table(tmp_path / "a.pkl.gz", {"uuid": np.array(["x"], dtype=object)})
    with pytest.raises(DataError, match=r"a\.pkl\.gz: no column 'yaw'"):
        read_cuboids(tmp_path / "a.pkl.gz")
    with pytest.raises(DataError, match="'nonsense' is no uuid"):
        read_cuboids(write(tmp_path / "b.pkl.gz", [(0,) * 7], ["nonsense"]))
    (tmp_path / "c.pkl.gz").write_bytes(b"\x1f\x8b cut")
    with pytest.raises(DataError, match=r"c\.pkl\.gz: "):
        read_cuboids(tmp_path / "c.pkl.gz")
    with pytest.raises(DataError, match=r"d\.pkl\.gz: missing"):
        read_cuboids(tmp_path / "d.pkl.gz")


@pytest.mark.skipif(not REAL.is_dir(), reason="LIDAL3D_REAL_DATA names no folder with the real samples")
def test_cars_of_the_real_sample_lie_in_cuboids_and_buildings_do_not() -> None:
    frame = open_drive(REAL / "pandaset")[0][0]
    instances, raw = frame.instances(), frame.raw_labels()
    assert (instances[raw == 13] > 0).mean() > 0.95
    assert (instances[raw == 41] > 0).mean() < 0.01
