# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Tracks as units: what they score, what is asked, and what an answer is worth in other sweeps."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from strategy_pools import TENTH, frame_facts, pool_of, with_budget, with_columns
from test_rounds_labels import MAP
from test_tracks import CONFIG, Thing, street

from lidal3d.config import Config
from lidal3d.errors import DataError, UsageError
from lidal3d.jobs.score import score_drive
from lidal3d.jobs.score_arrays import read_pool
from lidal3d.jobs.select import select_from_scenes
from lidal3d.jobs.track import track_drive
from lidal3d.jobs.track_columns import add_track_columns
from lidal3d.predictions.store import PredictionStore
from lidal3d.rounds.carry_tracks import answers_of_tracks, carry_by_track
from lidal3d.rounds.masks import LedgerLabels
from lidal3d.rounds.oracle import GroundTruth
from lidal3d.rounds.record import Record
from lidal3d.scene.scene import Scene
from lidal3d.scores.entropy import entropy
from lidal3d.scores.track_disagreement import track_disagreement, track_information
from lidal3d.select.history import History
from lidal3d.select.manifest import read_manifest
from lidal3d.select.points import read_points
from lidal3d.strategies import STRATEGIES, UnitPool
from lidal3d.strategies.tracks import best_of_track
from lidal3d.tracks.store import TrackStore
from lidal3d.tracks.table import TrackPath
from lidal3d.tracks.units import TrackUnits, main_track, representatives
from lidal3d.units import make_partition
from lidal3d.units.grid import GridCells

BY_TRACK = Config().updated({"units": {"kind": "track"}})
THINGS = [Thing(10, 4), Thing(-15, -3, speed=(12, 0)), Thing(4, -6, size=(0.8, 0.8, 1.7))]


@dataclass(frozen=True)
class Labelled:
    """Points of another source, with labels."""

    plain: object
    raw: tuple[np.ndarray, ...]

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.plain, name)

    def labels_path(self, index: int) -> Path:
        return Path(f"memory/{index:06d}.label")

    def read_labels(self, index: int) -> np.ndarray:
        return self.raw[index]


@pytest.fixture(scope="module")
def drive() -> tuple[Scene, list[np.ndarray]]:
    """Ground has no class, the things have 0, 1, 2."""
    scene, truth = street(THINGS, sweeps=6)
    raw = tuple((owner + 1).astype(np.uint32) for owner in truth)
    key = np.array([False, True, True, True, True, True])
    return replace(scene, label_map=MAP, source=Labelled(scene.source, raw), is_key_frame=key), truth


@pytest.fixture(scope="module")
def predictions(drive, tmp_path_factory) -> PredictionStore:  # type: ignore[no-untyped-def]
    """The first thing is seen as class 1 in every third sweep and as 0 else; the others as what they are."""
    scene, truth = drive
    store = PredictionStore(tmp_path_factory.mktemp("predictions"), MAP.classes, "made up", 1)
    for frame, owner in zip(scene, truth, strict=True):
        seen = np.where(owner == 0, 1 if frame.index % 3 == 0 else 0, np.maximum(owner, 0))
        rows = np.full((len(owner), 3), 0.125, np.float32)
        rows[np.arange(len(owner)), seen] = 0.75
        store.write(scene.id, frame.name, rows)
    store.write_header()
    return store


def thing_of(table, row: int, drive, store: TrackStore) -> int:  # type: ignore[no-untyped-def]
    scene, truth = drive
    frame = int(table.frame[row])
    mine = store.ids(scene.id, scene.frame_names[frame], len(truth[frame])) == table.unit[row]
    owners = Counter(truth[frame][mine].tolist())
    assert sum(owners.values()) == table.points[row]
    return owners.most_common(1)[0][0]


# --- scores --------------------------------------------------------------------------------------------------------


