# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""The manifest on disk and the job that makes it, on miniature drives written here."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from lidal3d.config import Config
from lidal3d.errors import DataError, UsageError
from lidal3d.jobs.select import frames_named, labelled_frames, select_from_scenes, select_job, source_paths
from lidal3d.predictions.store import PredictionStore
from lidal3d.scene.scene import Scene
from lidal3d.scores.table import ScoreTable
from lidal3d.select.manifest import read_manifest, read_pseudo_points, write_manifest
from lidal3d.select.points import PointSets, point_sets, read_points, write_points
from lidal3d.select.pseudo import nothing
from lidal3d.select.selection import Pick, Selection, UnitKey
from lidal3d.strategies import UnitPool

CLASSES = ("car", "person", "road")
FRAMES = 6
POINTS = 240
UNITS = 12


@dataclass(frozen=True)
class MemorySource:
    """Sweeps of random points on a 10 m × 10 m × 10 m cube; `broken` frames can't be read."""

    seed: int
    root: Path
    broken: tuple[int, ...] = ()
    labelled: tuple[int, ...] = ()

    def points_path(self, index: int) -> Path:
        return self.root / f"{index:06d}.bin"

    def labels_path(self, index: int) -> Path | None:
        return self.root / f"{index:06d}.label" if index in self.labelled else None

    def read_points(self, index: int) -> np.ndarray:
        if index in self.broken:
            raise DataError(f"{self.points_path(index)}: 17 bytes, expected a multiple of 16")
        return np.random.default_rng([self.seed, index]).random((POINTS, 4)).astype(np.float32) * 10

    def read_labels(self, index: int) -> None:
        return None

    def read_instances(self, index: int) -> None:
        return None

    def images(self, index: int) -> tuple:
        return ()


@dataclass(frozen=True)
class Slices:
    """Cuts a sweep along x into 12 units."""

    kind: str = "grid"

    def __call__(self, points: np.ndarray) -> np.ndarray:
        return np.clip(points[:, 0] / 10 * UNITS, 0, UNITS - 1).astype(np.int32)


def scene(name: str, root: Path, broken: tuple[int, ...] = ()) -> Scene:
    return Scene(
        id=name,
        dataset="folder",
        root=root,
        frame_names=tuple(f"{i:06d}" for i in range(FRAMES)),
        timestamps_ns=np.arange(FRAMES, dtype=np.int64) * 100_000_000,
        world_SE3_lidar=np.tile(np.eye(4), (FRAMES, 1, 1)),
        is_key_frame=np.ones(FRAMES, bool),
        label_map=None,
        source=MemorySource(ord(name), root, broken),
    )


def score_table(scenes: list[Scene]) -> ScoreTable:
    rows, sizes, centers = [], [], []
    for place, one in enumerate(scenes):
        for frame in one:
            points = frame.points()
            ids = Slices()(points)
            for unit in range(UNITS):
                rows.append((place, frame.index, unit))
                sizes.append(int((ids == unit).sum()))
                # Frames are 50 m apart, so that only neighbouring slices of one frame are close.
                centers.append(points[ids == unit, :3].mean(axis=0) + np.array([0, 50 * frame.index, 0]))
    scene_, frame_, unit_ = np.array(rows, np.int32).T
    rng = np.random.default_rng(7)
    count = len(rows)
    coverage = np.where(np.arange(count) % 5 == 0, 0.0, 0.9)
    return ScoreTable(
        scenes=tuple(one.id for one in scenes),
        scene=scene_,
        frame=frame_,
        unit=unit_,
        points=np.array(sizes, np.int64),
        center_m=np.array(centers, np.float64),
        scores={
            "divergence": np.where(coverage > 0, rng.gamma(0.3, 0.1, count), np.nan),
            "divergence_paper": rng.gamma(0.3, 0.1, count),
            "entropy": rng.random(count) / 2,
            "entropy_unmatched": rng.random(count),
            "coverage": coverage,
            "matches": 20 * coverage,
            "predicted_class": rng.integers(0, 3, count).astype(float),
            "is_key_frame": np.ones(count),
        },
        kind="grid",
        metadata={"classes": list(CLASSES), "units": {"kind": "grid", "cell_m": 2.0}},
    )


