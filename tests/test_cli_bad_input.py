# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Bad input: one line that names the file and the numbers, the right exit code, and nothing half-written."""

from __future__ import annotations

import errno
import gzip
import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from command_line import CLASSES, FAST, CommandLine, leftovers, street, write_drive, write_predictions
from miniature import MiniFrame, MiniScene, write_pandaset

FRAMES = 6


class Given:
    """A drive of one scene of 6 frames, its predictions, and where things lie."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.drive, self.predictions, self.out = folder / "drive", folder / "predictions", folder / "out"
        self.sequence = self.drive / "sequences" / "00"
        self.sweep = self.sequence / "velodyne" / "000002.bin"
        self.labels = self.sequence / "labels" / "000002.label"
        self.poses = self.sequence / "poses.txt"
        self.times = self.sequence / "times.txt"
        self.header = self.predictions / "predictions.yaml"
        self.probabilities = self.predictions / "probabilities" / "00" / "000002.npy"

    def score(self) -> tuple[object, ...]:
        """Arguments that score it."""
        return ("score", self.drive, "-p", self.predictions, "-o", self.out, *FAST)

    def train(self) -> tuple[object, ...]:
        """Arguments that train on it."""
        return ("train", self.drive, "-o", self.out, "--steps", 1, "--set", "train.width=0.0625")


@pytest.fixture
def lidal3d(capsys) -> CommandLine:  # type: ignore[no-untyped-def]
    return CommandLine(capsys)


@pytest.fixture(scope="module")
def template(tmp_path_factory) -> Path:  # type: ignore[no-untyped-def]
    folder = tmp_path_factory.mktemp("template")
    write_drive(folder / "drive", street(FRAMES))
    write_predictions(folder / "predictions", street(FRAMES))
    return folder


@pytest.fixture
def given(template, tmp_path) -> Given:  # type: ignore[no-untyped-def]
    shutil.copytree(template, tmp_path / "given")
    return Given(tmp_path / "given")


@pytest.fixture
def scored(given, lidal3d) -> Given:
    """The same with its scores."""
    lidal3d.fine(*given.score())
    return given


def cut(path: Path, count: int) -> None:
    """Take bytes off the end of a file."""
    path.write_bytes(path.read_bytes()[:-count])


def change(path: Path, edit: Callable[[np.ndarray], np.ndarray | None]) -> None:
    """Change the array in a file; an `edit` that returns nothing changed it in place."""
    array = np.load(path) if path.suffix == ".npy" else np.fromfile(path, "<f4").reshape(-1, 4)
    result = edit(array)
    array = array if result is None else result
    if path.suffix == ".npy":
        np.save(path, array)
    else:
        array.astype("<f4").tofile(path)


def put(value: float) -> Callable[[np.ndarray], None]:
    """An edit that puts a value in row 3."""

    def edit(array: np.ndarray) -> None:
        array[3, 1] = value

    return edit


def replace_line(path: Path, line: int, text: str) -> None:
    """Replace a line of a text file; line −1 is the last."""
    lines = path.read_text().splitlines()
    lines[line] = text
    path.write_text("\n".join(lines) + "\n")


def scaled_pose(given: Given) -> None:
    numbers = np.array(given.poses.read_text().splitlines()[2].split(), float)
    replace_line(given.poses, 2, " ".join(map(str, numbers * 1.5)))


# What is done to the drive, what file the line must name, and what else: both numbers where counts differ.
DRIVE_FAULTS: dict[str, tuple[Callable[[Given], object], Callable[[Given], Path], tuple[str, ...]]] = {
    "a dangling link for a sweep": (
        lambda g: (g.sweep.unlink(), g.sweep.symlink_to("nowhere")), lambda g: g.sweep, ("missing",)),
    "an empty sweep": (lambda g: g.sweep.write_bytes(b""), lambda g: g.probabilities, ("{rows} rows", "0 points")),
    "a truncated sweep": (lambda g: cut(g.sweep, 5), lambda g: g.sweep, ("bytes", "16-byte")),
    "a sweep with NaN": (lambda g: change(g.sweep, put(np.nan)), lambda g: g.sweep, ("1 of ",)),
    "a sweep with inf": (lambda g: change(g.sweep, put(np.inf)), lambda g: g.sweep, ("1 of ",)),
    "a sweep that is a folder": (
        lambda g: (g.sweep.unlink(), g.sweep.mkdir()), lambda g: g.sweep, ("cannot read",)),
    "no poses": (lambda g: g.poses.unlink(), lambda g: g.poses, ("missing",)),
    "fewer poses than sweeps": (lambda g: replace_line(g.poses, -1, ""), lambda g: g.poses, ("5 rows", "row 6")),
    "a pose with 11 numbers": (lambda g: replace_line(g.poses, 2, "1 " * 11), lambda g: g.poses, ("11", "12")),
    "a pose that is text": (lambda g: replace_line(g.poses, 2, "x " * 12), lambda g: g.poses, ()),
    "a pose that is NaN": (lambda g: replace_line(g.poses, 2, "nan " * 12), lambda g: g.sequence, ("000002",)),
    "a pose that is not rigid": (scaled_pose, lambda g: g.sequence, ("000002",)),
    "time that goes backwards": (
        lambda g: replace_line(g.times, 2, "1.0"), lambda g: g.sequence, ("000002",)),
    "times that are text": (lambda g: replace_line(g.times, 2, "noon"), lambda g: g.times, ()),
    "fewer times than sweeps": (lambda g: replace_line(g.times, -1, ""), lambda g: g.times, ("5 rows", "row 6")),
    "no calibration": (lambda g: (g.sequence / "calib.txt").unlink(), lambda g: g.sequence / "calib.txt", ("missing",)),
    "no sweeps at all": (lambda g: shutil.rmtree(g.sweep.parent), lambda g: g.drive, ()),
    "no drive at all": (lambda g: shutil.rmtree(g.drive), lambda g: g.drive, ()),
    "a drive that is a file": (
        lambda g: (shutil.rmtree(g.drive), g.drive.write_text("")), lambda g: g.drive, ()),
    "an unknown layout": (
        lambda g: (shutil.rmtree(g.sequence), (g.drive / "notes.txt").write_text("")), lambda g: g.drive, ()),
}  # fmt: skip

PREDICTION_FAULTS: dict[str, tuple[Callable[[Given], object], Callable[[Given], Path], tuple[str, ...]]] = {
    "no folder": (lambda g: shutil.rmtree(g.predictions), lambda g: g.predictions, ()),
    "no header": (lambda g: g.header.unlink(), lambda g: g.header, ("no predictions",)),
    "a header that is no YAML": (lambda g: g.header.write_text("classes: [car"), lambda g: g.header, ("YAML",)),
    "a header that is no text": (lambda g: g.header.write_bytes(b"\xff\xfe\x00\x81"), lambda g: g.header, ()),
    "a header without classes": (lambda g: g.header.write_text("model: toy\n"), lambda g: g.header, ("classes",)),
    "a header with words for views": (
        lambda g: g.header.write_text("classes: [a]\nviews: many\n"), lambda g: g.header, ("views",)),
    "a missing frame": (lambda g: g.probabilities.unlink(), lambda g: g.probabilities, ("missing",)),
    "an empty file": (lambda g: g.probabilities.write_bytes(b""), lambda g: g.probabilities, ()),
    "a truncated file": (lambda g: cut(g.probabilities, 7), lambda g: g.probabilities, ()),
    "a pickled array": (
        lambda g: np.save(g.probabilities, np.array([{}], object), allow_pickle=True), lambda g: g.probabilities, ()),
    "too few rows": (
        lambda g: change(g.probabilities, lambda a: a[:-2]), lambda g: g.probabilities,
        ("{rows-2} rows", "{rows} points")),
    "too few columns": (
        lambda g: change(g.probabilities, lambda a: a[:, :7]), lambda g: g.probabilities, ("7 columns", "19 classes")),
    "float64": (lambda g: change(g.probabilities, lambda a: a.astype(float)), lambda g: g.probabilities, ("float64",)),
    "NaN": (lambda g: change(g.probabilities, put(np.nan)), lambda g: g.probabilities, ("1 of {rows} rows",)),
    "inf": (lambda g: change(g.probabilities, put(np.inf)), lambda g: g.probabilities, ("1 of {rows} rows",)),
    "rows that do not sum to 1": (
        lambda g: change(g.probabilities, lambda a: 3 * a), lambda g: g.probabilities, ("{rows} of {rows} rows",)),
    "negative ones": (lambda g: change(g.probabilities, put(-0.5)), lambda g: g.probabilities, ("1 of {rows} rows",)),
}  # fmt: skip


def assert_names(line: str, path: Path, words: tuple[str, ...], rows: int) -> None:
    assert str(path) in line
    for word in words:
        assert word.replace("{rows-2}", str(rows - 2)).replace("{rows}", str(rows)) in line


@pytest.mark.parametrize("name", DRIVE_FAULTS)
def test_a_faulty_drive_is_one_line(lidal3d, given, name):
    rows = given.sweep.stat().st_size // 16
    spoil, at_fault, words = DRIVE_FAULTS[name]
    spoil(given)
    assert_names(lidal3d.fault(*given.score()), at_fault(given), words, rows)
    assert not (given.out / "scores.parquet").exists()
    assert not leftovers(given.folder)


@pytest.mark.parametrize("name", PREDICTION_FAULTS)
def test_faulty_predictions_are_one_line(lidal3d, given, name):
    rows = given.sweep.stat().st_size // 16
    spoil, at_fault, words = PREDICTION_FAULTS[name]
    spoil(given)
    assert_names(lidal3d.fault(*given.score()), at_fault(given), words, rows)
    assert not (given.out / "scores.parquet").exists()
    assert not leftovers(given.folder)


@pytest.mark.parametrize("name", [*DRIVE_FAULTS, *PREDICTION_FAULTS])
def test_check_finds_what_score_refuses(lidal3d, given, name):
    spoil = ({**DRIVE_FAULTS, **PREDICTION_FAULTS})[name][0]
    spoil(given)
    ran = lidal3d("check", given.drive, "-p", given.predictions)
    assert ran.code == 1
    assert ran.err == ""
    assert "errors found" in ran.out
    found = json.loads(lidal3d("check", given.drive, "-p", given.predictions, "--json").out)
    assert any(finding["severity"] == "error" for finding in found["findings"])


def test_the_fault_is_found_in_a_worker_too(lidal3d, given):
    write_drive(given.folder / "two", street(3, scene="00"), street(3, scene="01"))
    write_predictions(given.folder / "for-two", street(3, scene="00"), street(3, scene="01"))
    bad = given.folder / "for-two" / "probabilities" / "01" / "000001.npy"
    cut(bad, 3)
    line = lidal3d.fault("score", given.folder / "two", "-p", given.folder / "for-two", "-o", given.out, "-j", 2, *FAST)
    assert str(bad) in line


def test_labels_that_do_not_fit_are_refused_by_train(lidal3d, given):
    points = given.sweep.stat().st_size // 16
    cut(given.labels, 8)
    line = lidal3d.fault(*given.train(), "--frame", "00/000002")
    assert_names(line, Path("000002"), (str(points), str(points - 2)), points)
    cut(given.labels, 1)
    line = lidal3d.fault(*given.train(), "--frame", "00/000002")
    assert_names(line, given.labels, (str(4 * points - 9), "4-byte"), points)
    assert not list(given.out.rglob("model*"))
    assert not leftovers(given.folder)


@pytest.mark.parametrize("device", ["nonsense", "cuda:77", "meta"])
def test_a_device_that_cannot_compute_is_named_before_anything_is_written(lidal3d, given, device):
    assert f"--device {device}" in lidal3d.fault(*given.train(), "--device", device, code=2)
    arguments = ("predict", given.drive, "-m", given.folder / "model", "-o", given.out, "--device", device)
    assert f"--device {device}" in lidal3d.fault(*arguments, code=2)
    assert not given.out.exists()


def test_training_needs_a_label(lidal3d, given):
    shutil.rmtree(given.labels.parent)
    assert "0 of 6 frames" in lidal3d.fault(*given.train())
    assert not given.out.exists()


@pytest.mark.parametrize("content", [b"", b"not a model", pickle.dumps({"weights": 1})])
def test_a_model_that_is_none_is_refused_and_not_unpickled(lidal3d, given, content):
    model = given.folder / "model"
    line = lidal3d.fault("predict", given.drive, "-m", model, "-o", given.out)
    assert str(model) in line
    model.mkdir()
    (model / "model.safetensors").write_bytes(content)
    line = lidal3d.fault("predict", given.drive, "-m", model, "-o", given.out)
    assert str(model / "model.safetensors") in line
    assert not given.out.exists()


class Malicious:
    """Unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_a_malicious_pickle_in_a_drive_runs_nothing(lidal3d, given, tmp_path):
    drive = write_pandaset(tmp_path / "pandaset", [street(3, scene="001")])
    sweep = drive / "001" / "lidar" / "01.pkl.gz"
    sweep.write_bytes(gzip.compress(pickle.dumps(Malicious(tmp_path / "owned"))))
    probabilities = write_predictions(tmp_path / "for-pandaset", street(3, scene="001")) / "probabilities" / "001"
    for k in range(3):
        (probabilities / f"{k:06d}.npy").rename(probabilities / f"{k:02d}.npy")
    line = lidal3d.fault("score", drive, "-p", tmp_path / "for-pandaset", "-o", given.out, *FAST)
    assert str(sweep) in line
    assert lidal3d("check", drive).code == 1
    assert not (tmp_path / "owned").exists()