def test_disagreement_by_hand() -> None:
    predicted, track = np.array([0, 0, 1, 2, 2, 3]), np.array([0, 0, 0, 1, 1, 3])
    np.testing.assert_allclose(track_disagreement(predicted, track, 4, 4), [1 / 3, 0, np.nan, 0])


def test_information_is_the_entropy_of_the_mean_less_the_mean_entropy() -> None:
    sure = np.array([[1.0, 0], [0, 1], [1, 0], [1, 0]])
    np.testing.assert_allclose(track_information(sure, np.array([0, 0, 1, 1]), 3), [np.log(2), 0, np.nan])
    rng = np.random.default_rng(0)
    members, track = rng.dirichlet(np.ones(5), 200), rng.integers(0, 9, 200)
    wanted = [
        entropy(members[track == t].mean(axis=0)[None])[0] - entropy(members[track == t]).mean() for t in range(9)
    ]
    np.testing.assert_allclose(track_information(members, track, 9), wanted, atol=1e-12)


# --- units ---------------------------------------------------------------------------------------------------------


def test_what_is_asked_about_is_the_best_seen_key_frame() -> None:
    track, frame, points = np.array([[3, 0, 50], [3, 1, 20], [3, 2, 20], [7, 0, 9], [8, 1, 5], [8, 2, 6]]).T
    nothing = np.zeros((6, 3))
    path = TrackPath(track.astype(np.int32), frame.astype(np.int32), points, nothing, nothing)
    assert representatives(path, np.array([False, True, True])).tolist() == [1, 3, 5]
    assert representatives(path, np.array([True, True, True])).tolist() == [0, 3, 5]


def test_the_main_track_of_a_unit_against_counting() -> None:
    rng = np.random.default_rng(0)
    ids, unit = rng.integers(-1, 4, 400).astype(np.int32), rng.integers(0, 60, 400).astype(np.int32)
    wanted = []
    for one in range(60):
        counts = Counter(ids[unit == one].tolist())
        size = sum(counts.values())
        held = [(-n, t) for t, n in counts.items() if t >= 0 and n >= 0.5 * size]
        wanted.append(min(held)[1] if held else -1)
    assert main_track(ids, unit, 60).tolist() == wanted


