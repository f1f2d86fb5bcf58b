# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""ODCT on a street of boxes and on simulated pictures: what its sightings are, and what its memory does with them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from pretrain_drives import TINY
from test_tracks import CONFIG, Thing, street

from lidal3d.errors import DataError
from lidal3d.jobs.track import track_drive
from lidal3d.learn.pretrain.encoders import build_encoder
from lidal3d.learn.pretrain.method import Ask
from lidal3d.learn.pretrain.methods import method_named
from lidal3d.learn.pretrain.odct import ODCT, Odct, neck
from lidal3d.learn.pretrain.sightings import Sightings, crop
from lidal3d.learn.pretrain.track_vote import swapped_targets
from lidal3d.learn.pretrain.train import pretrain
from lidal3d.scene.open import open_drive
from lidal3d.scene.pixels import picture_of
from lidal3d.sim import SimConfig, write_drive
from lidal3d.tracks.cameras import patches_in

THINGS = [Thing(10, 4), Thing(-15, -3, speed=(12, 0)), Thing(4, -6, size=(0.8, 0.8, 1.7)), Thing(16, -5, seen=range(2))]
SMALL = TINY.updated({"odct": {"dimensions": 8, "hidden": 8, "min_cluster": 2, "clusters": 3}})
SCENE, TRUTH = street(THINGS, sweeps=6)
BY = pytest.mark.parametrize("by", ["vote", "swap", "track"])


def at_work(by: str = "vote", **odct: object) -> Odct:
    config = SMALL.updated({"odct": {"by": by, **odct}, "pretrain": {"batch": 2}})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        encoder = build_encoder("sparse", config.pretrain)
        head = neck(encoder.dimensions, config)
        return Odct(Ask(list(SCENE), encoder, head, config))


# --- sightings -----------------------------------------------------------------------------------------------------


def test_every_thing_seen_often_enough_is_a_sighting_in_every_sweep() -> None:
    seen = Sightings(list(SCENE), SMALL)
    assert (len(seen), seen.tracks) == (18, 3)  # three things in six sweeps; the fourth is seen in two only
    assert seen.frame.tolist() == sorted(seen.frame.tolist())
    owner_of_track: dict[int, set[int]] = {}
    for number in range(6):
        (view,) = seen.views(number)
        points, owner = SCENE[number].points(), TRUTH[number]
        near = np.hypot(points[:, 0], points[:, 1]) < SMALL.pretrain.max_range_m
        assert np.array_equal(view.elements, points[near])
        for sample in np.unique(view.region[view.region >= 0]):
            assert seen.frame[sample] == number
            (thing, count), *_ = Counter(owner[near][view.region == sample].tolist()).most_common(1)
            assert count == (view.region == sample).sum() >= SMALL.pretrain.min_points
            owner_of_track.setdefault(int(seen.track[sample]), set()).add(thing)
    assert sorted(map(sorted, owner_of_track.values())) == [[0], [1], [2]]


def test_tracks_on_disk_are_taken_where_they_are_named(tmp_path: Path) -> None:
    track_drive([SCENE], tmp_path, CONFIG)
    named = Sightings(list(SCENE), SMALL.updated({"odct": {"tracks": str(tmp_path)}}))
    anew = Sightings(list(SCENE), SMALL)
    assert named.track.tolist() == anew.track.tolist()
    assert all(np.array_equal(named.views(k)[0].region, anew.views(k)[0].region) for k in range(6))
    with pytest.raises(DataError, match="no tracks there"):
        Sightings(list(SCENE), SMALL.updated({"odct": {"tracks": str(tmp_path / "none")}}))
    other, _ = street(THINGS, sweeps=6, seed=4)
    fewer, _ = street(THINGS[:1], sweeps=6)
    assert len(Sightings(list(other), SMALL.updated({"odct": {"tracks": str(tmp_path)}}))) > 0  # as many points
    with pytest.raises(DataError, match="track again"):
        Sightings(list(fewer), SMALL.updated({"odct": {"tracks": str(tmp_path)}}))


def test_a_crop_takes_the_nearest_pixels() -> None:
    picture = np.arange(6 * 8 * 3, dtype=np.float32).reshape(6, 8, 3)
    found = crop(picture, (4, 2, 12, 10), 0.5, 8)  # of a picture of twice the size: columns 2 … 5, rows 1 … 4
    assert found.shape == (64, 5)
    assert found[:, 0].tolist() == list(range(8)) * 8
    assert found[:, 1].tolist() == np.repeat(np.arange(8), 8).tolist()
    expected = picture[1:5, 2:6].repeat(2, axis=0).repeat(2, axis=1)
    assert np.array_equal(picture_of(found), expected)


@pytest.fixture(scope="module")
def drive(tmp_path_factory) -> Path:  # type: ignore[no-untyped-def]
    folder = tmp_path_factory.mktemp("drive")
    config = SimConfig(frames=4, beams=32, columns=720, camera_width=240, camera_height=72, seed=3)
    write_drive(config, folder, "semantickitti", "00")
    return folder


