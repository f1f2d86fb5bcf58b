# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""The command line: a whole round, the same bytes however it is cut up, and the ways to ask for help."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from command_line import CLASSES, FAST, CommandLine, leftovers, street, write_drive, write_predictions

COMMANDS = ("demo", "simulate", "check", "train", "predict", "score", "merge", "select", "export", "report", "config")
MANIFEST = ("manifest.parquet", "manifest.jsonl", "points.npz", "pseudo.parquet", "pseudo.jsonl", "pseudo_points.npz")


@pytest.fixture
def lidal3d(capsys) -> CommandLine:  # type: ignore[no-untyped-def]
    return CommandLine(capsys)


@pytest.fixture(scope="module")
def given(tmp_path_factory) -> Path:  # type: ignore[no-untyped-def]
    """A folder with a drive of two scenes, and its predictions."""
    folder = tmp_path_factory.mktemp("given")
    scenes = street(14, scene="00"), street(5, scene="01", seed=1)
    write_drive(folder / "drive", *scenes)
    write_predictions(folder / "predictions", *scenes)
    return folder


def score(lidal3d: CommandLine, given: Path, out: Path, *more: object) -> str:
    return lidal3d.fine("score", given / "drive", "-p", given / "predictions", "-o", out, *FAST, *more)


def test_a_whole_round(lidal3d, given, tmp_path):
    drive, predictions = given / "drive", given / "predictions"
    assert "no errors" in lidal3d.fine("check", drive, "-p", predictions)

    said = score(lidal3d, given, tmp_path / "scores")
    assert "in 19 frames" in said
    assert f"lidal3d select {tmp_path / 'scores'}" in said

    said = lidal3d.fine("select", tmp_path / "scores", "-o", tmp_path / "queue", "--budget", "200:points")
    assert "200 points, used" in said
    summary = json.loads((tmp_path / "queue" / "summary.json").read_text())["selection"]
    assert 0 < summary["used"] <= summary["budget"] == 200
    assert summary["left"] == 200 - summary["used"]
    lines = [json.loads(line) for line in (tmp_path / "queue" / "manifest.jsonl").read_text().splitlines()]
    assert [line["rank"] for line in lines] == list(range(1, summary["picks"] + 1))
    assert sum(line["points"] for line in lines) == summary["used"]
    assert all(line["reason"] for line in lines)

    for tool, file in (("point_labeler", "labels.xml"), ("segments_ai", "samples.json")):
        said = lidal3d.fine("export", tmp_path / "queue", "-f", tool, "-o", tmp_path / tool)
        assert "README.txt" in said
        assert (tmp_path / tool / "README.txt").is_file()
        assert (tmp_path / tool / file).is_file()

    said = lidal3d.fine("report", tmp_path / "queue", "-o", tmp_path / "report.html", "--set", "report.picks=3")
    assert str(tmp_path / "report.html") in said
    page = (tmp_path / "report.html").read_text()
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "<script src" not in page
    assert not leftovers(tmp_path)


def test_a_report_goes_into_a_folder_too(lidal3d, given, tmp_path):
    score(lidal3d, given, tmp_path / "scores")
    lidal3d.fine("select", tmp_path / "scores", "-o", tmp_path / "queue", "-b", "2:regions")
    said = lidal3d.fine("report", tmp_path / "queue", "-o", tmp_path / "page")
    assert str(tmp_path / "page" / "report.html") in said


def test_predictions_of_other_units_than_grid_and_the_preset_paper(lidal3d, given, tmp_path):
    drive, predictions = given / "drive", given / "predictions"
    lidal3d.fine("score", drive, "-p", predictions, "-o", tmp_path / "scores", "--preset", "paper")
    kept = yaml.safe_load((tmp_path / "scores" / "config.yaml").read_text())
    assert kept["units"]["kind"] == "kmeans"
    assert kept["interframe"]["half_window"] == 12  # longer than both scenes

    # Without a word about settings, the scores' own are used.
    lidal3d.fine("select", tmp_path / "scores", "-o", tmp_path / "queue", "-b", "10%")
    used = yaml.safe_load((tmp_path / "queue" / "config.yaml").read_text())
    assert used["select"]["rule"] == "paper"
    assert used["select"]["budget"] == "10%"
    lidal3d.fine("export", tmp_path / "queue", "-f", "point_labeler", "-o", tmp_path / "tool")
    lidal3d.fine("report", tmp_path / "queue", "-o", tmp_path / "report.html", "--set", "report.picks=2")

    # Another preset may be asked for.
    lidal3d.fine("select", tmp_path / "scores", "-o", tmp_path / "repaired", "-b", "10%", "--preset", "default")
    assert yaml.safe_load((tmp_path / "repaired" / "config.yaml").read_text())["select"]["rule"] == "default"