def test_a_malicious_array_in_the_predictions_runs_nothing(lidal3d, given, tmp_path):
    given.probabilities.write_bytes(pickle.dumps(Malicious(tmp_path / "owned")))
    assert str(given.probabilities) in lidal3d.fault(*given.score())
    assert not (tmp_path / "owned").exists()


# --- Small, but not bad -----------------------------------------------------------------------------------------------


def test_a_frame_with_no_point_costs_nothing_but_itself(lidal3d, given):
    given.sweep.write_bytes(b"")
    np.save(given.probabilities, np.empty((0, len(CLASSES)), np.float32))
    said = lidal3d.fine(*given.score())
    assert "in 5 frames" in said
    lidal3d.fine("select", given.out, "-o", given.folder / "queue", "-b", "3:regions")
    lidal3d.fine("export", given.folder / "queue", "-f", "point_labeler", "-o", given.folder / "tool")
    lidal3d.fine("report", given.folder / "queue", "-o", given.folder / "report.html")
    assert "POINTS-EMPTY" in lidal3d("check", given.drive).out


def test_a_drive_of_one_frame_is_scored_by_entropy(lidal3d, tmp_path):
    given = Given(tmp_path)
    write_drive(given.drive, street(1))
    write_predictions(given.predictions, street(1))
    assert "coverage  0.0 %" in lidal3d.fine(*given.score())
    said = lidal3d.fine("select", given.out, "-o", given.folder / "queue", "-b", "2:regions")
    assert "no other frame" in said
    lidal3d.fine("export", given.folder / "queue", "-f", "segments_ai", "-o", given.folder / "tool")
    lidal3d.fine("report", given.folder / "queue", "-o", given.folder / "report.html")
    assert "SCENE-ONE-FRAME" in lidal3d.fine("check", given.drive)


