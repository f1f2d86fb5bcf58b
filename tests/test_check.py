# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Every rule of the check: one drive broken so that it, and nothing else, speaks; clean drives yield nothing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import miniature as mini
import numpy as np
import pytest

from lidal3d.check import RULES, Report, check_drive
from lidal3d.check.frame_rules import FRAME_RULES
from lidal3d.check.scene_rules import SCENE_RULES
from lidal3d.errors import UsageError
from lidal3d.predictions.store import PredictionStore
from lidal3d.scene.labels import load_label_map
from lidal3d.scene.open import open_drive

KITTI_IDS = (0, 10, 40, 50, 252)
CLASSES = load_label_map("semantickitti").classes
SEQUENCE = "drive/sequences/00"
FRAME = "000002"


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SemanticKITTI drive of two sequences and its predictions, in one folder."""
    root = tmp_path_factory.mktemp("clean")
    cameras = ("image_2", "image_3")
    scenes = mini.make_scenes(1, ("00", "01"), KITTI_IDS, cameras, instances=True, image_lead_ns=0)
    mini.write_semantickitti(root / "drive", scenes)
    store = PredictionStore(root / "predictions", CLASSES)
    rng = np.random.default_rng(2)
    for scene in open_drive(root / "drive"):
        for frame in scene:
            points = len(frame.points())
            probabilities = rng.dirichlet(np.full(len(CLASSES), 0.3), points)
            store.write(
                scene.id, frame.name, probabilities.astype(np.float16), rng.normal(size=(points, 8)).astype("f4")
            )
    store.write_header()
    return root


def check(root: Path) -> Report:
    return check_drive(root / "drive", root / "predictions")


def test_clean_drive_yields_nothing(clean: Path) -> None:
    calls: list[tuple[int, int]] = []
    report = check_drive(
        clean / "drive", clean / "predictions", progress=lambda done, total: calls.append((done, total))
    )
    assert report.findings == ()
    assert report.ok
    assert (report.dataset, report.scenes, report.frames) == ("semantickitti", 2, 10)
    assert calls == [(k, 10) for k in range(1, 11)]


# --- one way to break each rule -----------------------------------------------------------------------------------


def rewrite(path: Path, change: Callable[[np.ndarray], np.ndarray], dtype: str = "<f4", columns: int = 4) -> None:
    change(np.fromfile(path, dtype).reshape(-1, columns)).astype(dtype).tofile(path)


def set_value(place: tuple[int, int], value: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(array: np.ndarray) -> np.ndarray:
        array[place] = value
        return array

    return change


def rewrite_predictions(path: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
    np.save(path, change(np.load(path)))


def edit_line(path: Path, line: int, change: Callable[[list[float]], list[float]]) -> None:
    lines = path.read_text().splitlines()
    lines[line] = " ".join(map(repr, change([float(word) for word in lines[line].split()])))
    path.write_text("\n".join(lines) + "\n")


def cut(path: Path, bytes_away: int = 3) -> None:
    path.write_bytes(path.read_bytes()[:-bytes_away])


def keep_lines(path: Path, count: int) -> None:
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:count]))


def points(root: Path) -> Path:
    return root / SEQUENCE / "velodyne" / f"{FRAME}.bin"


def labels(root: Path) -> Path:
    return root / SEQUENCE / "labels" / f"{FRAME}.label"


def poses(root: Path) -> Path:
    return root / SEQUENCE / "poses.txt"


def times(root: Path) -> Path:
    return root / SEQUENCE / "times.txt"


def probabilities(root: Path) -> Path:
    return root / "predictions" / "probabilities" / "00" / f"{FRAME}.npy"


def features(root: Path) -> Path:
    return root / "predictions" / "features" / "00" / f"{FRAME}.npy"


def header(root: Path) -> Path:
    return root / "predictions" / "predictions.yaml"


def empty_frame(root: Path) -> None:
    points(root).write_bytes(b"")
    labels(root).write_bytes(b"")
    for path in (probabilities(root), features(root)):
        rewrite_predictions(path, lambda array: array[:0])


def empty_sequence(root: Path) -> None:
    for path in points(root).parent.iterdir():
        path.unlink()


def one_frame(root: Path) -> None:
    for path in points(root).parent.glob("00000[1-9].bin"):
        path.unlink()


def non_rigid(row: list[float]) -> list[float]:
    return [value * 1.01 if place % 4 < 3 else value for place, value in enumerate(row)]


def turned(row: list[float]) -> list[float]:
    # The last pose is turned round the camera's y axis, which is up, by half a turn.
    pose = np.array(row).reshape(3, 4)
    pose[:, :3] = pose[:, :3] @ np.diag([-1.0, 1.0, -1.0])
    return pose.ravel().tolist()


def unreadable(path: Path) -> None:
    """A folder where a file should be: cannot be read even by root."""
    path.unlink()
    path.mkdir()


BREAK: dict[str, Callable[[Path], object]] = {
    "DRIVE-UNRECOGNISED": lambda r: shutil.rmtree(r / "drive" / "sequences"),
    "DRIVE-EMPTY": empty_sequence,
    "SCENE-ONE-FRAME": one_frame,
    "FRAME-NAME": lambda r: points(r).rename(points(r).with_name("two.bin")),
    "POINTS-MISSING": lambda r: (points(r).unlink(), points(r).symlink_to("nowhere")),
    "POINTS-EMPTY": empty_frame,
    "POINTS-TRUNCATED": lambda r: cut(points(r)),
    "POINTS-UNREADABLE": lambda r: unreadable(points(r)),
    "POINTS-NOT-FINITE": lambda r: rewrite(points(r), set_value((3, 1), np.nan)),
    "LABELS-TRUNCATED": lambda r: cut(labels(r)),
    "LABELS-COUNT": lambda r: cut(labels(r), 4),
    "LABELS-UNKNOWN-ID": lambda r: rewrite(labels(r), set_value((4, 0), 77), "<u4", 1),
    "POSES-MISSING": lambda r: keep_lines(poses(r), 3),
    "POSES-UNREADABLE": lambda r: poses(r).write_text("1 2 3\n"),
    "POSES-NOT-FINITE": lambda r: edit_line(poses(r), 2, lambda row: [float("nan"), *row[1:]]),
    "POSES-NOT-RIGID": lambda r: edit_line(poses(r), 2, non_rigid),
    "POSES-JUMP": lambda r: edit_line(poses(r), 4, lambda row: [*row[:3], row[3] + 9.0, *row[4:]]),
    "POSES-TURN": lambda r: edit_line(poses(r), 4, turned),
    "TIMES-MISSING": lambda r: keep_lines(times(r), 2),
    "TIMES-UNREADABLE": lambda r: times(r).write_text("now\n" * 5),
    "TIME-BACKWARDS": lambda r: times(r).write_text("0.0\n0.1\n0.1\n0.2\n0.3\n"),
    "CALIB-MISSING": lambda r: (r / SEQUENCE / "calib.txt").unlink(),
    "CALIB-UNREADABLE": lambda r: (r / SEQUENCE / "calib.txt").write_text("P0: 1 2 3\n"),
    "IMAGE-UNREADABLE": lambda r: cut(r / SEQUENCE / "image_2" / f"{FRAME}.png", 10**9),
    "PREDICTIONS-HEADER": lambda r: header(r).unlink(),
    "PREDICTIONS-CLASSES": lambda r: header(r).write_text(header(r).read_text().replace("trunk", "stem")),
    "PROBABILITIES-MISSING": lambda r: probabilities(r).unlink(),
    "PROBABILITIES-UNREADABLE": lambda r: cut(probabilities(r)),
    "PROBABILITIES-COLUMNS": lambda r: rewrite_predictions(probabilities(r), lambda p: p[:, 1:]),
    "PROBABILITIES-COUNT": lambda r: rewrite_predictions(probabilities(r), lambda p: p[1:]),
    "PROBABILITIES-NOT-FINITE": lambda r: rewrite_predictions(probabilities(r), set_value((5, 2), np.inf)),
    "PROBABILITIES-NEGATIVE": lambda r: rewrite_predictions(probabilities(r), lambda p: one_hot(p, -0.5, 1.5)),
    "PROBABILITIES-SUM": lambda r: rewrite_predictions(probabilities(r), lambda p: p * np.float16(0.9)),
    "FEATURES-UNREADABLE": lambda r: cut(features(r)),
    "FEATURES-COUNT": lambda r: rewrite_predictions(features(r), lambda f: f[1:]),
    "FEATURES-NOT-FINITE": lambda r: rewrite_predictions(features(r), set_value((0, 0), np.nan)),
}
# Broken in other layouts, in tests of their own below.
ELSEWHERE = {
    "DRIVE-UNREADABLE",
    "TABLES-UNREADABLE",
    "INFO-UNREADABLE",
    "LABELS-MISSING",
    "LABELS-UNREADABLE",
    "IMAGE-MISSING",
    "TIME-GAP",
}


def one_hot(p: np.ndarray, low: float, high: float) -> np.ndarray:
    p[7] = 0
    p[7, :2] = low, high
    return p


@pytest.mark.parametrize("rule", BREAK)
def test_broken_drive_breaks_this_rule_only(rule: str, clean: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(clean, tmp_path / "copy"))
    BREAK[rule](root)
    report = check(root)
    assert set(report.counts) == ALSO.get(rule, set()) | {rule}
    assert report.ok == all(RULES[name].severity == "warning" for name in report.counts)
    for finding in report.findings:
        assert str(root) in finding.file
        assert finding.message
        assert "\n" not in str(finding)
        assert finding.severity == RULES[finding.rule].severity


# What cannot be broken alone: an infinite probability does not sum to 1 either.
ALSO = {"PROBABILITIES-NOT-FINITE": {"PROBABILITIES-SUM"}}


def test_every_rule_is_broken_somewhere() -> None:
    assert set(BREAK) | ELSEWHERE == set(RULES)
    assert set(SCENE_RULES) | set(FRAME_RULES) <= set(RULES)
    assert all(rule == RULES[rule].id for rule in RULES)


def test_findings_name_scene_frame_and_both_numbers(clean: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(clean, tmp_path / "copy"))
    count = len(np.fromfile(labels(root), "<u4"))
    cut(labels(root), 4)
    (finding,) = check(root).findings
    assert (finding.rule, finding.scene, finding.frame) == ("LABELS-COUNT", "00", FRAME)
    assert finding.file == str(labels(root))
    assert finding.message == f"{count - 1} labels, but the sweep has {count} points"


def test_check_goes_on_after_every_fault(clean: Path, tmp_path: Path) -> None:
    """Several faults, in both sequences, of which one alone would end opening: all are found."""
    root = Path(shutil.copytree(clean, tmp_path / "copy"))
    poses(root).unlink()
    cut(points(root))
    (root / SEQUENCE / "labels" / "000004.label").write_bytes(b"12345")
    (root / "drive/sequences/01/velodyne/000000.bin").write_bytes(b"123")
    report = check(root)
    assert report.counts == {"POINTS-TRUNCATED": 2, "POSES-MISSING": 1, "LABELS-TRUNCATED": 1}
    assert report.frames == 10


def test_empty_sequence_does_not_hide_the_other(clean: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(clean, tmp_path / "copy"))
    empty_sequence(root)
    cut(root / "drive/sequences/01/velodyne/000000.bin")
    report = check(root)
    assert report.counts == {"DRIVE-EMPTY": 1, "POINTS-TRUNCATED": 1}
    assert (report.scenes, report.frames) == (1, 5)


def test_json(clean: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(clean, tmp_path / "copy"))
    cut(points(root))
    content = json.loads(check(root).to_json())
    assert content["ok"] is False
    assert content["counts"] == {"POINTS-TRUNCATED": 1}
    assert content["findings"][0]["frame"] == FRAME
    assert content["rules"]["POINTS-TRUNCATED"]["fix"] == RULES["POINTS-TRUNCATED"].fix


def test_unknown_layout_is_a_usage_error(clean: Path) -> None:
    with pytest.raises(UsageError, match="waymo"):
        check_drive(clean / "drive", layout="waymo")


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_honest_rounding_passes_the_sum_rule(dtype: type, clean: Path, tmp_path: Path) -> None:
    """Softmax of any sharpness, rounded to half precision, is never called wrong."""
    root = Path(shutil.copytree(clean, tmp_path / "copy"))
    rng = np.random.default_rng(0)
    for sharpness in (0.01, 0.1, 1, 100):
        rewrite_predictions(
            probabilities(root),
            lambda p, s=sharpness: rng.dirichlet(np.full(p.shape[1], s), len(p)).astype(np.float16).astype(dtype),
        )
        assert check(root).findings == ()


# --- the other layouts --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def nuscenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    scenes = mini.make_scenes(2, ("scene-0061",), range(32), mini.NUSCENES_CAMERAS, key_every=2)
    return mini.write_nuscenes(tmp_path_factory.mktemp("nuscenes") / "drive", scenes)


def test_clean_drives_of_other_layouts_yield_nothing(nuscenes: Path, tmp_path: Path) -> None:
    paths = [
        nuscenes,
        mini.write_argoverse2(tmp_path / "a", mini.make_scenes(3, ("log-a",), range(31), ("ring_front",))),
        mini.write_pandaset(tmp_path / "p", mini.make_scenes(4, ("001",), range(1, 43), ("front_camera",))),
        mini.write_folder(tmp_path / "f", mini.make_scenes(5, ("garage",), KITTI_IDS, instances=True), ".ply", "tum"),
        mini.write_mmdet3d(tmp_path / "m", mini.make_scenes(6, ("scene-0061",), range(32), ("CAM_FRONT",))),
    ]
    assert [check_drive(path).findings for path in paths] == [(), (), (), (), ()]


def test_damaged_info_files(tmp_path: Path) -> None:
    path = mini.write_mmdet3d(tmp_path / "m", mini.make_scenes(6, ("scene-0061",), range(32)))
    masks = sorted((path / "lidarseg" / "v1.0-mini").iterdir())
    masks[0].unlink()
    cut(masks[1])
    cut(sorted((path / "samples" / "LIDAR_TOP").iterdir())[2])
    counts = check_drive(path).counts
    assert counts == {"LABELS-MISSING": 1, "LABELS-COUNT": 2, "POINTS-TRUNCATED": 1}
    cut(path / "nuscenes_infos_train.pkl")
    assert check_drive(path).counts == {"INFO-UNREADABLE": 1}


def nuscenes_copy(nuscenes: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(nuscenes, tmp_path / "drive"))


def test_nuscenes_tables(nuscenes: Path, tmp_path: Path) -> None:
    path = nuscenes_copy(nuscenes, tmp_path)
    (path / "v1.0-mini" / "sample.json").unlink()
    assert check_drive(path).counts == {"TABLES-UNREADABLE": 1}


def test_nuscenes_labels_missing_and_unreadable(nuscenes: Path, tmp_path: Path) -> None:
    path = nuscenes_copy(nuscenes, tmp_path)
    first, second, _ = sorted((path / "lidarseg" / "v1.0-mini").iterdir())
    # The devkit counts the files, so a link to nowhere is what it lets pass.
    first.unlink()
    first.symlink_to("nowhere.bin")
    unreadable(second)
    assert check_drive(path).counts == {"LABELS-MISSING": 1, "LABELS-UNREADABLE": 1}


def test_nuscenes_images_missing_is_one_warning(nuscenes: Path, tmp_path: Path) -> None:
    path = nuscenes_copy(nuscenes, tmp_path)
    shutil.rmtree(path / "sweeps" / "CAM_BACK")
    report = check_drive(path)
    (finding,) = report.findings
    assert report.ok
    assert finding.rule == "IMAGE-MISSING"
    assert "2 of 30" in finding.message


def test_damaged_pandaset_and_argoverse2(tmp_path: Path) -> None:
    panda = mini.write_pandaset(tmp_path / "p", mini.make_scenes(4, ("001",), range(1, 43)))
    cut(panda / "001" / "lidar" / "01.pkl.gz")
    (panda / "001" / "lidar" / "poses.json").write_text("[{")
    counts = check_drive(panda).counts
    # Points in world coordinates cannot be taken back without a pose, so every sweep tells; the cut one once.
    assert counts == {"POINTS-TRUNCATED": 1, "POSES-UNREADABLE": 1, "POSES-NOT-FINITE": 5}
    argo = mini.write_argoverse2(tmp_path / "a", mini.make_scenes(3, ("log-a",), range(31)))
    (argo / "sensor/val/log-a/city_SE3_egovehicle.feather").unlink()
    cut(next((argo / "sensor/val/log-a/sensors/lidar").iterdir()), 40)
    counts = check_drive(argo).counts
    assert counts["POINTS-TRUNCATED"] == 1
    assert counts["POSES-MISSING"] >= 1


def test_fault_without_a_rule_of_its_own(clean: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lidal3d.check import drive
    from lidal3d.errors import DataError

    def fail(*_: object) -> None:
        raise DataError("something else")

    monkeypatch.setattr(drive, "scene_openers", fail)
    assert check_drive(clean / "drive").counts == {"DRIVE-UNREADABLE": 1}