@pytest.fixture
def drive(tmp_path: Path) -> list[Scene]:
    return [scene("a", tmp_path / "drive"), scene("b", tmp_path / "drive")]


@pytest.fixture
def predictions(tmp_path: Path, drive: list[Scene]) -> PredictionStore:
    store = PredictionStore(tmp_path / "predictions", CLASSES)
    rng = np.random.default_rng(3)
    for one in drive:
        for name in one.frame_names:
            probabilities = rng.dirichlet([0.2, 0.2, 0.2], POINTS)
            store.write(one.id, name, probabilities.astype(np.float32))
    store.write_header()
    return store


CONFIG = Config.preset("default").updated(
    {
        "select": {"budget": "10%", "min_points": 1},
        "pseudo": {"budget": "20%", "max_entropy": 9, "min_confidence": 0.9, "max_class_share": 1},
    }
)


def run(scenes: list[Scene], store: PredictionStore | None, out: Path, config: Config = CONFIG, **more: object) -> Path:
    more.setdefault("partition", Slices())
    table = more.pop("table", None) or score_table([replace(s, source=replace(s.source, broken=())) for s in scenes])
    select_from_scenes(UnitPool(table), scenes, store, out, config, **more)
    return out


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def pick(rank: int = 1, **changes: object) -> Pick:
    given = {
        "rank": rank,
        "key": UnitKey("a", 3, rank),
        "frame_name": "000003",
        "timestamp_ns": 2**62 + 1,
        "kind": "grid",
        "points": 2,
        "cost": 2.0,
        "center_m": (1 / 3, -2.0, 1e-7),
        "scores": {"divergence": float("nan"), "entropy": 2 / 3},
        "reason": "the model is unsure of it: ‘car’",
        "suppressed": (UnitKey("a", 3, 9), UnitKey("b", 0, 1)),
    }
    return Pick(**{**given, **changes})