def test_sightings_in_pictures_are_the_crops_round_tracks(drive: Path, tmp_path: Path) -> None:
    (camera,) = open_drive(f"{drive}@image_2:120")
    (scene,) = open_drive(drive)
    store = track_drive([scene], tmp_path, SMALL.tracks)
    seen = Sightings(list(camera), SMALL.updated({"odct": {"crop_px": 16}}))
    assert len(seen) >= 3 * seen.tracks
    for number in range(4):
        xyz = scene[number].points()[:, :3]
        ids = store.ids("00", scene.frame_names[number], len(xyz))
        patches = patches_in(scene[number].images()[0], xyz, ids, SMALL.pretrain.min_points)
        picture, views = picture_of(camera[number].points()), seen.views(number)
        crops = [crop(picture, tuple(box), 0.5, 16) for box in patches.box.tolist()]
        samples = [int(view.region[0]) for view in views]
        assert samples == np.flatnonzero(seen.frame == number).tolist()
        assert all(any(np.array_equal(view.elements, one) for one in crops) for view in views)


# --- training ------------------------------------------------------------------------------------------------------


@BY
def test_training_is_reproducible_and_learns(by: str) -> None:
    config = SMALL.updated({"odct": {"by": by}, "pretrain": {"steps": 30, "learning_rate": 0.01}})
    if by == "track":  # three entries in all
        config = config.updated({"odct": {"clusters": 3, "min_cluster": 1}})
    losses: list[float] = []
    trained = pretrain(list(SCENE), ODCT, config, lambda step, loss: losses.append(loss))
    again = pretrain(list(SCENE), ODCT, config)
    for name, tensor in trained.encoder.state_dict().items():
        assert torch.equal(tensor, again.encoder.state_dict()[name])
    # Swapped labels of things that the clusters part can't be told.
    assert np.mean(losses[-10:]) < (0.98 if by == "swap" else 0.8) * np.mean(losses[:5])


def test_patches_are_learnt_from_too(drive: Path) -> None:
    (camera,) = open_drive(f"{drive}@image_2:120")
    config = SMALL.updated({"odct": {"crop_px": 16, "clusters": None}, "pretrain": {"steps": 4}})
    trained = pretrain(list(camera), method_named("odct"), config)
    start = build_encoder("image", config.pretrain, config.pretrain.seed)
    moved = [not torch.equal(a, b) for a, b in zip(trained.encoder.parameters(), start.parameters(), strict=True)]
    assert any(moved)


def test_by_vote_the_memory_knows_the_tracks() -> None:
    objective, rng = at_work("vote", least_likeness=-1.0, min_cluster=1, clusters=2), np.random.default_rng(0)
    memory, track = objective.memory, objective._seen.track
    assert len(memory) == 18
    after_vote = []
    vote = memory._vote
    memory._vote = lambda *of: after_vote.append(vote(*of)) or after_vote[-1].copy()
    for _ in range(4):
        drawn = objective.draw(rng)
        objective.loss(drawn)
        objective.after()
        for one in np.unique(track[drawn.samples]):
            assert len(set(after_vote[-1][track == one].tolist())) == 1
    assert memory.iterations == len(after_vote) == 4


def test_by_swap_two_sweeps_that_show_the_same_things_teach_each_other() -> None:
    objective, rng = at_work("swap"), np.random.default_rng(0)
    drawn = objective.draw(rng)
    track = objective._seen.track[drawn.samples]
    assert np.bincount(track).max() >= 2
    taught = []
    real = torch.nn.functional.cross_entropy
    labels = objective.memory.labels.copy()
    torch.nn.functional.cross_entropy = lambda logits, target, weight: (
        taught.append(target) or real(logits, target, weight)
    )
    try:
        objective.loss(drawn)
    finally:
        torch.nn.functional.cross_entropy = real
    assert taught[0].tolist() == swapped_targets(labels, drawn.samples, track).tolist()


def test_by_track_the_memory_has_one_entry_a_track() -> None:
    objective, rng = at_work("track", min_cluster=1, clusters=2), np.random.default_rng(0)
    assert len(objective.memory) == 3
    before = objective.memory.bank.copy()
    drawn = objective.draw(rng)
    objective.loss(drawn)
    samples, features = objective._last
    objective.after()
    track = objective._seen.track[samples]
    for one in range(3):
        mine = features[track == one]
        if not len(mine):
            assert np.array_equal(objective.memory.bank[one], before[one])
            continue
        mean = (mine / np.linalg.norm(mine, axis=1, keepdims=True)).sum(axis=0)
        mixed = 0.5 * before[one] + 0.5 * mean / np.linalg.norm(mean)
        np.testing.assert_allclose(objective.memory.bank[one], mixed / np.linalg.norm(mixed), atol=1e-5)


def test_a_collapse_is_told() -> None:
    objective = at_work()
    assert objective.notes() == []
    objective.memory.labels[:] = 0
    objective.memory.labels[:2] = [1, 2]
    assert objective.notes()[0].startswith("collapsed: 89 % of 18 sightings are in one of 3 clusters")


# --- bad input -----------------------------------------------------------------------------------------------------


def test_what_cannot_be_learnt_from_is_refused() -> None:
    with pytest.raises(DataError, match=r"0 of 4 tracks are seen in 7 of 6 frames or more; give longer drives"):
        Sightings(list(SCENE), SMALL.updated({"odct": {"min_sightings": 7}, "tracks": {"min_sweeps": 1}}))
    ground, _ = street([], sweeps=3)
    with pytest.raises(DataError, match=r"0 of 0 tracks are seen in 3 of 3 frames"):
        pretrain(list(ground), ODCT, SMALL)
    with pytest.raises(DataError, match=r"9 clusters of 5 samples need 45, there are 18; .*lower odct.clusters"):
        pretrain(list(SCENE), ODCT, SMALL.updated({"odct": {"clusters": 9, "min_cluster": 5}}))
