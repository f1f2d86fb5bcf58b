# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""From ledger to label masks: who answers what, and masks of a wrong length."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
import pytest
from drives import drive_of
from test_rounds_ledger import record

from lidal3d.config import Config
from lidal3d.errors import DataError
from lidal3d.rounds.config import InitialSettings
from lidal3d.rounds.initial import initial_records
from lidal3d.rounds.label_store import LabelStore
from lidal3d.rounds.masks import Assumed, LedgerLabels
from lidal3d.rounds.oracle import GroundTruth, StoredAnswers
from lidal3d.rounds.training import training_frames
from lidal3d.rounds.world import World
from lidal3d.scene.labels import LabelMap
from lidal3d.select.selection import UnitKey
from lidal3d.settings.units import UnitsConfig
from lidal3d.units import make_partition

MAP = LabelMap("tiny", ("a", "b", "c"), ((0, 0, 0),) * 3, {0: 255, 1: 0, 2: 1, 3: 2}, (1, 2, 3))
CELLS = make_partition(UnitsConfig(kind="grid", cell_m=1.0))


@dataclass(frozen=True)
class Labelled:
    """A source with random raw labels."""

    plain: object
    labels: tuple[np.ndarray, ...]

    def __getattr__(self, name: str):  # type: ignore[no-untyped-def]
        return getattr(object.__getattribute__(self, "plain"), name)

    def labels_path(self, index: int):  # type: ignore[no-untyped-def]
        return self.points_path(index)

    def read_labels(self, index: int) -> np.ndarray:
        return self.labels[index]


@pytest.fixture
def scene():  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(3)
    plain = drive_of(rng, frames=6, points=200)
    raw = tuple(rng.integers(0, 4, 200).astype(np.uint32) for _ in range(6))
    return replace(plain, label_map=MAP, source=Labelled(plain.source, raw))


def of_unit(scene, frame: int, unit: int, **other):  # type: ignore[no-untyped-def]
    size = int((CELLS(scene[frame].points()) == unit).sum())
    return record(unit, frame=frame, kind="grid", points=size, **other)


def test_people_answer_their_units_and_guesses_the_rest(scene):
    ids = CELLS(scene[1].points())
    guess = of_unit(scene, 1, 2, labeller="pseudo")
    assumed = {guess.key: Assumed(np.full(guess.points, 2, np.uint8), np.full(guess.points, 0.5, np.float32))}
    source = LedgerLabels([of_unit(scene, 1, 0), of_unit(scene, 1, 3), guess], GroundTruth(), CELLS, assumed)
    labels, weights = source(scene[1])
    asked = np.isin(ids, [0, 3])
    np.testing.assert_array_equal(labels[asked], scene[1].labels()[asked])
    assert (labels[ids == 2] == 2).all()
    assert (labels[~asked & (ids != 2)] == 255).all()
    np.testing.assert_array_equal(weights, np.where(ids == 2, np.float32(0.5), np.float32(1)))
    assert (source(scene[0])[0] == 255).all()
    assert [frame.index for frame in source.frames({scene.id: scene})] == [1]


def test_whole_frames_need_no_partition(scene):
    def never(points):  # type: ignore[no-untyped-def]
        raise AssertionError

    whole = record(0, frame=4, kind="frame", points=200)
    labels, weights = LedgerLabels([whole], GroundTruth(), never)(scene[4])  # type: ignore[arg-type]
    np.testing.assert_array_equal(labels, scene[4].labels())
    assert weights is None


def test_a_unit_of_another_size_and_masks_of_another_length_are_refused(scene):
    unit = of_unit(scene, 1, 0)
    with pytest.raises(DataError, match=f"has {unit.points} points, the ledger says {unit.points + 1}"):
        LedgerLabels([replace(unit, points=unit.points + 1)], GroundTruth(), CELLS)(scene[1])
    with pytest.raises(DataError, match="a label mask of 199 entries for 200 points"):
        GroundTruth().answer(scene[1], np.ones(199, bool))
    guess = of_unit(scene, 1, 2, labeller="pseudo")
    short = {guess.key: Assumed(np.zeros(1, np.uint8), np.ones(1, np.float32))}
    with pytest.raises(DataError, match="but 1 pseudo-labels"):
        LedgerLabels([guess], GroundTruth(), CELLS, short)(scene[1])
    with pytest.raises(DataError, match="scene 00 frame 9 is labelled, the drive has 6"):
        LedgerLabels([record(0, frame=9)], GroundTruth(), CELLS).frames({scene.id: scene})