def test_scoring_tracks(drive, predictions, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    scene, _ = drive
    table = score_drive([scene], predictions, tmp_path, BY_TRACK).table
    assert table.kind == "track"
    store = TrackStore.open(tmp_path / "tracks")
    things = [thing_of(table, row, drive, store) for row in range(len(table))]
    assert sorted(things) == [0, 1, 2]
    by_thing = {thing: row for row, thing in enumerate(things)}
    assert table.score("track_disagreement")[[by_thing[k] for k in range(3)]] == pytest.approx([2 / 6, 0, 0])
    assert table.score("predicted_class")[[by_thing[k] for k in range(3)]].tolist() == [0, 1, 2]
    assert (table.score("sweeps") == 6).all()
    assert (table.score("is_key_frame") == 1).all()
    assert 0 not in table.frame
    before = (tmp_path / "scores.parquet").read_bytes()
    (tmp_path / "scores.parquet").unlink()
    score_drive([scene], predictions, tmp_path, BY_TRACK, workers=2)
    assert (tmp_path / "scores.parquet").read_bytes() == before


def test_choosing_tracks(drive, predictions, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """The one thing that the model contradicts itself about is asked, with its points in one sweep."""
    scene, truth = drive
    pool_folder = tmp_path / "scores"
    score_drive([scene], predictions, pool_folder, BY_TRACK)
    config = BY_TRACK.updated({"select": {"budget": "1:regions"}, "pseudo": {"budget": "0"}})
    units = TrackUnits.of(TrackStore.open(pool_folder / "tracks"), [scene])
    select_from_scenes(
        read_pool(pool_folder), [scene], predictions, tmp_path / "queue", config, partition=units,
        strategy=STRATEGIES["track_disagreement"],
    )  # fmt: skip
    (pick,) = read_manifest(tmp_path / "queue").selection.picks
    points = read_points(tmp_path / "queue" / "points.npz", 1)[0]
    assert len(points) == pick.points == pick.cost * len(points)
    assert set(truth[pick.key.frame][points].tolist()) == {0}
    assert pick.kind == "track"


@pytest.fixture(scope="module")
def scored(drive, predictions, tmp_path_factory) -> UnitPool:  # type: ignore[no-untyped-def]
    folder = tmp_path_factory.mktemp("scored")
    score_drive([drive[0]], predictions, folder, BY_TRACK)
    return read_pool(folder)


@pytest.mark.parametrize("name", STRATEGIES)
def test_strategies_choose_among_tracks_or_say_what_these_lack(scored: UnitPool, name: str) -> None:
    strategy, config = STRATEGIES[name], Config().updated({"select": {"budget": "100%", "min_distance_m": 0.0}})
    if "track" in strategy.possible_kinds:
        selection, _ = strategy.choose(scored, config, frame_facts, History(), np.random.default_rng(0))
        assert {pick.kind for pick in selection.picks} == {"track"}
    else:
        with pytest.raises(UsageError, match=rf"'{name}' needs .*; tracks have none; take another|'{name}' is for "):
            strategy.choose(scored, config, frame_facts, History(), np.random.default_rng(0))


def test_what_tracks_cannot_do_is_said(drive, predictions, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    scene, _ = drive
    with pytest.raises(UsageError, match="leave out --shard and --keep-going"):
        score_drive([scene], predictions, tmp_path / "a", BY_TRACK, shard=(1, 2))
    short = BY_TRACK.updated({"tracks": {"min_sweeps": 99}})
    with pytest.raises(DataError, match="0 tracks of 99 sweeps in 6 frames"):
        score_drive([scene], predictions, tmp_path / "b", short)
    with pytest.raises(DataError, match="another drive, model or settings"):
        score_drive([scene], predictions, tmp_path / "b", BY_TRACK)
    with pytest.raises(UsageError, match=r"units\.kind=track: these units span sweeps"):
        make_partition(BY_TRACK.units)


def test_regions_learn_of_tracks(drive, predictions, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    scene, truth = drive
    grid = Config().updated({"units": {"kind": "grid", "cell_m": 2.0}})
    score_drive([scene], predictions, tmp_path / "scores", grid)
    store = track_drive([scene], tmp_path / "tracks", CONFIG)
    table = add_track_columns(tmp_path / "scores", [scene], store)
    ids = [store.ids(scene.id, frame.name, len(owner)) for frame, owner in zip(scene, truth, strict=True)]
    cells = [GridCells(2.0)(frame.points()) for frame in scene]
    tracked = table.score("track")
    for row in range(0, len(table), 7):
        frame = int(table.frame[row])
        mine = ids[frame][cells[frame] == table.unit[row]]
        counts = Counter(mine.tolist())
        held = {t: n for t, n in counts.items() if t >= 0 and 2 * n >= len(mine)}
        assert tracked[row] in (held or {-1: 0})
    assert (np.isnan(table.score("track_disagreement")) == (tracked < 0)).all()
    assert set(table.score("track_disagreement")[tracked >= 0].round(6)) == {0.0, round(2 / 6, 6)}


# --- choosing regions ----------------------------------------------------------------------------------------------


def test_of_a_track_only_the_best_region_is_asked() -> None:
    pool = pool_of().in_order()
    table = pool.table
    score = table.score("lidal")
    left = best_of_track(table, score, 10, History())
    track = table.score("track")
    for scene in range(3):
        for one in np.unique(track[table.scene == scene]):
            rows = np.flatnonzero((table.scene == scene) & (track == one))
            if one < 0:
                np.testing.assert_array_equal(left[rows], score[rows])
                continue
            able = rows[
                (table.scores["is_key_frame"][rows] > 0) & np.isfinite(score[rows]) & (table.points[rows] >= 10)
            ]
            wanted = [able[score[able].argmax()]] if len(able) else []
            assert rows[np.isfinite(left[rows])].tolist() == wanted


def test_no_two_picks_and_no_two_rounds_share_a_track() -> None:
    pool, history = pool_of(), History()
    seen: set[tuple[str, float]] = set()
    for _ in range(3):
        selection, _ = STRATEGIES["lidal_by_track"].choose(
            pool, with_budget("12%"), frame_facts, history, np.random.default_rng(0)
        )
        tracks = [(pick.key.scene, pick.scores["track"]) for pick in selection.picks if pick.scores["track"] >= 0]
        assert tracks
        assert len(set(tracks)) == len(tracks)
        assert not set(tracks) & seen
        seen |= set(tracks)
        history = replace(history, labelled=(*history.labelled, *selection.picks))


def test_without_tracks_it_is_lidal() -> None:
    pool = with_columns(pool_of(), track=np.full(240, -1.0))
    picks = [
        STRATEGIES[name].choose(pool, TENTH, frame_facts, History(), np.random.default_rng(0))[0].picks
        for name in ("lidal_by_track", "lidal_human")
    ]
    assert [pick.key for pick in picks[0]] == [pick.key for pick in picks[1]]


# --- answers -------------------------------------------------------------------------------------------------------


def test_a_corner_of_a_track_is_no_answer() -> None:
    ids = np.array([0] * 10 + [1] * 10 + [-1] * 5, np.int32)
    labels = np.array([2] * 4 + [255] * 6 + [2] * 5 + [255] * 5 + [1] * 5, np.uint8)
    assert answers_of_tracks(ids, labels, 2, 3).tolist() == [[0, 0, 0], [0, 0, 5]]


def test_an_answer_reaches_all_sweeps_that_show_the_thing(drive, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """The moving thing is labelled in one sweep: it is known in all others, and nothing else is."""
    scene, truth = drive
    tracks = track_drive([scene], tmp_path / "tracks", CONFIG)
    units = TrackUnits.of(tracks, [scene])
    ids = [tracks.ids(scene.id, frame.name, len(owner)) for frame, owner in zip(scene, truth, strict=True)]
    track = int(np.bincount(ids[2][(truth[2] == 1) & (ids[2] >= 0)]).argmax())
    points = int((ids[2] == track).sum())
    record = Record("00", 2, track, "track", points, "human", 1, "", "", 1.0, "regions", (0.0, 0.0, 0.0))
    own = LedgerLabels([record], GroundTruth(), units.at("00", 2))
    carried = carry_by_track(own, {"00": scene}, MAP.classes, tracks, 0.5, tmp_path / "carried")
    assert {index for _, index in carried.counts} == {1, 3, 4, 5}
    for index in range(1, 6):
        labels, weights = carried(scene[index])
        np.testing.assert_array_equal(labels != 255, ids[index] == track)
        assert set(labels[labels != 255].tolist()) == {1}
        assert weights is None if index == 2 else set(weights[labels != 255].tolist()) == {0.5}


def test_a_track_of_two_classes_is_not_carried(drive, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    scene, truth = drive
    mixed = tuple(np.where(np.arange(len(o)) % 2, 1, 2).astype(np.uint32) for o in truth)
    scene = replace(scene, source=replace(scene.source, raw=mixed))
    tracks = track_drive([scene], tmp_path / "tracks", CONFIG)
    whole = Record("00", 2, 0, "frame", len(truth[2]), "human", 1, "", "", 1.0, "frames", (0.0, 0.0, 0.0))
    own = LedgerLabels([whole], GroundTruth(), GridCells(4.0))
    assert not carry_by_track(own, {"00": scene}, MAP.classes, tracks, 1.0, tmp_path / "carried").counts