def test_a_drive_whose_every_frame_is_empty_has_nothing_to_choose(lidal3d, tmp_path):
    given = Given(tmp_path)
    frame = street(1).frames[0]
    empty = MiniFrame(
        frame.points[:0], frame.raw_labels[:0], frame.instances[:0], frame.timestamp_ns, frame.world_SE3_lidar
    )
    write_drive(given.drive, MiniScene("00", (empty,)))
    write_predictions(given.predictions, MiniScene("00", (empty,)))
    assert "0 regions" in lidal3d.fine(*given.score())
    assert "0 units" in lidal3d.fault("select", given.out, "-o", given.folder / "queue")
    assert not (given.folder / "queue").exists()


@pytest.mark.parametrize("window", ["index", "distance"])
def test_a_window_longer_than_the_drive(lidal3d, given, window):
    said = lidal3d.fine(*given.score(), "--set", "interframe.half_window=24", "--set", f"interframe.window={window}")
    assert "in 6 frames" in said


# --- Wrong requests ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "budget",
    ["0", "0%", "0:points", "-1", "-5%", "-3:regions", "101%", "100.01%", "", "much", "1:bananas", "%", "[1", "1:2:3",
     "nan%", "inf:points", "1.5:frames", "10", "{}"],
)  # fmt: skip
def test_a_budget_that_makes_no_sense(lidal3d, scored, budget):
    line = lidal3d.fault("select", scored.out, "-o", scored.folder / "queue", f"--budget={budget}", code=2)
    assert f"'{budget}'" in line
    assert not (scored.folder / "queue").exists()


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("interframe.half_windw=3", ("interframe.half_window",)),
        ("interfrme.half_window=3", ("interframe",)),
        ("interframe.half_window=0", ("half_window", "0")),
        ("interframe.half_window=many", ("half_window", "many")),
        ("interframe=3", ("group",)),
        ("interframe.half_window", ("key=value",)),
        ("units.kind=blobs", ("blobs", "supervoxels")),
        ("select.budget=[1", ("[1",)),
        ("=", ()),
    ],
)
def test_a_wrong_setting_names_what_was_meant(lidal3d, given, setting, words):
    line = lidal3d.fault(*given.score(), "--set", setting, code=2)
    for word in words:
        assert word in line
    assert not given.out.exists()


