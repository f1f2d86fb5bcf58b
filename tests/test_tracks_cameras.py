# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Tracks in pictures: boxes, what hides what, pixels, and a simulated drive whose pictures have classes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lidal3d.errors import DataError
from lidal3d.jobs.track import track_drive
from lidal3d.scene.open import open_drive
from lidal3d.scene.pixels import picture_shape
from lidal3d.scene.projection import visible_pixels
from lidal3d.scene.scene import CameraImage
from lidal3d.settings.tracks import TracksConfig
from lidal3d.sim import SimConfig, write_drive
from lidal3d.tracks.cameras import patches_in, patches_of_scene, patches_of_track, pixel_tracks

LIDAR_TO_CAMERA = np.array([[0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1.0]])
INTRINSICS = np.array([[50.0, 0, 50], [0, 50, 30], [0, 0, 1]])
IMAGE = CameraImage("front", Path("none.png"), 0, INTRINSICS, LIDAR_TO_CAMERA, 100, 60)


def wall(x: float, y: tuple[float, float], z: tuple[float, float], step: float = 0.1) -> np.ndarray:
    """Points of an upright rectangle across the view."""
    across, up = np.meshgrid(np.arange(y[0], y[1] + 1e-9, step), np.arange(z[0], z[1] + 1e-9, step))
    return np.column_stack([np.full(across.size, x), across.ravel(), up.ravel()])


def test_a_box_by_hand() -> None:
    """Ten metres ahead a metre is five pixels; the camera's x is to the right, y of the sensor to the left."""
    xyz = wall(10, (-2, 2), (-1, 1), 0.5)
    (box,) = patches_in(IMAGE, xyz, np.zeros(len(xyz), np.int32), margin=0.0).box.tolist()
    assert box == [40, 25, 61, 36]  # pixels 40 … 60 and 25 … 35, ends outside
    (wider,) = patches_in(IMAGE, xyz, np.zeros(len(xyz), np.int32), margin=0.1).box.tolist()
    assert wider == [38, 24, 63, 37]


def test_what_something_nearer_hides_is_not_in_the_box() -> None:
    """The left half of a thing stands behind a wall that has no track."""
    thing, wall_in_front = wall(20, (-2, 2), (-1, 1)), wall(5, (0, 2), (-2, 2), 0.05)
    xyz = np.concatenate([thing, wall_in_front])
    ids = np.array([7] * len(thing) + [-1] * len(wall_in_front), np.int32)
    patches = patches_in(IMAGE, xyz, ids, margin=0.0)
    assert patches.track.tolist() == [7]
    _, _, seen = visible_pixels(IMAGE, xyz)
    assert patches.points[0] == seen[: len(thing)].sum()
    assert patches.hidden[0] == pytest.approx(1 - seen[: len(thing)].mean())
    assert 0.4 < patches.hidden[0] < 0.75
    alone = patches_in(IMAGE, thing, ids[: len(thing)], margin=0.0)
    assert alone.hidden[0] == 0
    assert alone.box[0, 0] in (44, 45)  # of pixel 45, up to rounding
    assert patches.box[0, 0] >= 49  # from the wall's edge on, in the middle of the picture
    assert patches.box[0, 2] == alone.box[0, 2]


def test_boxes_against_looking_at_every_point() -> None:
    rng = np.random.default_rng(0)
    ids = rng.integers(-1, 60, 600).astype(np.int32)
    xyz = rng.uniform([2, -12, -4], [40, 12, 6], (61, 3))[ids] + rng.normal(0, 0.7, (600, 3))
    patches = patches_in(IMAGE, xyz, ids, min_points=8, margin=0.2)
    pixels, _, seen = visible_pixels(IMAGE, xyz)
    expected = {}
    for track in range(60):
        mine = pixels[seen & (ids == track)]
        if len(mine) >= 8:
            (left, top), (right, bottom) = mine.min(axis=0), mine.max(axis=0)
            dx, dy = 0.2 * (right - left), 0.2 * (bottom - top)
            expected[track] = [
                max(0, int(np.floor(left - dx))), max(0, int(np.floor(top - dy))),
                min(100, int(np.floor(right + dx)) + 1), min(60, int(np.floor(bottom + dy)) + 1),
            ]  # fmt: skip
    assert 0 < len(expected) < 60
    assert dict(zip(patches.track.tolist(), patches.box.tolist(), strict=True)) == expected


