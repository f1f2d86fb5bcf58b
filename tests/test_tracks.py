# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""The segment tracker on a street made of boxes: what is one thing is one track, whatever moves."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from drives import PlainSource, drive_of
from scipy.spatial.distance import cdist

from lidal3d.errors import DataError
from lidal3d.jobs.track import track_drive
from lidal3d.scene.pose import from_rotation_translation, inverse, transform
from lidal3d.scene.scene import Scene
from lidal3d.settings.tracks import TracksConfig
from lidal3d.tracks.association import assign, moves
from lidal3d.tracks.ground import is_ground
from lidal3d.tracks.segments import segments_of, standing_parts
from lidal3d.tracks.store import TrackStore
from lidal3d.tracks.table import path_of, sightings, tracks_of
from lidal3d.tracks.tracker import SegmentTracker

CONFIG = TracksConfig()
PERIOD_NS = 100_000_000
SENSOR_M = 1.7


@dataclass(frozen=True)
class Thing:
    """A box on the road: where it is at first, how fast it goes, its size; seen in the given sweeps only."""

    x: float
    y: float
    speed: tuple[float, float] = (0.0, 0.0)
    size: tuple[float, float, float] = (4.0, 1.8, 1.5)
    seen: range = range(100)

    def surface(self, rng: np.random.Generator, sweep: int) -> np.ndarray:
        """Points on its sides, dense enough to touch."""
        count = int(250 * (self.size[0] + self.size[1]) * self.size[2])
        points = rng.uniform(-0.5, 0.5, (count, 3))
        points[np.arange(count), rng.integers(0, 2, count)] = rng.choice([-0.5, 0.5], count)
        points = points * self.size + [self.x, self.y, self.size[2] / 2]
        points[:, :2] += np.array(self.speed) * sweep * 0.1
        return points


def street(things: list[Thing], sweeps: int = 8, seed: int = 0, speed: float = 5.0) -> tuple[Scene, list[np.ndarray]]:
    """A drive along x past things on flat ground, and which thing each point is of (−1: ground)."""
    rng = np.random.default_rng(seed)
    poses = np.tile(np.eye(4), (sweeps, 1, 1))
    poses[:, 0, 3] = 100 + speed * 0.1 * np.arange(sweeps)
    poses[:, 2, 3] = SENSOR_M
    clouds, truth = [], []
    for sweep in range(sweeps):
        angle, radius = rng.uniform(-np.pi, np.pi, 4000), rng.uniform(3, 40, 4000)
        center = poses[sweep, :3, 3] * [1, 1, 0]
        parts = [np.stack([radius * np.cos(angle), radius * np.sin(angle), rng.normal(0, 0.02, 4000)], 1) + center]
        owner = [np.full(4000, -1)]
        for number, thing in enumerate(things):
            if sweep in thing.seen:
                parts.append(thing.surface(rng, sweep) + np.array([100, 0, 0]))
                owner.append(np.full(len(parts[-1]), number))
        shuffle = rng.permutation(sum(map(len, parts)))
        world = np.concatenate(parts)[shuffle]
        xyz = transform(inverse(poses[sweep]), world)
        clouds.append(np.column_stack([xyz, np.zeros(len(xyz))]).astype(np.float32))
        truth.append(np.concatenate(owner)[shuffle])
    plain = drive_of(np.random.default_rng(0), sweeps, 1)
    return replace(plain, world_SE3_lidar=poses, source=PlainSource(tuple(clouds))), truth


def tracked(scene: Scene, config: TracksConfig = CONFIG) -> list[np.ndarray]:
    tracker = SegmentTracker(config)
    return [
        tracker.update(frame.points(), scene.scene_SE3_lidar[frame.index], frame.timestamp_ns).of_point
        for frame in scene
    ]


def tracks_of_thing(ids: list[np.ndarray], truth: list[np.ndarray], number: int) -> list[int]:
    """The main track of a thing in every sweep that shows it, and it must hold nearly all that stands of it."""
    result = []
    for mine, owner in zip(ids, truth, strict=True):
        found = mine[owner == number]
        if len(found):
            known, counts = np.unique(found[found >= 0], return_counts=True)
            assert counts.max() > 0.8 * (found >= 0).sum()
            result.append(int(known[counts.argmax()]))
    return result