@pytest.mark.parametrize("text", ["interframe: {half_windw: 3}", "- 1", "interframe: 3", "a: [", "{1: 2}", "\x00"])
def test_a_wrong_settings_file_is_named(lidal3d, given, text):
    file = given.folder / "settings.yaml"
    file.write_text(text)
    assert str(file) in lidal3d.fault(*given.score(), "--config", file, code=2)
    file.unlink()
    assert str(file) in lidal3d.fault(*given.score(), "--config", file, code=2)
    assert not given.out.exists()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--scene", "07"), ("'07'", "00")),
        (("--preset", "papr"), ("'papr'", "paper")),
        (("--shard", "3/2"), ("3/2",)),
        (("--shard", "0/2"), ("0/2",)),
        (("--shard", "half"), ("half",)),
        (("--layout", "kitty"), ("kitty", "semantickitti")),
        (("--label-map", "kitty"), ("kitty",)),
    ],
)
def test_a_wrong_option_of_score_is_named(lidal3d, given, more, words):
    line = lidal3d.fault(*given.score(), *more, code=2)
    for word in words:
        assert word in line
    assert not given.out.exists()


def test_an_unknown_frame_is_named(lidal3d, given, scored):
    assert "'00/000099'" in lidal3d.fault(*given.train(), "--frame", "00/000099", code=2)
    queue = scored.folder / "queue"
    line = lidal3d.fault("select", scored.out, "-o", queue, "-b", "1%", "--labelled", "00/000099", code=2)
    assert "00/000099" in line
    assert not queue.exists()


