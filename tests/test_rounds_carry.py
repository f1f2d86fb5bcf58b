# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Labels carried to neighbouring sweeps, against a search of all pairs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from drives import drive_of
from scipy.spatial.distance import cdist
from test_rounds_labels import CELLS, MAP, Labelled, of_unit

from lidal3d.rounds.carry import carry_labels, nearest_labels
from lidal3d.rounds.masks import Assumed, LedgerLabels
from lidal3d.rounds.oracle import GroundTruth
from lidal3d.scene.pose import transform
from lidal3d.settings.carry import CarryConfig

RADIUS_M = 0.4


@pytest.fixture
def scene():  # type: ignore[no-untyped-def]
    """Six sweeps of the same 200 places, seen from where the car is, a little off; with random labels."""
    rng = np.random.default_rng(3)
    plain = drive_of(rng, frames=6, points=200)
    raw = tuple(rng.integers(0, 4, 200).astype(np.uint32) for _ in range(6))
    return replace(plain, label_map=MAP, source=Labelled(plain.source, raw))


def in_scene(scene, index: int) -> np.ndarray:  # type: ignore[no-untyped-def]
    return transform(scene.scene_SE3_lidar[index], scene[index].points()[:, :3])


def brute_force(scene, own: LedgerLabels, index: int, half_window: int) -> np.ndarray:  # type: ignore[no-untyped-def]
    xyz, labels = [], []
    for j in range(len(scene)):
        given = own.by_people(scene[j])
        if j != index and abs(j - index) <= half_window:
            xyz.append(in_scene(scene, j)[given != 255])
            labels.append(given[given != 255])
    near, known = np.concatenate(xyz), np.concatenate(labels)
    if not len(known):
        return np.full(200, 255, np.uint8)
    distance = cdist(in_scene(scene, index), near)
    carried = np.where(distance.min(axis=1) <= RADIUS_M, known[distance.argmin(axis=1)], 255).astype(np.uint8)
    carried[own.by_people(scene[index]) != 255] = 255
    return carried


@pytest.mark.parametrize("half_window", [1, 3])
def test_every_point_gets_the_nearest_label_around(scene, tmp_path, half_window: int):  # type: ignore[no-untyped-def]
    own = LedgerLabels(
        [of_unit(scene, 1, 0), of_unit(scene, 1, 2), of_unit(scene, 4, 1), of_unit(scene, 5, 0)], GroundTruth(), CELLS
    )
    config = CarryConfig(half_window=half_window, radius_m=RADIUS_M)
    carried = carry_labels(own, {scene.id: scene}, MAP.classes, config, tmp_path / "carried")
    got = 0
    for frame in scene:
        wanted = brute_force(scene, own, frame.index, half_window)
        labels, weights = carried(frame)
        mine = own.by_people(frame)
        np.testing.assert_array_equal(labels, np.where(mine != 255, mine, wanted))
        assert weights is None
        assert carried.points(frame) == own.points(frame) + (wanted != 255).sum()
        got += int((wanted != 255).sum())
    assert got == sum(carried.counts.values()) > 0


def test_guesses_are_not_carried_and_carried_labels_come_before_them(scene, tmp_path):  # type: ignore[no-untyped-def]
    guess = of_unit(scene, 2, 0, labeller="pseudo")
    assumed = {guess.key: Assumed(np.full(guess.points, 2, np.uint8), np.full(guess.points, 0.25, np.float32))}
    own = LedgerLabels([of_unit(scene, 1, 0), guess], GroundTruth(), CELLS, assumed)
    config = CarryConfig(half_window=5, radius_m=RADIUS_M, weight=0.75)
    carried = carry_labels(own, {scene.id: scene}, MAP.classes, config, tmp_path / "carried")
    wanted = brute_force(scene, own, 2, 5)
    labels, weights = carried(scene[2])
    guessed = CELLS(scene[2].points()) == 0
    there = wanted != 255
    assert there.any()
    np.testing.assert_array_equal(labels, np.where(there, wanted, np.where(guessed, 2, 255)))
    np.testing.assert_allclose(weights, np.where(there, 0.75, np.where(guessed, 0.25, 1.0)))


def test_frames_with_carried_labels_are_trained_on(scene, tmp_path):  # type: ignore[no-untyped-def]
    own = LedgerLabels([of_unit(scene, 0, 0)], GroundTruth(), CELLS)
    config = CarryConfig(half_window=2, radius_m=RADIUS_M)
    carried = carry_labels(own, {scene.id: scene}, MAP.classes, config, tmp_path / "carried")
    frames = carried.frames({scene.id: scene})
    assert [frame.index for frame in frames] == sorted({0, *(index for _, index in carried.counts)})
    assert set(range(len(scene))) > {frame.index for frame in frames} > {0}


def test_a_point_at_exactly_the_radius_counts() -> None:
    xyz = np.array([[0.0, 0, 0], [0, 1, 0]])
    labelled = np.array([[0.25, 0, 0], [0, 1.25 + 1e-9, 0]])
    assert nearest_labels(xyz, labelled, np.array([4, 5], np.uint8), 0.25).tolist() == [4, 255]