# --- ground --------------------------------------------------------------------------------------------------------


def test_ground_goes_and_things_stay() -> None:
    scene, truth = street([Thing(8, 3), Thing(-12, -4), Thing(25, 6, size=(0.5, 0.5, 1.8))], sweeps=1)
    points = scene[0].points()
    ground = is_ground(points, CONFIG)
    assert ground[truth[0] < 0].mean() > 0.999
    # Where a thing hides the road, what it has within a step of the road passes for ground, and 20 cm above that.
    standing = points[truth[0] >= 0, 2] + SENSOR_M > 0.5
    assert not ground[truth[0] >= 0][standing].any()


@pytest.mark.parametrize("slope", [-0.06, 0.06])
def test_a_hill_is_ground(slope: float) -> None:
    rng = np.random.default_rng(1)
    xyz = rng.uniform([-40, -40, 0], [40, 40, 0], (30000, 3))
    xyz[:, 2] = slope * xyz[:, 0] - SENSOR_M
    assert is_ground(xyz, CONFIG).mean() > 0.99


def test_the_sensor_may_be_at_any_height() -> None:
    rng = np.random.default_rng(2)
    xyz = rng.uniform([-30, -30, 0], [30, 30, 0.02], (10000, 3))
    for height in (0.0, 1.2, 2.9):
        assert is_ground(xyz - [0, 0, height], CONFIG).all()


# --- segments ------------------------------------------------------------------------------------------------------


def test_segments_are_what_touches() -> None:
    """Near the sensor voxels are 16 cm: boxes half a metre apart are two, and every point of one box is in one."""
    scene, truth = street([Thing(8, 4), Thing(8, 6.5), Thing(-9, -3)], sweeps=1)
    segments = segments_of(standing_parts(scene[0].points(), scene.scene_SE3_lidar[0], CONFIG), CONFIG.min_points)
    assert len(segments) == 3
    for number in range(3):
        found = segments.of_point[truth[0] == number]
        assert len(np.unique(found[found >= 0])) == 1
    assert (segments.of_point[truth[0] < 0] < 0).all()
    for number in range(len(segments)):
        xyz = transform(scene.scene_SE3_lidar[0], scene[0].points()[segments.of_point == number, :3])
        assert segments.points[number] == len(xyz)
        np.testing.assert_allclose(segments.low_m[number], xyz.min(axis=0))
        np.testing.assert_allclose(segments.high_m[number], xyz.max(axis=0))
        np.testing.assert_allclose(segments.center_m[number], xyz.mean(axis=0))


def test_wide_things_are_cut_along_tiles_that_stand_still() -> None:
    """A wall of 40 m: a place on it is in the same track in all sweeps, wherever the sensor is."""
    scene, truth = street([Thing(0, 12, size=(40, 0.4, 2.5))], sweeps=6)
    ids = tracked(scene)
    tile = []
    for index, mine in enumerate(ids):
        xyz = transform(scene.world_SE3_lidar[index], scene[index].points()[:, :3])
        on_wall = (truth[index] == 0) & (mine >= 0)
        place = np.floor((xyz[on_wall, 0] - 100) / CONFIG.tile_m)
        tile.append({int(k): np.unique(mine[on_wall][place == k]).tolist() for k in np.unique(place)})
        assert all(len(found) == 1 for found in tile[-1].values())
    assert len(tile[0]) >= 5
    assert all(each == tile[0] for each in tile)


def test_nothing_and_too_little() -> None:
    tracker = SegmentTracker(CONFIG)
    for index, points in enumerate((np.empty((0, 4)), np.zeros((1, 4)), np.array([[9, 1, 5, 0], [9, 1, 5.1, 0]]))):
        sweep = tracker.update(points.astype(np.float32), np.eye(4), index * PERIOD_NS)
        assert len(sweep.segments) == 0
        assert (sweep.of_point == -1).all()


def test_nan_is_refused_by_name(tmp_path: Path) -> None:
    scene, _ = street([Thing(8, 3)], sweeps=2)
    scene[1].points()[5, 1] = np.nan
    with pytest.raises(DataError, match=r"memory/000001\.bin: 1 of \d+ points"):
        track_drive([scene], tmp_path / "tracks", CONFIG)


# --- association ---------------------------------------------------------------------------------------------------