def test_a_round_on_shards_and_workers_gives_the_same_bytes(lidal3d, given, tmp_path):
    score(lidal3d, given, tmp_path / "whole")
    lidal3d.fine("select", tmp_path / "whole", "-o", tmp_path / "whole-queue", "-b", "10%")
    for shard, workers in (("1/2", 1), ("2/2", 2)):
        said = score(lidal3d, given, tmp_path / f"shard-{shard[0]}", "--shard", shard, "-j", workers)
        assert "lidal3d merge" in said
        assert not (tmp_path / f"shard-{shard[0]}" / "scores.parquet").exists()
    lidal3d.fine("merge", tmp_path / "shard-1", tmp_path / "shard-2", "-o", tmp_path / "merged")
    score(lidal3d, given, tmp_path / "two", "-j", 2)
    for name in ("merged", "two"):
        assert (tmp_path / name / "scores.parquet").read_bytes() == (tmp_path / "whole" / "scores.parquet").read_bytes()
        lidal3d.fine("select", tmp_path / name, "-o", tmp_path / f"{name}-queue", "-b", "10%", "-j", 2)
        for file in MANIFEST:
            expected = (tmp_path / "whole-queue" / file).read_bytes()
            assert (tmp_path / f"{name}-queue" / file).read_bytes() == expected, file
    assert (tmp_path / "whole-queue" / "manifest.jsonl").read_text().count("\n") > 3


def test_one_scene_of_a_drive(lidal3d, given, tmp_path):
    said = score(lidal3d, given, tmp_path / "scores", "--scene", "01")
    assert "in 5 frames" in said


def test_a_finished_run_is_not_done_again(lidal3d, given, tmp_path):
    score(lidal3d, given, tmp_path / "scores")
    before = (tmp_path / "scores" / "scores.parquet").stat().st_mtime_ns
    score(lidal3d, given, tmp_path / "scores")
    assert (tmp_path / "scores" / "scores.parquet").stat().st_mtime_ns == before


def test_a_second_round_asks_nothing_twice(lidal3d, given, tmp_path):
    score(lidal3d, given, tmp_path / "scores")
    lidal3d.fine("select", tmp_path / "scores", "-o", tmp_path / "first", "-b", "4:regions")
    lidal3d.fine("select", tmp_path / "scores", "-o", tmp_path / "second", "-b", "4:regions",
                 "--earlier", tmp_path / "first", "--labelled", "00/000003")  # fmt: skip
    keys = []
    for name in ("first", "second"):
        lines = map(json.loads, (tmp_path / name / "manifest.jsonl").read_text().splitlines())
        keys.append({(line["scene"], line["frame"], line["unit"]) for line in lines})
    assert len(keys[0]) == 4
    assert keys[1]
    assert not keys[0] & keys[1]
    assert ("00", 3) not in {(scene, frame) for scene, frame, _ in keys[1]}


def test_an_earlier_round_is_not_replaced(lidal3d, given, tmp_path):
    score(lidal3d, given, tmp_path / "scores")
    first = tmp_path / "first"
    lidal3d.fine("select", tmp_path / "scores", "-o", first, "-b", "4:regions")
    before = (first / "manifest.jsonl").read_bytes()
    again = ("select", tmp_path / "scores", "-o", tmp_path / "scores" / ".." / "first", "-b", "4:regions")
    assert "earlier round" in lidal3d.fault(*again, "--earlier", first, code=2)
    assert (first / "manifest.jsonl").read_bytes() == before


def test_merging_what_is_whole_already_gives_it_back_with_its_settings(lidal3d, given, tmp_path):
    drive, predictions = given / "drive", given / "predictions"
    lidal3d.fine("score", drive, "-p", predictions, "-o", tmp_path / "scores", "--preset", "paper")
    lidal3d.fine("merge", tmp_path / "scores", "-o", tmp_path / "merged")
    for file in ("scores.parquet", "config.yaml", "source.yaml", "run.json"):
        assert (tmp_path / "merged" / file).read_bytes() == (tmp_path / "scores" / file).read_bytes()
    lidal3d.fine("select", tmp_path / "merged", "-o", tmp_path / "queue", "-b", "3:regions")


