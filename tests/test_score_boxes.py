# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""From a detector's boxes to scores, a selection, exports and a report; every column against loops."""

from __future__ import annotations

import itertools
import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from box_drives import CLASSES, write_boxes
from command_line import CommandLine, leftovers, street, write_drive

from lidal3d.config import Config
from lidal3d.errors import DataError
from lidal3d.interframe.boxes import View, compare_boxes, nearest_boxes, placed
from lidal3d.jobs.score_boxes import score_boxes
from lidal3d.predictions.boxes import BoxStore
from lidal3d.scene.open import open_drive
from lidal3d.scene.pose import inverse, transform
from lidal3d.scene.scene import Frame
from lidal3d.scores.boxes import box_distribution
from lidal3d.scores.table import ScoreTable
from lidal3d.select.manifest import read_manifest
from lidal3d.settings.boxes import BoxesConfig
from lidal3d.units.boxes import points_in_boxes

FRAMES = 6
CONFIG = Config(boxes=BoxesConfig(match_m=1.0, view_m=12.0)).updated({"interframe": {"half_window": 2}})


class Given:
    """A drive of two scenes and what a detector found in it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.drive, self.boxes, self.scores = folder, folder / "drive", folder / "boxes", folder / "scores"
        self.scenes, self.store = open_drive(self.drive), BoxStore.open(self.boxes)

    def file(self, frame: int, scene: str = "00") -> Path:
        return self.boxes / "boxes" / scene / f"{frame:06d}.npz"


@pytest.fixture(scope="module")
def template(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("boxes")
    scenes = (street(FRAMES, 400), street(FRAMES, 400, scene="01", seed=1))
    write_drive(folder / "drive", *scenes)
    write_boxes(folder / "boxes", *scenes, features=5)
    return folder


@pytest.fixture
def given(template, tmp_path) -> Given:
    shutil.copytree(template, tmp_path / "given")
    return Given(tmp_path / "given")


@pytest.fixture
def lidal3d(capsys) -> CommandLine:
    return CommandLine(capsys)


# --- kernels -------------------------------------------------------------------------------------------------------


def test_distributions_have_a_background_where_classes_leave_room():
    rows = box_distribution(np.array([[0.2, 0.3], [1.0, 0.0], [0.9, 0.9], [0, 0], [0.25, 0.75]], np.float32))
    np.testing.assert_allclose(rows, [[0.2, 0.3, 0.5], [1, 0, 0], [0.5, 0.5, 0], [0, 0, 1], [0.25, 0.75, 0]], atol=1e-7)
    softmax = np.random.default_rng(0).dirichlet(np.ones(4), 50)
    np.testing.assert_allclose(box_distribution(softmax[:, :3]), softmax, atol=1e-6)
    assert box_distribution(np.empty((0, 3))).shape == (0, 4)


def test_the_nearest_box_within_the_gate():
    rng = np.random.default_rng(1)
    own, other = rng.uniform(0, 4, (20, 3)), rng.uniform(0, 4, (15, 3))
    for i, place in enumerate(nearest_boxes(own, other, 1.0)):
        distance = [math.dist(own[i], b) for b in other]
        assert place == (int(np.argmin(distance)) if min(distance) <= 1 else -1)
    assert nearest_boxes(own[:1], np.array([own[0] + [1, 0, 0], own[0] - [1, 0, 0]]), 1.0).tolist() == [0]
    assert nearest_boxes(own[:2], np.empty((0, 3)), 9.0).tolist() == [-1, -1]
    assert nearest_boxes(np.empty((0, 3)), other, 9.0).size == 0


def test_what_is_in_view():
    xyz = np.array([[3, 4, 99], [3, 4.01, 0], [-1, 0, 0]])
    assert View(5.0).holds(xyz).tolist() == [True, False, True]
    assert View(5.0, (0, -4.005, 3, 4.005)).holds(xyz).tolist() == [True, False, False]


def test_a_steady_box_a_flickering_one_and_an_unknown_one():
    sure, other = np.array([[0.9, 0.1]]), np.array([[0.1, 0.9]])
    here, far = np.array([[5.0, 0, 0, 1, 1, 1, 0]]), np.array([[500.0, 0, 0, 1, 1, 1, 0]])
    pose = np.eye(4)
    steady = compare_boxes(placed(sure, here, pose), [placed(sure, here, pose)] * 3, View(50), 1, 1e-5)
    assert (steady["divergence"], steady["missed"], steady["coverage"], steady["matches"]) == (0, 0, 1, 3)
    assert math.isnan(steady["entropy_unmatched"][0])
    nothing = placed(sure[:0], here[:0], pose)
    flickering = compare_boxes(placed(sure, here, pose), [placed(other, here, pose), nothing], View(50), 1, 1e-5)
    assert flickering["missed"] == flickering["coverage"] == 0.5
    assert flickering["entropy"][0] == pytest.approx(math.log(2))
    assert flickering["divergence"][0] == pytest.approx(0.8 * math.log(9), rel=1e-3)
    assert flickering["divergence_paper"][0] == pytest.approx(flickering["divergence"][0] / 2)
    unknown = compare_boxes(placed(sure, far, pose), [nothing], View(50), 1, 1e-5)
    assert math.isnan(unknown["missed"][0])
    assert math.isnan(unknown["divergence"][0])
    assert (unknown["coverage"][0], unknown["matches"][0]) == (0, 0)


# --- the table -----------------------------------------------------------------------------------------------------


def entropy_of(p) -> float:
    return -sum(v * math.log(v) for v in p if v > 0)


def plain_row(given: Given, table: ScoreTable, row: int) -> dict[str, float]:
    """The columns of one row, by loops over frames and boxes."""
    scene = given.scenes[table.scene[row]]
    index, unit, eps = int(table.frame[row]), int(table.unit[row]), CONFIG.interframe.epsilon
    own = given.store.read(scene.id, scene.frame_names[index])
    p = box_distribution(own.scores)[unit].astype(float)
    world = transform(scene.world_SE3_lidar[index], own.boxes[unit : unit + 1, :3])[0]
    near = sorted((i for i in range(len(scene)) if i != index), key=lambda i: abs(i - index))
    first = min(max(index - 2, 0), len(scene) - 5)  # the window of five frames that holds this one
    divergences, total, seen = [], p.copy(), 0
    for other in sorted(i for i in near if first <= i < first + 5):
        theirs = given.store.read(scene.id, scene.frame_names[other])
        centers = transform(scene.world_SE3_lidar[other], theirs.boxes[:, :3])
        distance = [math.dist(world, center) for center in centers]
        best = int(np.argmin(distance)) if distance and min(distance) <= CONFIG.boxes.match_m else None
        local = transform(inverse(scene.world_SE3_lidar[other]), world[None])[0]
        seen += best is not None or math.hypot(local[0], local[1]) <= CONFIG.boxes.view_m
        if best is not None:
            q = box_distribution(theirs.scores)[best].astype(float)
            total += q
            divergences.append(sum((a + eps) * math.log((a + eps) / (b + eps)) for a, b in zip(p, q, strict=True)))
    top = sorted(p)
    return {
        "divergence": np.mean(divergences) if divergences else math.nan,
        "divergence_paper": sum(divergences) / seen if seen else 0.0,
        "entropy": entropy_of(total / (1 + len(divergences))),
        "entropy_unmatched": math.nan if seen and len(divergences) == seen else entropy_of(p),
        "coverage": len(divergences) / seen if seen else 0.0,
        "missed": 1 - len(divergences) / seen if seen else math.nan,
        "matches": len(divergences),
        "least_confidence": 1 - top[-1],
        "margin": top[-1] - top[-2],
        "softmax_entropy": entropy_of(p),
        "objectness": own.scores[unit].max(),
        "predicted_class": int(own.scores[unit].argmax()),
        "range_m": math.dist((0, 0, 0), own.boxes[unit, :3].astype(float)),
        "is_key_frame": 1.0,
    }


def test_every_column_of_every_box_is_what_the_loops_say(given):
    table = score_boxes(given.scenes, given.store, given.scores, CONFIG).table
    assert table.kind == "box"
    assert table.metadata["classes"] == list(CLASSES)
    total = sum(len(given.store.read(s.id, name)) for s in given.scenes for name in s.frame_names)
    assert len(table) == total > 40
    assert np.isnan(table.score("divergence")).any()
    assert (table.score("missed") > 0).any()
    for row in range(len(table)):
        expected = plain_row(given, table, row)
        assert set(table.scores) == set(expected)
        for name, value in expected.items():
            assert table.score(name)[row] == pytest.approx(value, abs=1e-6, nan_ok=True), (row, name)
    np.testing.assert_array_equal(ScoreTable.read(given.scores / "scores.parquet").boxes, table.boxes)


def test_points_centres_and_arrays_go_with_the_rows(given):
    table = score_boxes(given.scenes, given.store, given.scores, CONFIG).table
    features, rows = np.load(given.scores / "features.npy"), np.load(given.scores / "probabilities.npy")
    assert features.dtype == rows.dtype == np.float32
    row = 0
    for scene in given.scenes:
        for frame in scene:
            found = given.store.read(scene.id, frame.name)
            unit = points_in_boxes(frame.points(), found.boxes, found.objectness)
            part = slice(row, row + len(found))
            assert table.points[part].tolist() == [int((unit == i).sum()) for i in range(len(found))]
            center_m = transform(scene.scene_SE3_lidar[frame.index], found.boxes[:, :3])
            np.testing.assert_allclose(table.center_m[part], center_m, atol=1e-9)
            np.testing.assert_array_equal(table.boxes[part], found.boxes)
            np.testing.assert_array_equal(features[part], found.features)
            np.testing.assert_array_equal(rows[part], box_distribution(found.scores))
            row += len(found)
    assert row == len(table)


def test_any_number_of_workers_gives_the_same_bytes(given, monkeypatch):
    monkeypatch.setattr("lidal3d.jobs.box_counts.FRAMES_A_TASK", 2)
    score_boxes(given.scenes, given.store, given.folder / "one", CONFIG)
    score_boxes(given.scenes, given.store, given.folder / "two", CONFIG, workers=2)
    for name in ("scores.parquet", "features.npy", "probabilities.npy", "run.json"):
        assert (given.folder / "one" / name).read_bytes() == (given.folder / "two" / name).read_bytes()


FILES = ("scores.parquet", "features.npy", "probabilities.npy", "run.json", "source.yaml", "config.yaml")


class Cut(Exception):
    """The run ends here."""


def cut_after(ticks: int):  # type: ignore[no-untyped-def]
    """A tick that ends the run at the so many-th frame."""
    left = itertools.count(ticks, -1)

    def tick() -> None:
        if next(left) <= 0:
            raise Cut

    return tick


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def reads(monkeypatch) -> list[str]:  # type: ignore[no-untyped-def]
    """The sweeps that were read, in order; two frames are a part."""
    monkeypatch.setattr("lidal3d.jobs.box_counts.FRAMES_A_TASK", 2)
    found, read = [], Frame.points
    monkeypatch.setattr(Frame, "points", lambda frame: (found.append(f"{frame.scene.id}/{frame.name}"), read(frame))[1])
    return found


@pytest.mark.parametrize("ticks", range(0, 12, 3))
def test_a_run_that_was_cut_off_goes_on(given, reads, ticks):
    score_boxes(given.scenes, given.store, given.folder / "whole", CONFIG, given.drive)
    every = list(reads)
    reads.clear()
    with pytest.raises(Cut):
        score_boxes(given.scenes, given.store, given.scores, CONFIG, given.drive, tick=cut_after(ticks))
    assert not (given.scores / "scores.parquet").exists()
    done, told = reads[: ticks // 2 * 2], []
    reads.clear()
    score_boxes(given.scenes, given.store, given.scores, CONFIG, given.drive, tick=lambda: told.append(1))
    assert sorted(done + reads) == sorted(every)
    assert len(told) == len(every) == 12
    assert bytes_of(given.scores) == bytes_of(given.folder / "whole")
    assert set(bytes_of(given.scores)) == set(FILES)


def test_boxes_written_anew_and_damaged_parts_are_counted_anew(given, reads):
    with pytest.raises(Cut):
        score_boxes(given.scenes, given.store, given.scores, CONFIG, given.drive, tick=cut_after(8))
    parts = sorted((given.scores / "parts").rglob("*.npz"))
    assert len(parts) == 4
    parts[1].write_bytes(parts[1].read_bytes()[:-30])
    found = given.store.read("00", "000001")
    given.store.write("00", "000001", found.boxes[:1], found.scores[:1], found.features[:1])
    reads.clear()
    score_boxes(given.scenes, given.store, given.scores, CONFIG, given.drive)
    assert reads[:4] == [f"00/{k:06d}" for k in range(4)]
    assert len(reads) == 4 + 4
    score_boxes(given.scenes, given.store, given.folder / "whole", CONFIG, given.drive)
    assert bytes_of(given.scores) == bytes_of(given.folder / "whole")


def test_cut_off_while_writing_there_is_no_table_with_the_arrays_of_another(given, monkeypatch):
    score_boxes(given.scenes, given.store, given.scores, CONFIG, given.drive)
    whole = bytes_of(given.scores)
    for name in ("write_blocks", "array_path", "box_distribution"):
        with monkeypatch.context() as patch:
            patch.setattr(f"lidal3d.jobs.score_boxes.{name}", lambda *_: (_ for _ in ()).throw(Cut))
            with pytest.raises(Cut):
                score_boxes(given.scenes, given.store, given.scores, CONFIG, given.drive)
        assert not (given.scores / "scores.parquet").exists()
        score_boxes(given.scenes, given.store, given.scores, CONFIG, given.drive)
        assert bytes_of(given.scores) == whole


def test_without_features_there_is_no_file_and_some_without_are_refused(given):
    found = given.store.read("00", "000003")
    given.store.write("00", "000003", found.boxes, found.scores)
    with pytest.raises(DataError, match=r"000003\.npz: 0 feature columns, other frames have 5"):
        score_boxes(given.scenes, given.store, given.scores, CONFIG)
    for scene in given.scenes:
        for name in scene.frame_names:
            found = given.store.read(scene.id, name)
            given.store.write(scene.id, name, found.boxes, found.scores)
    score_boxes(given.scenes, given.store, given.scores, CONFIG)
    assert not (given.scores / "features.npy").exists()


def test_bad_input(given):
    score_boxes(given.scenes, given.store, given.scores, CONFIG)
    with pytest.raises(DataError, match="holds scores of another drive, detector or settings"):
        score_boxes(given.scenes, given.store, given.scores, Config())
    given.file(2).unlink()
    with pytest.raises(DataError, match="5 of 6 frames of scene 00 have a file"):
        score_boxes(given.scenes, given.store, given.folder / "new", CONFIG)
    result = score_boxes(given.scenes, given.store, given.folder / "going", CONFIG, keep_going=True)
    assert [(one["scene"], one["frame"]) for one in result.failed] == [("00", 2)]
    assert 2 not in result.table.frame[result.table.scene == 0]
    assert "missing" in json.loads((given.folder / "going" / "failed.jsonl").read_text())["error"]
    for scene in given.scenes:
        for name in scene.frame_names:
            given.store.write(scene.id, name, np.empty((0, 7)), np.empty((0, 3)))
    with pytest.raises(DataError, match="0 boxes in 12 frames"):
        score_boxes(given.scenes, given.store, given.folder / "none", CONFIG)
    assert leftovers(given.folder) == []


# --- the whole way -------------------------------------------------------------------------------------------------


def score(given: Given) -> tuple[object, ...]:
    return ("score", given.drive, "--boxes", given.boxes, "-o", given.scores, "--set", "interframe.half_window=2")


def test_from_boxes_to_a_queue_a_report_and_exports(given, lidal3d):
    said = lidal3d.fine(*score(given))
    assert "boxes in 12 frames" in said
    queue = given.folder / "queue"
    said = lidal3d.fine(
        "select", given.scores, "--set", "select.score=entropy", "-b", "5:boxes", "--set", "select.min_points=1",
        "-o", queue,
    )  # fmt: skip
    assert "5 boxes, " in said
    assert "pseudo-labelled   nothing" in said
    manifest = read_manifest(queue)
    assert (manifest.selection.currency, manifest.selection.used) == ("boxes", 5)
    assert manifest.pseudo.picks == ()
    lines = [json.loads(line) for line in (queue / "manifest.jsonl").read_text().splitlines()]
    for place, (pick, line) in enumerate(zip(manifest.selection.picks, lines, strict=True)):
        found = given.store.read(pick.key.scene, pick.frame_name)
        np.testing.assert_array_equal(np.float32(pick.box), found.boxes[pick.key.unit])
        assert line["box"]["yaw_rad"] == pytest.approx(pick.box[6], rel=1e-6)
        points = open_drive(given.drive)[("00", "01").index(pick.key.scene)][pick.key.frame].points()
        unit = points_in_boxes(points, found.boxes, found.objectness)
        np.testing.assert_array_equal(manifest.points[place], np.flatnonzero(unit == pick.key.unit))
        assert pick.points == len(manifest.points[place]) >= 1
        assert "seen as '" in pick.reason
    lidal3d.fine("report", queue, "-o", given.folder / "report.html")
    html = (given.folder / "report.html").read_text()
    assert html.count("<article") == 5
    assert html.count('<polygon class="outline"') == 5
    assert "objectness" in html
    for tool in ("point_labeler", "segments_ai", "manifest"):
        lidal3d.fine("export", queue, "-f", tool, "-o", given.folder / tool)
        assert any(path.is_file() for path in (given.folder / tool).rglob("*"))
    # A second round never asks the same boxes, or their like, again.
    lidal3d.fine(
        "select", given.scores, "--set", "select.score=entropy", "-b", "2:boxes", "--set", "select.min_points=1",
        "--earlier", queue, "-o", given.folder / "second",
    )  # fmt: skip
    second = {pick.key for pick in read_manifest(given.folder / "second").selection.picks}
    assert not second & {pick.key for pick in manifest.selection.picks}


def test_the_default_ranking_works_on_boxes(given, lidal3d):
    lidal3d.fine(*score(given))
    lidal3d.fine("select", given.scores, "-b", "3:boxes", "--set", "select.min_points=1", "-o", given.folder / "queue")
    picks = read_manifest(given.folder / "queue").selection.picks
    assert len(picks) == 3
    assert all("lidal" in pick.scores for pick in picks)


def test_the_order_on_the_command_line_is_refused_in_one_line(given, lidal3d):
    both = ("-p", given.folder, *score(given)[2:])
    assert "--predictions and --boxes are given" in lidal3d.fault("score", given.drive, *both, code=2)
    assert "boxes are scored in one run" in lidal3d.fault(*score(given), "--shard", "1/2", code=2)
    assert "boxes.yaml: no boxes there" in lidal3d.fault(
        "score", given.drive, "--boxes", given.drive, "-o", given.scores
    )
    lidal3d.fine(*score(given))
    fault = lidal3d.fault(
        "select", given.scores, "-b", "500:boxes", "--set", "select.min_points=1", "-o", given.folder / "q", code=2
    )
    assert "500 requested" in fault


def test_a_budget_in_boxes_needs_boxes(given, lidal3d):
    table = score_boxes(given.scenes, given.store, given.scores, Config()).table
    bare = ScoreTable(
        table.scenes, table.scene, table.frame, table.unit, table.points, table.center_m, table.scores, "grid"
    )
    bare.write(given.scores / "scores.parquet")
    fault = lidal3d.fault("select", given.scores, "-b", "3:boxes", "-o", given.folder / "queue", code=2)
    assert "a budget in boxes needs scored boxes, the table has grid" in fault


def test_boxes_of_a_changed_sweep_are_noticed(given, lidal3d):
    lidal3d.fine(*score(given))
    for path in (given.drive / "sequences" / "00" / "velodyne").glob("*.bin"):
        points = np.fromfile(path, np.float32).reshape(-1, 4)
        points[:, :3] += 50
        points.tofile(path)
    everything = ("-b", "100%", "--set", "select.min_points=1", "--set", "select.min_distance_m=0")
    fault = lidal3d.fault("select", given.scores, *everything, "-o", given.folder / "queue")
    assert "the score table says" in fault


def test_notes_say_where_things_lie(given, lidal3d):
    lidal3d.fine(*score(given))
    source = yaml.safe_load((given.scores / "source.yaml").read_text())
    assert source == {"boxes": str(given.boxes), "drive": str(given.drive)}