def test_a_face_that_stays_tells_that_nothing_moved() -> None:
    before = np.array([[0.0, 0, 0]]), np.array([[2.0, 1, 1]])
    longer = np.array([[0.0, 0, 0]]), np.array([[4.0, 1, 1]])
    shifted = np.array([[0.5, 0, 0]]), np.array([[2.5, 1, 1]])
    np.testing.assert_allclose(moves(*before, *longer)[0, 0], 0)
    np.testing.assert_allclose(moves(*before, *shifted)[0, 0], [0.5, 0, 0])


def test_assignment_is_the_cheapest_of_all() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        cost = rng.random((4, 4))
        rows, columns = assign(cost, np.ones((4, 4), bool))
        best = min(sum(cost[i, p[i]] for i in range(4)) for p in permutations(range(4)))
        assert cost[rows, columns].sum() == pytest.approx(best)
    rows, columns = assign(np.array([[1.0, 2.0]]), np.array([[False, False]]))
    assert len(rows) == len(columns) == 0


# --- tracks --------------------------------------------------------------------------------------------------------


def test_parked_and_moving_things_keep_their_tracks() -> None:
    things = [
        Thing(10, 4), Thing(16, 4.2), Thing(5, -5, size=(0.6, 0.6, 1.7)),
        Thing(-15, -3, speed=(12, 0)), Thing(20, 0.5, speed=(-9, 0)), Thing(3, 9, speed=(0, -1.4), size=(0.5, 0.5, 1.7)),
    ]  # fmt: skip
    scene, truth = street(things, sweeps=10)
    ids = tracked(scene)
    mains = [tracks_of_thing(ids, truth, number) for number in range(len(things))]
    assert all(len(set(each)) == 1 for each in mains), mains
    assert len({each[0] for each in mains}) == len(things)


def test_a_hidden_thing_comes_back_as_itself_or_is_forgotten() -> None:
    for away, same in ((3, True), (5, False)):
        back = range(4 + away, 14)
        parts = [Thing(-10, 4, speed=(8, 0), seen=range(4)), Thing(-10, 4, speed=(8, 0), seen=back)]
        scene, truth = street(parts, sweeps=14)
        ids = tracked(scene)
        first, second = tracks_of_thing(ids, truth, 0), tracks_of_thing(ids, truth, 1)
        assert (first[-1] == second[0]) == same


def test_a_known_thing_stays_itself_when_something_touches_it() -> None:
    """From the fourth sweep on a post bridges the gap to the car's neighbour."""
    things = [Thing(8, 4), Thing(13.2, 4), Thing(10.6, 4, size=(1.3, 0.3, 1.2), seen=range(5, 10))]
    scene, truth = street(things, sweeps=10)
    ids = tracked(scene)
    assert len(set(tracks_of_thing(ids, truth, 0))) == len(set(tracks_of_thing(ids, truth, 1))) == 1
    together = segments_of(standing_parts(scene[6].points(), scene.scene_SE3_lidar[6], CONFIG), CONFIG.min_points)
    assert len(together) == 1


def test_speed_is_that_of_the_thing_and_not_of_the_vehicle() -> None:
    things = [Thing(10, 4), Thing(-12, -3, speed=(9, 0)), Thing(4, 8, speed=(0, -1.5), size=(0.5, 0.5, 1.7))]
    scene, truth = street(things, sweeps=12, speed=8.0)
    tracker = SegmentTracker(CONFIG)
    sweeps = [tracker.update(f.points(), scene.scene_SE3_lidar[f.index], f.timestamp_ns) for f in scene]
    tracks = tracks_of(path_of([sightings(index, sweep) for index, sweep in enumerate(sweeps)]))
    ids = [sweep.of_point for sweep in sweeps]
    for number, speed in enumerate((0.0, 9.0, 1.5)):
        track = tracks_of_thing(ids, truth, number)[0]
        assert tracks.speed_mps[tracks.track == track] == pytest.approx(speed, abs=0.4)
        assert tracks.sweeps[tracks.track == track] == 12