def test_noise_is_a_rate_and_does_not_depend_on_the_question(scene):
    truth, everything = scene[0].labels(), np.ones(200, bool)
    noisy = np.stack([GroundTruth(0.25, seed).answer(scene[0], everything) for seed in range(40)])
    known = truth != 255
    assert (noisy[:, ~known] == 255).all()
    assert (noisy[:, known] < 3).all()
    assert abs((noisy[:, known] != truth[known]).mean() - 0.25) < 0.02
    some = np.arange(200) % 3 == 0
    np.testing.assert_array_equal(GroundTruth(0.25, 7).answer(scene[0], some)[some], noisy[7][some])
    np.testing.assert_array_equal(GroundTruth().answer(scene[0], everything), truth)


def test_stored_answers_are_read_back_and_damaged_ones_refused(scene, tmp_path):
    store = LabelStore.open_or_create(tmp_path / "labels", MAP.classes)
    store.write("00", scene[2].name, scene[2].labels())
    oracle = StoredAnswers(LabelStore.open(tmp_path / "labels"))
    mask = np.arange(200) < 50
    np.testing.assert_array_equal(oracle.answer(scene[2], mask), np.where(mask, scene[2].labels(), 255))
    assert (oracle.answer(scene[3], mask) == 255).all()
    np.testing.assert_array_equal(store.training_labels(scene[2])[0], scene[2].labels())
    store.write("00", scene[4].name, np.zeros(7, np.uint8))
    with pytest.raises(DataError, match=r"shape \(7,\), the sweep has 200 points"):
        oracle.answer(scene[4], mask)
    store.write("00", scene[4].name, np.full(200, 3, np.uint8))
    with pytest.raises(DataError, match="label 3, but there are 3 classes"):
        oracle.answer(scene[4], mask)
    with pytest.raises(DataError, match=r"3 classes .*, the queue has 2"):
        LabelStore.open_or_create(tmp_path / "labels", ("x", "y"))


@pytest.mark.parametrize(("share", "expected"), [(0.01, 1), (0.5, 3), (1.0, 6)])
def test_the_initial_set_of_frames(scene, share, expected):
    records = initial_records(list(scene), InitialSettings(share=share), CELLS, seed=5)
    assert len({r.frame for r in records}) == len(records) == expected
    assert all((r.points, r.kind, r.labeller, r.round) == (200, "frame", "initial", 0) for r in records)
    assert records == initial_records(list(scene), InitialSettings(share=share), CELLS, seed=5)


def test_the_initial_set_of_units_keeps_to_its_share(scene):
    settings = InitialSettings(kind="units", share=0.1)
    draws = [initial_records(list(scene), settings, CELLS, seed) for seed in range(4)]
    for records in draws:
        assert 0.08 * 1200 < sum(r.points for r in records) <= 120
        assert len({(r.frame, r.unit) for r in records}) == len(records)
        for r in records:
            points = scene[r.frame].points()[CELLS(scene[r.frame].points()) == r.unit]
            assert len(points) == r.points
    assert draws[0] != draws[1]
    with pytest.raises(DataError, match="the smallest unit has"):
        initial_records(list(scene), InitialSettings(kind="units", share=1e-6), CELLS, 0)


def test_per_scene_takes_the_share_of_every_scene(scene):
    other = replace(scene, id="01")
    settings = InitialSettings(share=0.2, per_scene=True)
    records = initial_records([*scene, *other], settings, CELLS, 0)
    assert sorted(r.scene for r in records) == ["00", "01"]
    assert UnitKey("00", records[0].frame, 0) == records[0].key


def test_frames_are_trained_on_as_often_as_their_labelled_points_ask_for(scene):
    records = [record(0, frame=0, kind="frame", points=200), of_unit(scene, 1, 0), of_unit(scene, 4, 3)]
    world = World((scene,), (), MAP)
    labels = LedgerLabels(records, GroundTruth(), CELLS)
    train = Config().train.model_copy(update={"steps": 500, "batch": 2})
    drawn = Counter(frame.index for frame in training_frames(labels, world, train, None))
    total = sum(r.points for r in records)
    for r in records:
        assert drawn[r.frame] == max(1, round(1000 * r.points / total))
    assert drawn == Counter(frame.index for frame in training_frames(labels, world, train, "points"))
    assert [frame.index for frame in training_frames(labels, world, train, "frames")] == [0, 1, 4]
    filled = train.model_copy(update={"context_m": 0.5})
    assert [frame.index for frame in training_frames(labels, world, filled, None)] == [0, 1, 4]