def test_a_picture_that_shows_no_track_has_no_patch() -> None:
    behind = wall(-10, (-2, 2), (-1, 1))
    assert len(patches_in(IMAGE, behind, np.zeros(len(behind), np.int32))) == 0
    empty = patches_in(IMAGE, np.empty((0, 3)), np.empty(0, np.int32))
    assert (len(empty), empty.box.shape) == (0, (0, 4))
    assert (pixel_tracks(IMAGE, behind, np.zeros(len(behind), np.int32), (50, 30)) == -1).all()


def test_a_pixel_is_of_the_nearest_point_within_reach() -> None:
    rng = np.random.default_rng(3)
    xyz = rng.uniform([5, -6, -3], [30, 6, 3], (80, 3))
    ids = rng.integers(-1, 4, 80).astype(np.int32)
    found = pixel_tracks(IMAGE, xyz, ids, (50, 30), 3.0)
    pixels, depth, seen = visible_pixels(IMAGE, xyz)
    at = (pixels[seen] / 2).astype(int)
    owner = {}
    for (column, row), _, track in sorted(
        zip(map(tuple, at.tolist()), depth[seen], ids[seen], strict=True), key=lambda one: -one[1]
    ):
        owner[row, column] = int(track)
    places = np.array(list(owner))
    for row in range(30):
        for column in range(50):
            apart = np.hypot(*(places - [row, column]).T)
            near = {owner[tuple(place)] for place in places[apart == apart.min()].tolist()}
            assert int(found[row, column]) in (near if apart.min() <= 3 else {-1})


@pytest.fixture(scope="module")
def drive(tmp_path_factory):  # type: ignore[no-untyped-def]
    folder = tmp_path_factory.mktemp("drive")
    config = SimConfig(frames=4, beams=32, columns=720, camera_width=240, camera_height=72, seed=3)
    write_drive(config, folder, "semantickitti", "00")
    (scene,) = open_drive(folder)
    return folder, scene, track_drive([scene], folder / "tracks", TracksConfig())


def test_a_track_is_found_in_all_pictures_that_show_it(drive) -> None:  # type: ignore[no-untyped-def]
    _, scene, store = drive
    every = list(patches_of_scene(scene, store))
    assert [(index, image.camera) for index, image, _ in every] == [(k, "image_2") for k in range(4)]
    counts = np.bincount(np.concatenate([patches.track for _, _, patches in every]))
    track = int(counts.argmax())
    mine = patches_of_track(scene, store, track)
    assert len(mine) == counts[track] >= 3
    for patch in mine:
        _, _, patches = every[patch.frame]
        row = patches.track.tolist().index(track)
        assert patch.box == tuple(patches.box[row].tolist())
        assert (patch.points, patch.hidden) == (patches.points[row], patches.hidden[row])
    with pytest.raises(DataError, match=r"00.parquet: no track 99999; name one"):
        patches_of_track(scene, store, 99999)
    assert list(patches_of_scene(replace(scene, source=NoCameras(scene.source)), store)) == []


class NoCameras:
    def __init__(self, source: object) -> None:
        self.source = source

    def images(self, index: int) -> tuple:
        return ()


def test_pixels_of_a_track_are_mostly_of_one_class(drive) -> None:  # type: ignore[no-untyped-def]
    """Against `semantics_2`, which projection and tracks never saw."""
    folder, scene, store = drive
    (camera,) = open_drive(f"{folder}@image_2")
    right = total = 0
    for frame in camera:
        sweep = frame.sweep()
        points, labels = sweep.points(), frame.labels()
        ids = store.ids(scene.id, sweep.name, len(points))
        height, width = picture_shape(frame.points())
        shown = pixel_tracks(sweep.images()[0], points[:, :3], ids, (width, height)).ravel()
        for track in np.unique(shown[shown >= 0]):
            counts = np.bincount(labels[(shown == track) & (labels < 255)], minlength=1)
            right, total = right + int(counts.max()), total + int(counts.sum())
    assert total > 2000
    assert right / total > 0.75