def test_the_world_may_be_turned_and_moved() -> None:
    """Tracks depend on the poses relative to the first alone; and the order of points does not matter to who is who."""
    scene, _ = street([Thing(10, 4), Thing(-15, -3, speed=(12, 0))], sweeps=6)
    turn = from_rotation_translation([[0, -1, 0], [1, 0, 0], [0, 0, 1]], [4e5, 5e6, 80])
    turned = replace(scene, world_SE3_lidar=turn @ scene.world_SE3_lidar)
    for one, other in zip(tracked(scene), tracked(turned), strict=True):
        np.testing.assert_array_equal(one, other)


# --- on disk -------------------------------------------------------------------------------------------------------


def test_a_store_gives_back_what_was_tracked(tmp_path: Path) -> None:
    scene, truth = street([Thing(10, 4), Thing(-15, -3, speed=(12, 0)), Thing(4, -6, seen=range(2, 4))], sweeps=6)
    store = track_drive([scene], tmp_path / "tracks", CONFIG)
    ids = tracked(scene)
    long_enough = set(store.path("00").track.tolist())
    assert long_enough == {tracks_of_thing(ids, truth, number)[0] for number in (0, 1)}
    again = TrackStore.open(tmp_path / "tracks")
    for frame, mine in zip(scene, ids, strict=True):
        wanted = np.where(np.isin(mine, list(long_enough)), mine, -1)
        np.testing.assert_array_equal(again.ids("00", frame.name, len(mine)), wanted)
    path = again.path("00")
    for row in range(len(path)):
        mine = ids[path.frame[row]] == path.track[row]
        assert mine.sum() == path.points[row]
        xyz = transform(scene.scene_SE3_lidar[path.frame[row]], scene[int(path.frame[row])].points()[mine, :3])
        np.testing.assert_allclose(path.center_m[row], xyz.mean(axis=0), atol=1e-5)


def test_equal_input_equal_bytes_for_any_number_of_workers(tmp_path: Path) -> None:
    scenes = [street([Thing(10, 4), Thing(-15, -3, speed=(12, 0))], sweeps=4, seed=s)[0] for s in range(2)]
    scenes = [replace(scene, id=f"0{k}") for k, scene in enumerate(scenes)]
    for workers in (1, 2):
        track_drive(scenes, tmp_path / str(workers), CONFIG, workers)
    files = sorted(p.relative_to(tmp_path / "1") for p in (tmp_path / "1").rglob("*") if p.is_file())
    assert len(files) == 1 + 2 + 8
    for name in files:
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()


def test_what_is_wrong_with_a_store_is_said(tmp_path: Path) -> None:
    scene, _ = street([Thing(10, 4)], sweeps=3)
    with pytest.raises(DataError, match=r"tracks\.yaml: no tracks there"):
        TrackStore.open(tmp_path)
    store = track_drive([scene], tmp_path, CONFIG)
    with pytest.raises(DataError, match=r"tracks\.gate_m = 0\.6, 2\.0 was asked for"):
        track_drive([scene], tmp_path, TracksConfig(gate_m=2.0))
    with pytest.raises(DataError, match=r"000000\.npy: int32 of shape .*, the sweep has 7 points"):
        store.ids("00", "000000", 7)
    with pytest.raises(DataError, match=r"000009\.npy: missing"):
        store.ids("00", "000009", 7)
    store.table_path("00").write_bytes(b"no table")
    with pytest.raises(DataError, match=r"00\.parquet: not a table of tracks"):
        TrackStore.open(tmp_path).path("00")


def test_a_done_scene_is_not_done_again(tmp_path: Path) -> None:
    scene, _ = street([Thing(10, 4)], sweeps=3)
    told: list[int] = []
    for _ in range(2):
        track_drive([scene], tmp_path, CONFIG, start=told.append)
    assert told == [3, 0]


def test_segments_agree_with_a_search_of_all_pairs() -> None:
    """Points nearer than a voxel are in one segment; points of two segments are at least as far apart."""
    scene, _ = street([Thing(8, 4), Thing(9, -4), Thing(-7, 5, size=(0.5, 0.5, 1.7))], sweeps=1)
    points = scene[0].points()
    segments = segments_of(standing_parts(points, np.eye(4), CONFIG), CONFIG.min_points)
    near = np.linalg.norm(points[:, :3], axis=1) < 12
    rows = np.flatnonzero((segments.of_point >= 0) & near)
    apart = segments.of_point[rows][:, None] != segments.of_point[rows][None]
    assert cdist(points[rows, :3], points[rows, :3])[apart].min() > CONFIG.voxel_m