@pytest.mark.parametrize(
    "more", [("--style", "village"), ("--sensor", "hdl65"), ("--layout", "kitti"), ("--labelled", "few")]
)
def test_a_wrong_option_of_simulate_is_named(lidal3d, tmp_path, more):
    line = lidal3d.fault("simulate", "-o", tmp_path / "drive", "--frames", 1, "--columns", 16, *more, code=2)
    assert more[1] in line
    assert not (tmp_path / "drive").exists()


def test_a_wrong_option_of_export_is_named(lidal3d, scored):
    queue, tool = scored.folder / "queue", scored.folder / "tool"
    lidal3d.fine("select", scored.out, "-o", queue, "-b", "3:regions")
    assert "point_labeler" in lidal3d.fault("export", queue, "-f", "point_labeller", "-o", tool, code=2)
    assert not tool.exists()
    tool.mkdir()
    (tool / "answers.txt").write_text("precious")
    assert "answers.txt" in lidal3d.fault("export", queue, "-f", "point_labeler", "-o", tool, code=2)
    assert (tool / "answers.txt").read_text() == "precious"
    lidal3d.fault("export", queue, "-f", "point_labeler", "-o", tool / "margin", "--margin", -1, code=2)
    lidal3d.fault("export", queue, "-f", "point_labeler", "-o", tool / "margin", "--max-frames", 0, code=2)
    assert not (tool / "margin").exists()
    assert not leftovers(scored.folder)


