# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""The simulator: determinism, geometry of the labels, traffic, and ray casting against a brute-force oracle."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from lidal3d.scene.labels import load_label_map
from lidal3d.scene.pose import inverse, rigidity_error, transform
from lidal3d.sim import SimConfig, simulate
from lidal3d.sim.ground import Ground
from lidal3d.sim.lanes import LEFT, RIGHT, STRAIGHT, Lane
from lidal3d.sim.materials import Material, Raw
from lidal3d.sim.raycast import MeshCaster, build_neighbourhood
from lidal3d.sim.shapes import blob, box, join, leaves, loft, ring, tube
from lidal3d.sim.styles import STYLES
from lidal3d.sim.traffic import Traffic
from lidal3d.sim.world import build_tile, build_town

SMALL = SimConfig(frames=12, beams=16, columns=256, camera=True, camera_width=64, camera_height=24)
MOVING = range(252, 260)


@pytest.fixture(scope="module")
def drive():
    return simulate(SMALL)


@pytest.fixture(scope="module")
def sweeps(drive):
    return list(drive)


def test_same_bytes_whichever_frames_were_rendered_before(sweeps):
    for cached in (build_town, build_tile, build_neighbourhood):
        cached.cache_clear()
    again = simulate(SMALL)
    for index in (9, 2):
        sweep, expected = again.frame(index), sweeps[index]
        assert sweep.points.tobytes() == expected.points.tobytes()
        assert sweep.semantic.tobytes() == expected.semantic.tobytes()
        assert sweep.instance.tobytes() == expected.instance.tobytes()
        assert sweep.picture.rgb.tobytes() == expected.picture.rgb.tobytes()


def test_another_seed_is_another_drive(sweeps):
    other = simulate(SMALL.model_copy(update={"seed": 5})).frame(0)
    assert len(other.points) != len(sweeps[0].points) or not np.array_equal(other.points, sweeps[0].points)


def test_a_sweep_has_the_sensors_shape(drive, sweeps):
    for sweep in sweeps:
        count = len(sweep.points)
        assert 0.5 * 16 * 256 < count < 16 * 256
        assert sweep.points.dtype == np.float32
        assert sweep.points.shape == (count, 4)
        assert sweep.semantic.shape == sweep.instance.shape == sweep.ring.shape == (count,)
        assert 0 <= sweep.points[:, 3].min() <= sweep.points[:, 3].max() < 1
        distance = np.linalg.norm(sweep.points[:, :3], axis=1)
        assert distance.min() > 1.5
        assert distance.max() < 82
        elevation = np.degrees(np.arcsin(sweep.points[:, 2] / distance))
        assert elevation.min() > -25.2
        assert elevation.max() < 2.3
        top = elevation[sweep.ring == 15]
        assert top.min() > elevation[sweep.ring == 0].max()


def test_every_id_is_on_the_card(sweeps):
    card = load_label_map("semantickitti")
    for sweep in sweeps:
        assert card.unknown_ids(sweep.semantic) == []
        assert card.unknown_ids(sweep.picture.semantic.ravel()) == []


def test_all_19_classes_occur_and_rare_ones_are_rare():
    card = load_label_map("semantickitti")
    counts = np.zeros(256, dtype=np.int64)
    drive = simulate(SimConfig(frames=500, columns=512, camera=False))
    for index in range(0, 500, 20):
        counts += np.bincount(card.to_train(drive.frame(index).semantic), minlength=256)
    share = dict(zip(card.classes, counts[:19] / counts[:19].sum(), strict=True))
    assert min(share.values()) > 0
    for name in ("bicycle", "motorcycle", "person", "bicyclist", "motorcyclist"):
        assert share[name] < 0.003
    for name in ("road", "vegetation", "building", "sidewalk", "terrain", "car"):
        assert share[name] > 0.01