def test_a_manifest_comes_back_as_it_was(tmp_path: Path) -> None:
    selection = Selection((pick(1), pick(2, suppressed=())), "lidal", "points", 5.0, 4.0)
    pseudo = Selection((pick(1, key=UnitKey("a", 4, 0)),), "lidal pseudo", "points", 3.0, 2.0)
    points = point_sets([np.array([5, 7]), np.array([0, 1])])
    labelled = point_sets([np.array([2, 3])], [np.array([1, 255], np.uint8)], [np.array([0.5, 0], np.float32)])
    write_manifest(selection, pseudo, tmp_path / "m", CONFIG, points, labelled, classes=CLASSES, source={"drive": "d"})
    manifest = read_manifest(tmp_path / "m")
    assert repr(manifest.selection) == repr(selection)  # NaN is not equal to itself
    assert repr(manifest.pseudo) == repr(pseudo)
    assert [indices.tolist() for indices in manifest.points] == [[5, 7], [0, 1]]
    got = read_pseudo_points(tmp_path / "m")
    assert (got[0].tolist(), got.labels_of(0).tolist(), got.weights_of(0).tolist()) == ([2, 3], [1, 255], [0.5, 0])
    line = json.loads((tmp_path / "m" / "manifest.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert line["scores"] == {"divergence": None, "entropy": 0.666666667}
    assert line["suppressed"][1] == {"scene": "b", "frame": 0, "unit": 1}
    assert line["timestamp_ns"] == 2**62 + 1
    account = json.loads((tmp_path / "m" / "summary.json").read_text())
    assert {**account["selection"], "picks": 2, "left": 1, "used": 4, "budget": 5} == account["selection"]
    assert account["pseudo"]["labelled_points"] == 1
    assert Config.preset("default").updated(yaml.safe_load((tmp_path / "m" / "config.yaml").read_text())) == CONFIG
    with pytest.raises(DataError, match="a person's"):
        manifest.points.labels_of(0)


def test_nothing_chosen_is_a_manifest_too(tmp_path: Path) -> None:
    write_manifest(Selection((), "lidal", "points", 5.0, 0.0), nothing(), tmp_path / "m", CONFIG, point_sets([]))
    manifest = read_manifest(tmp_path / "m")
    assert (manifest.selection.picks, len(manifest.points), manifest.pseudo.picks) == ((), 0, ())
    assert (tmp_path / "m" / "manifest.jsonl").read_text() == ""
    assert len(read_pseudo_points(tmp_path / "m")) == 0


def test_point_files_have_stable_bytes_and_open_with_numpy(tmp_path: Path) -> None:
    points = point_sets([np.arange(3), np.array([], int), np.array([9])])
    write_points(points, tmp_path / "a.npz")
    write_points(points, tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    with np.load(tmp_path / "a.npz", allow_pickle=False) as archive:
        assert archive["offsets"].tolist() == [0, 3, 3, 4]
        assert archive["indices"].dtype == np.int32
    back = read_points(tmp_path / "a.npz", 3)
    assert [len(indices) for indices in back] == [3, 0, 1]
    with pytest.raises(DataError, match="points of 3 picks, but the manifest has 4"):
        read_points(tmp_path / "a.npz", 4)


def test_damage_is_named_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"manifest\.parquet: no manifest there"):
        read_manifest(tmp_path)
    selection = Selection((pick(),), "lidal", "points", 5.0, 2.0)
    write_manifest(selection, nothing(), tmp_path / "m", CONFIG, point_sets([np.array([1, 2])]))
    whole = (tmp_path / "m" / "points.npz").read_bytes()
    (tmp_path / "m" / "points.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"points\.npz: not the points of a manifest"):
        read_manifest(tmp_path / "m")
    (tmp_path / "m" / "points.npz").unlink()
    with pytest.raises(DataError, match=r"points\.npz: missing"):
        read_manifest(tmp_path / "m")
    (tmp_path / "m" / "manifest.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(DataError, match=r"manifest\.parquet: not a lidal3d manifest") as caught:
        read_manifest(tmp_path / "m")
    assert "\n" not in str(caught.value)


def test_a_parquet_of_something_else_is_no_manifest(tmp_path: Path) -> None:
    import pyarrow as pa

    pq.write_table(pa.table({"rank": [1]}), tmp_path / "manifest.parquet")
    with pytest.raises(DataError, match="not a lidal3d manifest"):
        read_manifest(tmp_path)


def test_picks_and_point_sets_must_be_as_many(tmp_path: Path) -> None:
    selection = Selection((pick(),), "lidal", "points", 5.0, 2.0)
    with pytest.raises(DataError, match="1 picks of 'lidal', 2 sets of points"):
        write_manifest(selection, nothing(), tmp_path / "m", CONFIG, point_sets([[1], [2]]))
    assert not (tmp_path / "m").exists()


def test_other_peoples_files_are_not_replaced(tmp_path: Path) -> None:
    empty = Selection((), "lidal", "points", 5.0, 0.0)
    write_manifest(empty, nothing(), tmp_path / "m", CONFIG, point_sets([]))
    write_manifest(empty, nothing(), tmp_path / "m", CONFIG, point_sets([]))
    (tmp_path / "m" / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError, match=r"holds 'thesis\.tex'"):
        write_manifest(empty, nothing(), tmp_path / "m", CONFIG, point_sets([]))
    with pytest.raises(UsageError, match="is a file"):
        write_manifest(empty, nothing(), tmp_path / "m" / "thesis.tex", CONFIG, point_sets([]))
    assert (tmp_path / "m" / "thesis.tex").read_text() == "years of work"


# --- the job -------------------------------------------------------------------------------------------------------


def test_points_are_those_of_the_units_and_labels_those_of_the_model(
    tmp_path: Path, drive: list[Scene], predictions: PredictionStore
) -> None:
    out = run(drive, predictions, tmp_path / "queue")
    manifest, pseudo_points = read_manifest(out), read_pseudo_points(out)
    by_id = {one.id: one for one in drive}
    assert manifest.selection.picks
    assert manifest.pseudo.picks
    for chosen, points in ((manifest.selection, manifest.points), (manifest.pseudo, pseudo_points)):
        for one, indices in zip(chosen.picks, points, strict=True):
            ids = Slices()(by_id[one.key.scene][one.key.frame].points())
            assert indices.tolist() == np.flatnonzero(ids == one.key.unit).tolist()
            assert len(indices) == one.points
    kinds = set()
    for i, one in enumerate(manifest.pseudo.picks):
        probabilities = predictions.probabilities(one.key.scene, one.frame_name)[pseudo_points[i]]
        labels, weights = pseudo_points.labels_of(i), pseudo_points.weights_of(i)
        for row, label, weight in zip(probabilities, labels, weights, strict=True):
            sure = bool(max(row) >= 0.9)
            assert (label, weight) == ((int(np.argmax(row)), 0.5) if sure else (255, 0.0))
            kinds.add(sure)
    assert kinds == {True, False}
    keys = [{p.key for p in chosen.picks} for chosen in (manifest.selection, manifest.pseudo)]
    assert not keys[0] & keys[1]
    assert yaml.safe_load((out / "config.yaml").read_text())["units"]["cell_m"] == 2.0  # what was scored


def test_equal_input_is_equal_bytes_for_shuffled_rows_and_any_workers(
    tmp_path: Path, drive: list[Scene], predictions: PredictionStore
) -> None:
    table = score_table(drive)
    shuffled = table.take(np.random.default_rng(1).permutation(len(table)))
    first = contents(run(drive, predictions, tmp_path / "one"))
    assert first == contents(run(drive, predictions, tmp_path / "two", table=shuffled))
    assert first == contents(run(drive[::-1], predictions, tmp_path / "three", table=table))
    started, ticks = [], []
    more = {"workers": 2, "start": started.append, "tick": lambda: ticks.append(1)}
    assert first == contents(run(drive, predictions, tmp_path / "four", **more))
    assert started == [len(ticks)]
    text = b"".join(first.values())
    assert str(tmp_path).encode() not in text


def test_rounds_follow_each_other(tmp_path: Path, drive: list[Scene], predictions: PredictionStore) -> None:
    first = read_manifest(run(drive, predictions, tmp_path / "1"))
    second = read_manifest(run(drive, predictions, tmp_path / "2", earlier=[first]))
    keys = [{p.key for p in m.selection.picks} for m in (first, second)]
    assert keys[1]
    assert not keys[0] & keys[1]
    assert not keys[0] & {p.key for p in second.pseudo.picks}
    frame = first.selection.picks[0]
    whole = read_manifest(
        run(drive, predictions, tmp_path / "3", labelled_frames=[(frame.key.scene, frame.frame_name)])
    )
    everything = (*whole.selection.picks, *whole.pseudo.picks)
    assert (frame.key.scene, frame.key.frame) not in {(p.key.scene, p.key.frame) for p in everything}
    with pytest.raises(UsageError, match="labelled frame a/seven: no such frame"):
        run(drive, predictions, tmp_path / "4", labelled_frames=[("a", "seven")])


def test_labelled_frames_by_name_and_by_what_is_there(tmp_path: Path, drive: list[Scene]) -> None:
    scenes = [replace(drive[0], source=replace(drive[0].source, labelled=(0, 2))), drive[1]]
    assert frames_named(["existing"], scenes) == [("a", "000000"), ("a", "000002")]
    assert frames_named(["b/000001", "existing", "a/000002"], scenes)[1:] == [("a", "000002"), ("b", "000001")]
    with pytest.raises(UsageError, match="write SCENE/FRAME, for example a/000001"):
        frames_named(["000001"], scenes)
    assert labelled_frames([], tmp_path / "no scores there") == []


def test_a_changed_drive_is_noticed(tmp_path: Path, drive: list[Scene], predictions: PredictionStore) -> None:
    table = score_table(drive)
    moved = [replace(one, source=MemorySource(99, one.root)) for one in drive]
    with pytest.raises(DataError, match=r"\.bin: unit \d+ has \d+ points, the score table says \d+") as caught:
        run(moved, predictions, tmp_path / "queue", table=table)
    assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match="the scores are of scene b, the drive has a"):
        run(drive[:1], predictions, tmp_path / "queue", table=table)
    cut = [replace(one, frame_names=one.frame_names[:1]) for one in drive]
    with pytest.raises(DataError, match=r"the scores are of frame \d too, the drive has 1 frames"):
        run(cut, predictions, tmp_path / "queue", table=table)
    assert not list(tmp_path.glob("queue*"))
    assert not list(tmp_path.glob(".writing-*"))


def test_a_broken_frame_ends_the_run_or_costs_only_its_picks(
    tmp_path: Path, drive: list[Scene], predictions: PredictionStore
) -> None:
    whole = read_manifest(run(drive, predictions, tmp_path / "whole"))
    bad = whole.selection.picks[0].key
    broken = [replace(s, source=replace(s.source, broken=(bad.frame,) if s.id == bad.scene else ())) for s in drive]
    with pytest.raises(DataError, match="17 bytes"):
        run(broken, predictions, tmp_path / "queue")
    assert not (tmp_path / "queue").exists()
    out = run(broken, predictions, tmp_path / "queue", keep_going=True)
    kept = read_manifest(out)
    lines = [json.loads(line) for line in (out / "failed.jsonl").read_text().splitlines()]
    named = [(line["scene"], line["frame"], line["name"]) for line in lines]
    assert named == [(bad.scene, bad.frame, f"{bad.frame:06d}")]
    assert "17 bytes" in lines[0]["error"]
    expected = [p.key for p in whole.selection.picks if (p.key.scene, p.key.frame) != (bad.scene, bad.frame)]
    assert [p.key for p in kept.selection.picks] == expected
    assert [p.rank for p in kept.selection.picks] == list(range(1, len(expected) + 1))
    assert kept.selection.used == sum(p.points for p in kept.selection.picks)


def test_pseudo_labels_need_predictions(tmp_path: Path, drive: list[Scene]) -> None:
    with pytest.raises(UsageError, match=r"pseudo-labels need the predictions"):
        run(drive, None, tmp_path / "queue")
    out = run(drive, None, tmp_path / "queue", CONFIG.updated({"pseudo": {"budget": "0"}}))
    assert read_manifest(out).pseudo.picks == ()


def test_unit_settings_of_another_version_are_refused(tmp_path: Path, drive: list[Scene]) -> None:
    table = score_table(drive)
    table = replace(table, metadata={**table.metadata, "units": {"kind": "crystals"}})
    with pytest.raises(DataError, match=r"score table: units\.kind = 'crystals'") as caught:
        run(drive, None, tmp_path / "queue", table=table)
    assert "\n" not in str(caught.value)


def test_source_paths(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"source\.yaml: names no drive; give --drive"):
        source_paths(tmp_path, None, None)
    (tmp_path / "source.yaml").write_text("drive: /somewhere/drive\npredictions: /somewhere/predictions\n")
    assert source_paths(tmp_path, None, None) == {"drive": "/somewhere/drive", "predictions": "/somewhere/predictions"}
    assert source_paths(tmp_path, Path("/moved"), None)["drive"] == "/moved"
    (tmp_path / "source.yaml").write_text("drive: [")
    with pytest.raises(DataError, match="not readable YAML"):
        source_paths(tmp_path, None, None)


def test_the_job_without_scores_says_how_to_make_them(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="lidal3d score"):
        select_job(tmp_path / "scores", tmp_path / "queue", CONFIG, drive=tmp_path)


def test_point_sets_know_their_number() -> None:
    points = PointSets(np.array([0, 1]), np.array([4], np.int32))
    with pytest.raises(IndexError, match="there are 1 picks, number 1"):
        points[1]