# --- Results folders that are not what a command needs ----------------------------------------------------------------


def test_an_unfinished_run_is_not_selected_from(lidal3d, given):
    lidal3d.fine(*given.score(), "--shard", "1/2")
    line = lidal3d.fault("select", given.out, "-o", given.folder / "queue", "-b", "1%")
    assert str(given.out / "scores.parquet") in line
    assert not (given.folder / "queue").exists()
    assert "parts" in lidal3d.fault("merge", given.out, "-o", given.folder / "merged")
    assert not (given.folder / "merged").exists()


@pytest.mark.parametrize("command", ["export", "report", "merge", "select"])
@pytest.mark.parametrize("kind", ["missing", "empty", "file"])
def test_a_folder_of_something_else_is_refused(lidal3d, tmp_path, command, kind):
    folder, out = tmp_path / "folder", tmp_path / "out"
    if kind == "empty":
        folder.mkdir()
    if kind == "file":
        folder.write_text("")
    more = ("-f", "point_labeler") if command == "export" else ()
    assert str(folder) in lidal3d.fault(command, folder, "-o", out, *more)
    assert not out.exists()


def test_a_damaged_table_or_manifest_is_named(lidal3d, scored):
    queue = scored.folder / "queue"
    lidal3d.fine("select", scored.out, "-o", queue, "-b", "3:regions")
    for file in (queue / "manifest.parquet", queue / "points.npz", scored.out / "scores.parquet"):
        whole = file.read_bytes()
        file.write_bytes(whole[: len(whole) // 2])
        assert str(file) in lidal3d.fault("report", queue, "-o", scored.folder / "report.html")
        file.write_bytes(whole)
    (scored.out / "config.yaml").write_text("select: [")
    assert str(scored.out / "config.yaml") in lidal3d.fault("select", scored.out, "-o", queue, code=2)
    assert not (scored.folder / "report.html").exists()
    assert not leftovers(scored.folder)


def test_a_damaged_note_of_the_run_is_named(lidal3d, scored):
    (scored.out / "run.json").write_text("{")
    assert str(scored.out / "run.json") in lidal3d.fault(*scored.score())
    (scored.out / "run.json").write_text("[]")
    assert str(scored.out / "run.json") in lidal3d.fault(*scored.score())


def test_scores_of_other_settings_are_kept(lidal3d, scored):
    before = (scored.out / "scores.parquet").read_bytes()
    assert str(scored.out) in lidal3d.fault(*scored.score(), "--set", "interframe.half_window=2")
    assert (scored.out / "scores.parquet").read_bytes() == before


def test_a_drive_that_changed_since_it_was_scored(lidal3d, scored):
    queue = scored.folder / "queue"
    change(scored.sweep, lambda array: array[:-2])
    line = lidal3d.fault("select", scored.out, "-o", queue, "-b", "100%")
    assert str(scored.sweep) in line
    assert "score again" in line
    shutil.rmtree(scored.drive)
    assert str(scored.drive) in lidal3d.fault("select", scored.out, "-o", queue, "-b", "100%")
    assert not queue.exists()
    assert not leftovers(scored.folder)


def test_a_selection_replaces_no_foreign_folder(lidal3d, scored):
    line = lidal3d.fault("select", scored.out, "-o", scored.drive, "-b", "1%", code=2)
    assert str(scored.drive) in line
    assert scored.sweep.is_file()


# --- A disk that refuses ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["simulate", "train", "score", "select", "export", "report", "merge", "demo"])
def test_an_unwritable_output_is_one_line(lidal3d, scored, command):
    """Under a regular file no folder can be made, whoever asks (root may write everywhere else)."""
    (scored.folder / "file").write_text("precious")
    out = scored.folder / "file" / "out"
    queue = scored.folder / "queue"
    lidal3d.fine("select", scored.out, "-o", queue, "-b", "3:regions")
    arguments: dict[str, tuple[object, ...]] = {
        "simulate": ("--frames", 1, "--columns", 16, "--no-camera"),
        "train": (scored.drive, "--steps", 1, "--set", "train.width=0.0625"),
        "score": (scored.drive, "-p", scored.predictions, *FAST),
        "select": (scored.out, "-b", "3:regions"),
        "export": (queue, "-f", "segments_ai"),
        "report": (queue,),
        "merge": (scored.out,),
        "demo": ("--frames", 2),
    }
    line = lidal3d.fault(command, *arguments[command], "-o", out)
    assert str(scored.folder / "file") in line
    assert (scored.folder / "file").read_text() == "precious"
    assert not leftovers(scored.folder)


@pytest.mark.parametrize("command", ["simulate", "train", "score", "select", "export", "report", "merge"])
def test_a_full_disk_is_one_line_and_leaves_nothing_half_written(lidal3d, scored, monkeypatch, command):
    queue, out = scored.folder / "queue", scored.folder / "more"
    lidal3d.fine("select", scored.out, "-o", queue, "-b", "3:regions")
    arguments: dict[str, tuple[object, ...]] = {
        "simulate": ("--frames", 1, "--columns", 16, "--no-camera"),
        "train": (scored.drive, "--steps", 1, "--set", "train.width=0.0625"),
        "score": (scored.drive, "-p", scored.predictions, *FAST),
        "select": (scored.out, "-b", "3:regions"),
        "export": (queue, "-f", "point_labeler"),
        "report": (queue,),
        "merge": (scored.out,),
    }

    def full(source: object, target: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(target))

    monkeypatch.setattr(os, "replace", full)
    line = lidal3d.fault(command, *arguments[command], "-o", out)
    assert "No space left on device" in line
    assert str(out) in line
    assert not leftovers(scored.folder)
    assert not [path for path in out.rglob("*") if path.is_file()] if out.is_dir() else not out.exists()

    # With space again the same command works.
    monkeypatch.undo()
    lidal3d.fine(command, *arguments[command], "-o", out)


def test_a_disk_that_fills_up_while_a_part_is_written(lidal3d, given, monkeypatch):
    import pyarrow as pa

    def full(path: Path, schema: object) -> None:
        Path(path).write_bytes(b"half a ta")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pa.ipc, "new_file", full)
    line = lidal3d.fault(*given.score())
    assert "No space left on device" in line
    assert "parts" in line
    assert not leftovers(given.folder)
    assert not list(given.out.rglob("*.arrow"))
    monkeypatch.undo()
    lidal3d.fine(*given.score())


# --- Going on, and looking closer -------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2])
def test_keep_going_records_bad_frames_and_does_not_end_well(lidal3d, tmp_path, workers):
    given = Given(tmp_path)
    scenes = street(FRAMES, scene="00"), street(3, scene="01")
    write_drive(given.drive, *scenes)
    write_predictions(given.predictions, *scenes)
    change(given.sweep, put(np.nan))
    cut(given.drive / "sequences" / "01" / "velodyne" / "000000.bin", 1)
    change(given.predictions / "probabilities" / "00" / "000005.npy", put(np.nan))
    replace_line(given.poses, 4, "nan " * 12)
    replace_line(given.drive / "sequences" / "01" / "times.txt", 2, "0.5")
    ran = lidal3d(*given.score(), "--keep-going", "-j", workers)
    assert (ran.code, ran.err) == (1, "")
    assert "5 frames could not be read" in ran.out
    lines = [json.loads(line) for line in (given.out / "failed.jsonl").read_text().splitlines()]
    bad = [("00", "000002"), ("00", "000004"), ("00", "000005"), ("01", "000000"), ("01", "000002")]
    assert [(line["scene"], line["name"]) for line in lines] == bad
    assert str(given.sweep) in lines[0]["error"]

    queue = given.folder / "queue"
    lidal3d.fine("select", given.out, "-o", queue, "-b", "50%")
    picks = [json.loads(line) for line in (queue / "manifest.jsonl").read_text().splitlines()]
    assert picks
    assert not {(pick["scene"], pick["frame_name"]) for pick in picks} & set(bad)


def test_mended_frames_are_scored_when_the_run_is_repeated(lidal3d, given):
    whole = given.probabilities.read_bytes()
    cut(given.probabilities, 9)
    assert lidal3d(*given.score(), "--keep-going").code == 1
    given.probabilities.write_bytes(whole)
    assert "in 6 frames" in lidal3d.fine(*given.score())
    assert not (given.out / "failed.jsonl").exists()
    lidal3d.fine("score", given.drive, "-p", given.predictions, "-o", given.folder / "fresh", *FAST)
    fresh = (given.folder / "fresh" / "scores.parquet").read_bytes()
    assert (given.out / "scores.parquet").read_bytes() == fresh


def test_a_frame_that_broke_after_scoring_costs_only_its_own_picks(lidal3d, scored):
    queue = scored.folder / "queue"
    cut(scored.sweep, 3)
    assert str(scored.sweep) in lidal3d.fault("select", scored.out, "-o", queue, "-b", "100%")
    assert not queue.exists()
    ran = lidal3d("select", scored.out, "-o", queue, "-b", "100%", "--keep-going")
    assert (ran.code, ran.err) == (1, "")
    assert "1 frame could not be read" in ran.out
    (line,) = map(json.loads, (queue / "failed.jsonl").read_text().splitlines())
    assert line["name"] == "000002"
    picks = [json.loads(line) for line in (queue / "manifest.jsonl").read_text().splitlines()]
    assert picks
    assert "000002" not in {pick["frame_name"] for pick in picks}


def test_predict_keeps_going_too(lidal3d, given):
    model, out = given.folder / "model", given.out
    lidal3d.fine("train", given.drive, "-o", model, "--steps", 1, "--set", "train.width=0.0625", "--frame", "00/000000")
    cut(given.sweep, 3)
    predict = ("predict", given.drive, "-m", model, "-o", out, "--views", 1)
    assert str(given.sweep) in lidal3d.fault(*predict)
    assert not (out / "predictions.yaml").exists()
    ran = lidal3d(*predict, "--keep-going")
    assert (ran.code, ran.err) == (1, "")
    (line,) = map(json.loads, (out / "failed.jsonl").read_text().splitlines())
    assert (line["scene"], line["frame"]) == ("00", "000002")
    assert len(list(out.rglob("*.npy"))) == FRAMES - 1
    assert not leftovers(given.folder)


@pytest.mark.parametrize("place", [0, -1])
def test_debug_shows_the_traceback_and_ends_with_the_same_code(lidal3d, given, place):
    given.header.unlink()
    arguments = list(given.score())
    ran = lidal3d("--debug", *arguments) if place == 0 else lidal3d(*arguments, "--debug")
    assert ran.code == 1
    assert ran.err.startswith("Traceback")
    assert "DataError" in ran.err
    assert ran.err.splitlines()[-1].startswith("lidal3d: error: ")


def test_a_defect_and_an_interrupt_are_one_line_too(lidal3d, given, monkeypatch):
    from lidal3d.jobs import score as job

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("of\nall things")

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(job, "score_drive", broken)
    assert "internal error: ZeroDivisionError: of all things" in lidal3d.fault(*given.score())
    monkeypatch.setattr(job, "score_drive", interrupted)
    assert "run the same command again" in lidal3d.fault(*given.score(), code=130)