def test_road_and_sidewalk_are_where_they_should_be(drive, sweeps):
    height = drive.sensor.height_m
    for sweep in sweeps:
        xyz = sweep.points[:, :3]
        near = np.hypot(xyz[:, 0], xyz[:, 1]) < 9
        road = xyz[near & (sweep.semantic == Raw.ROAD)]
        sidewalk = xyz[near & (sweep.semantic == Raw.SIDEWALK)]
        assert np.abs(road[:, 2] + height).max() < 0.25
        assert abs(np.median(road[:, 2]) + height) < 0.05
        assert len(sidewalk)
        assert 0.03 < np.median(sidewalk[:, 2]) - np.median(road[:, 2]) < 0.25


def test_only_things_have_instances_and_one_instance_is_one_class(sweeps):
    things = {10, 11, 13, 15, 18, 20, 30, 31, 32, *MOVING}
    classes: dict[int, set[int]] = {}
    for sweep in sweeps:
        assert np.array_equal(np.isin(sweep.semantic, list(things)), sweep.instance > 0)
        for instance, semantic in set(zip(sweep.instance.tolist(), sweep.semantic.tolist(), strict=True)):
            classes.setdefault(instance, set()).add(semantic)
    classes.pop(0)
    assert classes
    assert all(len(found) == 1 for found in classes.values())


def test_still_things_stay_and_movers_move():
    drive = simulate(SimConfig(frames=25, columns=512, camera=False, noise=False))
    seen: dict[int, list[tuple[bool, np.ndarray]]] = {}
    for index in (0, 12, 24):
        sweep = drive.frame(index)
        world = transform(sweep.world_SE3_lidar, sweep.points[:, :3])
        for instance in np.unique(sweep.instance[sweep.instance > 0]):
            mine = sweep.instance == instance
            if mine.sum() >= 12:
                moving = bool(sweep.semantic[mine][0] in MOVING)
                seen.setdefault(int(instance), []).append((moving, np.median(world[mine], axis=0)))
    shifts = {True: [], False: []}
    for places in seen.values():
        for (moving, a), (_, b) in itertools.pairwise(places):
            shifts[moving].append(np.linalg.norm(a - b))
    assert np.median(shifts[False]) < 0.6  # what is seen of a parked car changes, the car does not
    assert max(shifts[True]) > 2.0
    positions = [{a.instance: (a.x, a.y) for a in drive.actors(k)} for k in (0, 24)]
    both = positions[0].keys() & positions[1].keys()
    assert sum(np.hypot(*np.subtract(positions[0][k], positions[1][k])) > 0.5 for k in both) >= len(both) / 2


def test_poses_are_rigid_level_and_smooth(drive):
    poses = simulate(SimConfig(frames=300, camera=False)).world_SE3_lidar
    assert poses.dtype == np.float64
    assert rigidity_error(poses).max() < 1e-12
    assert np.abs(np.degrees(np.arccos(poses[:, 2, 2]))).max() < 8
    step = np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=1)
    assert step.max() < 1.5
    relative = inverse(poses[:-1]) @ poses[1:]
    assert (relative[:, 0, 3] > -0.03).all()  # it drives forwards; the body rocks back when it stops
    assert np.degrees(np.arccos(np.clip(relative[:, 0, 0], -1, 1))).max() < 9