def test_a_budget_that_nothing_fits_gives_an_empty_queue_that_says_so(lidal3d, given, tmp_path):
    score(lidal3d, given, tmp_path / "scores")
    said = lidal3d.fine("select", tmp_path / "scores", "-o", tmp_path / "queue", "-b", "1:points")
    assert "nothing fits the budget" in said
    assert (tmp_path / "queue" / "manifest.jsonl").read_text() == ""
    lidal3d.fine("report", tmp_path / "queue", "-o", tmp_path / "report.html")
    for tool in ("point_labeler", "segments_ai"):
        lidal3d.fine("export", tmp_path / "queue", "-f", tool, "-o", tmp_path / tool)
        assert (tmp_path / tool / "README.txt").is_file()


def test_a_moved_drive_is_found_when_said(lidal3d, given, tmp_path):
    score(lidal3d, given, tmp_path / "scores")
    (tmp_path / "moved").symlink_to(given, target_is_directory=True)
    (tmp_path / "scores" / "source.yaml").write_text("{}\n")
    assert "--drive" in lidal3d.fault("select", tmp_path / "scores", "-o", tmp_path / "queue", code=2)
    lidal3d.fine("select", tmp_path / "scores", "-o", tmp_path / "queue", "-b", "3:regions",
                 "--drive", tmp_path / "moved" / "drive", "-p", tmp_path / "moved" / "predictions")  # fmt: skip


def test_check_says_no_errors_or_which(lidal3d, given, tmp_path):
    assert "2 scenes, 19 frames: no errors" in lidal3d.fine("check", given / "drive")
    found = json.loads(lidal3d.fine("check", given / "drive", "--json"))
    assert (found["ok"], found["frames"], found["findings"]) == (True, 19, [])

    drive = write_drive(tmp_path / "drive", street(3))
    broken = drive / "sequences" / "00" / "velodyne" / "000001.bin"
    broken.write_bytes(broken.read_bytes()[:-3])
    ran = lidal3d("check", drive)
    assert (ran.code, ran.err) == (1, "")
    assert "POINTS-TRUNCATED" in ran.out
    assert "1 scene, 3 frames: errors found" in ran.out
    ran = lidal3d("check", drive, "--json")
    assert ran.code == 1
    found = json.loads(ran.out)
    assert not found["ok"]
    assert {finding["rule"] for finding in found["findings"]} == {"POINTS-TRUNCATED"}
    assert found["findings"][0]["file"] == str(broken)


def test_check_tells_of_many_faults_of_a_kind_in_a_few_lines(lidal3d, tmp_path):
    drive = write_drive(tmp_path / "drive", street(9))
    for sweep in (drive / "sequences" / "00" / "velodyne").iterdir():
        sweep.write_bytes(sweep.read_bytes()[:-3])
    ran = lidal3d("check", drive)
    assert sum(line.startswith("error    POINTS-TRUNCATED") for line in ran.out.splitlines()) == 5
    assert "--json has all 9" in ran.out
    assert "9 × POINTS-TRUNCATED" in ran.out
    assert len(json.loads(lidal3d("check", drive, "--json").out)["findings"]) == 9


def test_check_warns_of_a_gap_where_a_sweep_was_not_copied(lidal3d, tmp_path):
    drive = write_drive(tmp_path / "drive", street(6))
    (drive / "sequences" / "00" / "velodyne" / "000003.bin").unlink()
    said = lidal3d.fine("check", drive)
    (line,) = [line for line in said.splitlines() if line.startswith("warning")]
    assert "TIME-GAP" in line
    assert "frame 000004: 0.200 s since the sweep before, usually 0.100 s: about 1 missing" in line


def test_settings_are_printed_and_given_back(lidal3d, tmp_path):
    printed = lidal3d.fine("config", "--preset", "paper", "--set", "select.budget=7:frames")
    settings = yaml.safe_load(printed)
    assert settings["select"]["budget"] == "7:frames"
    assert settings["units"]["kind"] == "kmeans"
    (tmp_path / "settings.yaml").write_text(printed)
    assert lidal3d.fine("config", "--config", tmp_path / "settings.yaml") == printed
    (tmp_path / "one.yaml").write_text("interframe: {half_window: 4}\n")
    changed = yaml.safe_load(lidal3d.fine("config", "--config", tmp_path / "one.yaml", "--set", "report.picks=1"))
    assert (changed["interframe"]["half_window"], changed["report"]["picks"]) == (4, 1)
    described = lidal3d.fine("config", "--describe")
    assert "half_window: 12  # neighbour frames on each side" in described
    assert yaml.safe_load(described) == yaml.safe_load(lidal3d.fine("config"))


def test_a_simulated_drive_opens_and_is_the_same_each_time(lidal3d, tmp_path):
    for name in ("one", "two"):
        said = lidal3d.fine("simulate", "-o", tmp_path / name, "--frames", 2, "--columns", 16, "--no-camera",
                            "--sensor", "vlp32", "--seed", 3)  # fmt: skip
        assert "1 scene of 2 sweeps" in said
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*") if path.is_file())
    assert any(path.suffix == ".label" for path in files)
    assert [(tmp_path / "two" / path).read_bytes() for path in files] == [
        (tmp_path / "one" / path).read_bytes() for path in files]  # fmt: skip
    assert "2 frames" in lidal3d.fine("check", tmp_path / "one")


def test_train_and_predict_feed_the_round(lidal3d, tmp_path):
    drive = write_drive(tmp_path / "drive", street(4))
    said = lidal3d.fine("train", drive, "-o", tmp_path / "model", "--frame", "00/000000", "--steps", 2,
                        "--set", "train.width=0.0625", "--set", "train.voxel_m=0.5")  # fmt: skip
    assert "1 labelled frame, 2 steps" in said
    assert (tmp_path / "model" / "model.safetensors").is_file()
    said = lidal3d.fine("predict", drive, "-m", tmp_path / "model", "-o", tmp_path / "predictions", "--views", 2)
    assert "4 frames predicted, 0 kept" in said
    header = yaml.safe_load((tmp_path / "predictions" / "predictions.yaml").read_text())
    assert tuple(header["classes"]) == CLASSES
    assert header["views"] == 2
    probabilities = np.load(tmp_path / "predictions" / "probabilities" / "00" / "000002.npy")
    np.testing.assert_allclose(probabilities.sum(axis=1, dtype=np.float64), 1, atol=5e-3)
    said = lidal3d.fine("predict", drive, "-m", tmp_path / "model", "-o", tmp_path / "predictions", "--views", 2)
    assert "0 frames predicted, 4 kept" in said
    assert "no errors" in lidal3d.fine("check", drive, "-p", tmp_path / "predictions")
    lidal3d.fine("score", drive, "-p", tmp_path / "predictions", "-o", tmp_path / "scores", *FAST)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(lidal3d, command):
    said = lidal3d.fine(command, "--help")
    assert said.startswith(f"Usage: lidal3d {command}")
    assert lidal3d.fine(command, "-h") == said
    overview = lidal3d.fine("--help")
    (line,) = [line for line in overview.splitlines() if line.split()[:1] == [command]]
    assert not line.endswith("...")


def test_no_argument_shows_the_help_and_the_version_is_told(lidal3d):
    from lidal3d import __version__

    assert lidal3d.fine() == lidal3d.fine("--help")
    assert lidal3d.fine("--version") == f"{__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ("--nope",),
        ("nonsense",),
        ("score",),
        ("score", "drive", "--nope"),
        ("score", "drive", "-p", "x", "-o", "y", "--workers", "0"),
        ("score", "drive", "-p", "x", "-o", "y", "--workers", "many"),
        ("select", "scores", "--out"),
        ("merge", "--out", "x"),
        ("config", "surplus"),
    ],
)
def test_wrong_usage_is_one_line_and_exits_with_2(lidal3d, arguments):
    assert "--help" in lidal3d.fault(*arguments, code=2)


def test_help_is_quick_because_it_imports_nothing_heavy():
    heavy = (
        "torch",
        "lightning_fabric",
        "numba",
        "open3d",
        "pandas",
        "pyarrow",
        "scipy",
        "matplotlib",
        "nuscenes",
        "sklearn",
        "numpy",
    )
    for arguments in (["--help"], ["score", "--help"], ["demo", "--help"]):
        code = (
            "import sys\nfrom lidal3d.cli.main import main\n"
            f"try:\n    main({arguments!r})\nexcept SystemExit as left:\n    assert not left.code, left.code\n"
            f"print('imported', [name for name in {heavy!r} if name in sys.modules])"
        )
        ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert ran.stdout.splitlines()[-1] == "imported []"


def test_the_module_runs_as_a_program():
    ran = subprocess.run([sys.executable, "-m", "lidal3d", "--version"], capture_output=True, text=True, check=True)
    assert ran.stdout.strip()