@pytest.mark.parametrize("style", ["suburb", "downtown"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_ego_vehicle_stops_turns_and_hits_nobody(style, seed):
    traffic = Traffic(STYLES[style], seed)
    history = [traffic.step(0.1) for _ in range(400)]
    ego = [states[0] for states in history]
    assert all(s.number == 0 for s in ego)
    assert min(s.speed for s in ego) < 0.1
    assert max(s.speed for s in ego) > 6
    yaw = np.unwrap([s.yaw for s in ego])
    assert np.ptp(yaw) > 1.5
    # side by side on opposite lanes is 3.4 m
    gaps = [np.hypot(s.x - e.x, s.y - e.y) for e, states in zip(ego, history, strict=True) for s in states[1:]]
    assert min(gaps) > 3.0


def test_no_two_vehicles_overlap():
    traffic = Traffic(STYLES["downtown"], 4)
    for _ in range(900):
        states = traffic.step(0.1)
        xy = np.array([(s.x, s.y) for s in states])
        distance = np.linalg.norm(xy[:, None] - xy[None], axis=-1) + 99 * np.eye(len(xy))
        assert distance.min() > 2.5


@pytest.mark.parametrize("way", [STRAIGHT, LEFT, RIGHT])
@pytest.mark.parametrize("direction", range(4))
def test_lanes_and_turns_join_without_a_step(way, direction):
    lane = Lane((2, -1), direction, 90.0)
    turn = lane.turn(way)
    pieces = (lane, turn, turn.next_lane())
    for before, after in itertools.pairwise(pieces):
        end, start = before.pose(before.length_m), after.pose(0.0)
        assert end[:2] == pytest.approx(start[:2], abs=1e-9)
        assert np.cos(end[2] - start[2]) == pytest.approx(1)
    walked = [turn.pose(s)[:2] for s in np.linspace(0, turn.length_m, 200)]
    assert np.linalg.norm(np.diff(walked, axis=0), axis=1).sum() == pytest.approx(turn.length_m, rel=1e-3)


@pytest.mark.parametrize("style", list(STYLES))
def test_bending_the_plan_is_exactly_undone(style):
    ground = Ground(STYLES[style], (0.3, 1.1, 2.0, 4.0))
    plan = np.random.default_rng(0).uniform(-500, 500, (200, 2))
    np.testing.assert_allclose(ground.unbend(ground.bend(plan)), plan, atol=1e-9)


def test_towns_and_sensors_differ():
    small = {"beams": 16, "columns": 256, "camera": False, "frames": 1}
    suburb = simulate(SimConfig(style="suburb", sensor="hdl64", **small)).frame(0)
    downtown = simulate(SimConfig(style="downtown", sensor="hdl64", **small)).frame(0)
    other = simulate(SimConfig(style="suburb", sensor="vlp32", **small)).frame(0)
    green = [Raw.VEGETATION, Raw.TERRAIN]
    assert np.isin(suburb.semantic, green).mean() > 2 * np.isin(downtown.semantic, green).mean()
    assert suburb.points[:, 2].max() < other.points[:, 2].max()
    full = simulate(SimConfig(sensor="vlp32", frames=1, camera=False))
    assert len(full.sensor.elevations_deg) == 32
    assert full.frame(0).ring.max() == 31


def test_noise_loses_points_and_moves_the_others_along_their_rays():
    small = {"beams": 16, "columns": 256, "camera": False, "frames": 1}
    exact, noisy = (simulate(SimConfig(noise=flag, **small)).frame(0) for flag in (False, True))
    assert 0.6 * len(exact.points) < len(noisy.points) < len(exact.points)

    def by_ray(sweep):
        unit = sweep.points[:, :3] / np.linalg.norm(sweep.points[:, :3], axis=1, keepdims=True)
        return {tuple(key): k for k, key in enumerate(np.round(unit * 2000).astype(int).tolist())}

    there = by_ray(exact)
    pairs = [(there[key], k) for key, k in by_ray(noisy).items() if key in there]
    assert len(pairs) > 0.8 * len(noisy.points)
    a, b = np.array(pairs).T
    difference = np.linalg.norm(noisy.points[b, :3], axis=1) - np.linalg.norm(exact.points[a, :3], axis=1)
    assert 0.01 < difference.std() < 0.06
    assert np.array_equal(exact.semantic[a], noisy.semantic[b])


def test_the_camera_sees_the_same_world_as_the_lidar():
    drive = simulate(SimConfig(frames=1, columns=512, noise=False, camera_width=310, camera_height=94))
    sweep, camera = drive.frame(0), drive.camera
    in_camera = transform(camera.camera_SE3_lidar, sweep.points[:, :3])
    ahead = in_camera[:, 2] > 3
    pixel = (camera.intrinsics @ in_camera[ahead].T).T
    u, v = np.floor(pixel[:, :2] / pixel[:, 2:]).astype(int).T
    inside = (u >= 0) & (u < camera.width) & (v >= 0) & (v < camera.height)
    same = sweep.picture.semantic[v[inside], u[inside]] == sweep.semantic[ahead][inside]
    assert inside.sum() > 500
    assert same.mean() > 0.85  # the rest is parallax and edges
    assert sweep.picture.rgb.shape == (94, 310, 3)
    assert sweep.picture.rgb.std() > 20


def nearest_hit(mesh, origin, direction):
    """Brute force: Möller and Trumbore's test of one ray with every triangle, float64."""
    a, b, c = mesh.vertices[mesh.triangles].transpose(1, 0, 2)
    p = np.cross(direction, c - a)
    det = ((b - a) * p).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        u = ((origin - a) * p).sum(axis=1) / det
        q = np.cross(origin - a, b - a)
        v = (q @ direction) / det
        t = ((c - a) * q).sum(axis=1) / det
        hit = (u >= 0) & (v >= 0) & (u + v <= 1) & (t > 0) & (np.abs(det) > 1e-14)
    if not hit.any():
        return np.inf, -1
    nearest = int(np.argmin(np.where(hit, t, np.inf)))
    return t[nearest], nearest


def test_ranges_equal_brute_force():
    rng = np.random.default_rng(3)
    solids = [
        box((2, 1, 1.5), (6, 1, 0.3), 0.4), tube((5, -3, -1), (5.5, -3, 3), 0.4), blob(1.2, (-5, 2, 0), 0.3, rng),
        leaves(40, (1.5, 1.5, 1), (0, 6, 0), 0.5, rng), ring((0, -5, 0), 1.0, 0.3),
        loft([(-8, -1), (-7, 1), (-6, -1)], 1),
    ]  # fmt: skip
    mesh = join([s.painted(Raw.BUILDING, Material.PLASTER, (1, 2, 3)) for s in solids])
    far = np.array([4000.0, -2500.0, 0.0])  # coordinates are taken from the origin: far away is as exact
    caster = MeshCaster(mesh.placed(far), far)
    direction = rng.normal(size=(600, 3)) * [1, 1, 0.25]
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    rays = np.column_stack([np.zeros((600, 3)), direction]).astype(np.float32)
    range_m, triangle, _ = caster.cast(rays)
    expected = [nearest_hit(mesh, np.zeros(3), d.astype(np.float64)) for d in rays[:, 3:]]
    wanted = np.array([t for t, _ in expected])
    agree = np.isclose(range_m, wanted, atol=2e-4) | (np.isinf(range_m) & np.isinf(wanted))
    assert agree.mean() > 0.995  # grazing an edge may go either way in float32
    assert np.isfinite(wanted).sum() > 60
    hit = agree & np.isfinite(wanted)
    assert (triangle[hit] == np.array([k for _, k in expected])[hit]).mean() > 0.99


def test_a_noise_free_point_lies_on_the_triangle_it_is_labelled_with():
    drive = simulate(SimConfig(frames=1, beams=6, columns=40, camera=False, noise=False))
    sweep = drive.frame(0)
    near = drive._near.at(drive._tiles[0])
    movers = drive._cast.mesh(drive.actors(0))
    everything = join([near.still.mesh, movers])
    origin = sweep.world_SE3_lidar[:3, 3]
    rows = np.linspace(0, len(sweep.points) - 1, 15).astype(int)
    for row in rows:
        vector = sweep.world_SE3_lidar[:3, :3] @ sweep.points[row, :3].astype(np.float64)
        expected, triangle = nearest_hit(everything, origin, vector / np.linalg.norm(vector))
        assert np.linalg.norm(vector) == pytest.approx(expected, abs=3e-3)
        semantic = everything.semantic[triangle]
        assert semantic in (sweep.semantic[row], 0xFFFF)


def test_asking_beyond_the_end_names_both_numbers(drive):
    with pytest.raises(IndexError, match=r"12 frames, frame 12"):
        drive.frame(12)


def test_labelled_frames_are_evenly_spaced():
    assert SimConfig(frames=10).labelled_frames() == frozenset(range(10))
    assert SimConfig(frames=10, labelled=2).labelled_frames() == {2, 7}
    assert SimConfig(frames=3, labelled=9).labelled_frames() == {0, 1, 2}
    assert SimConfig(frames=3, labelled=0).labelled_frames() == frozenset()
