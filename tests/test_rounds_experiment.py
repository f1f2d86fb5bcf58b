# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""A whole tiny experiment: exact budgets, no leak, the same bytes on any number of workers."""

from __future__ import annotations

import csv
import json
import shutil
import traceback
from pathlib import Path

import numpy as np
import pytest
import yaml
from experiments import tiny

from lidal3d.errors import DataError, UsageError
from lidal3d.learn.evaluate import confusion_matrix, mean_iou
from lidal3d.rounds.experiment import run_experiment
from lidal3d.rounds.ledger import Ledger
from lidal3d.rounds.record import by_people
from lidal3d.scene.open import open_drive
from lidal3d.scene.scene import Frame
from lidal3d.select.manifest import read_manifest, read_pseudo_points

RESULTS = ("metrics.csv", "metrics_full.csv", "table.txt", "curves.svg", "config.yaml")
MAY_READ_LABELS = {"answer", "evaluate", "own_labels"}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):  # type: ignore[no-untyped-def]
    """An experiment that nobody disturbs, and who opened label files meanwhile."""
    readers: list[tuple[str, frozenset[str]]] = []
    raw_labels = Frame.raw_labels

    def watched(frame: Frame):  # type: ignore[no-untyped-def]
        callers = frozenset(call.name for call in traceback.extract_stack())
        readers.append((frame.scene.id, callers))
        return raw_labels(frame)

    out = tmp_path_factory.mktemp("whole") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Frame, "raw_labels", watched)
        result = run_experiment(tiny(), out)
    return out, result, readers


def ledgers(out: Path) -> dict[str, Ledger]:
    return {row: Ledger.open(out / "seed-3" / row / "ledger.jsonl") for row in ("random", "lidal")}


def bytes_of(out: Path) -> dict[str, bytes]:
    ledger_files = [path.relative_to(out).as_posix() for path in sorted((out / "ledgers").iterdir())]
    queues = [path.relative_to(out).as_posix() for path in sorted(out.rglob("queue/*"))]
    return {name: (out / name).read_bytes() for name in (*RESULTS, *ledger_files, *queues)}


def begun(whole: Path, folder: Path) -> Path:
    """A copy in which no more than the world was simulated, which takes longest."""
    out = folder / "out"
    shutil.copytree(whole / "world", out / "world")
    shutil.copy(whole / "run.json", out)
    return out


def test_the_results_folder_is_whole(whole):
    out, result, _ = whole
    assert all((out / name).stat().st_size for name in RESULTS)
    assert (out / "table.txt").read_text() == result.table + "\n"
    assert "ONE SEED PROVES NOTHING" in result.table
    assert yaml.safe_load((out / "config.yaml").read_text())["seeds"] == [3]
    assert sorted(path.name for path in (out / "ledgers").iterdir()) == ["lidal_seed-3.jsonl", "random_seed-3.jsonl"]
    assert not list(out.rglob("scores")), "score files are removed after the choice"
    assert not list(out.rglob("*.npz.tmp"))
    assert not list(out.rglob(".writing-*"))


def test_budgets_are_kept_and_the_fractions_are_true(whole):
    out, _, _ = whole
    scene = open_drive(out / "world")[0]
    pool = sum(len(frame.points()) for frame in scene)
    limit = pool * 5 // 100
    with open(out / "metrics.csv", newline="") as file:
        rows = {(row["strategy"], int(row["round"])): row for row in csv.DictReader(file)}
    assert len(rows) == 2 * 3
    for row, ledger in ledgers(out).items():
        for number in (1, 2):
            asked = [r for r in ledger.of_round(number) if r.labeller == "human"]
            assert 0.8 * limit < sum(r.points for r in asked) <= limit
            assert sum(r.points for r in ledger.of_round(number) if r.labeller == "pseudo") <= limit
            assert all(r.strategy == row for r in asked)
        for number in range(3):
            people = by_people(r for r in ledger.records if r.round <= number)
            assert len({r.key for r in people}) == len(people)
            whole_frames = {r.frame for r in people if r.kind == "frame"}
            assert not [r for r in people if r.kind != "frame" and r.frame in whole_frames]
            fraction = sum(r.points for r in people) / pool
            assert float(rows[row, number]["labelled_points_fraction"]) == pytest.approx(fraction, abs=1e-6)
    assert any(r.labeller == "pseudo" for r in ledgers(out)["lidal"].records)
    assert not any(r.labeller == "pseudo" for r in ledgers(out)["random"].records)


def test_strategies_share_the_initial_set_and_model(whole):
    out, _, _ = whole
    first = {row: ledger.of_round(0) for row, ledger in ledgers(out).items()}
    assert first["random"] == first["lidal"]
    assert len(first["random"]) == 1
    asked_by = {row: {r.model for r in ledger.of_round(1)} for row, ledger in ledgers(out).items()}
    assert asked_by["random"] == asked_by["lidal"]
    with open(out / "metrics.csv", newline="") as file:
        start = [row["miou"] for row in csv.DictReader(file) if row["round"] == "0"]
    assert start[0] == start[1]


def test_nothing_leaks(whole):
    out, _, readers = whole
    for ledger in ledgers(out).values():
        assert {r.scene for r in ledger.records} == {"00"}
    for scene, callers in readers:
        assert callers & MAY_READ_LABELS, f"scene {scene}: labels read by {sorted(callers)}"
        assert ("evaluate" in callers) == (scene == "01")
    assert {scene for scene, _ in readers} == {"00", "01"}


def test_the_evaluation_is_what_the_model_says(whole):
    from lidal3d.learn.model import load_model
    from lidal3d.learn.predict import predict_points

    out, _, _ = whole
    folder = out / "seed-3" / "lidal" / "round-2"
    model, confusion = load_model(folder), np.zeros((19, 19), np.int64)
    for frame in open_drive(out / "world")[1]:
        probabilities, _ = predict_points(model, frame.points(), 1, np.random.default_rng(0))
        labels = frame.labels()
        assert labels is not None
        confusion += confusion_matrix(labels, probabilities.argmax(axis=1), 19)
    assert json.loads((folder / "evaluation.json").read_text())["miou"] == pytest.approx(mean_iou(confusion), abs=1e-12)


def test_pseudo_labels_are_the_models_own(whole):
    out, _, _ = whole
    queue = out / "seed-3" / "lidal" / "round-1" / "queue"
    manifest, points = read_manifest(queue), read_pseudo_points(queue)
    assert len(manifest.pseudo.picks) == len(points) > 0
    for place, pick in enumerate(manifest.pseudo.picks):
        assert len(points[place]) == pick.points
        assert (points.labels_of(place) < 19).all()
        np.testing.assert_array_equal(points.weights_of(place), np.float32(0.5))


def test_any_number_of_workers_gives_the_same_bytes(whole, tmp_path):
    out = begun(whole[0], tmp_path)
    for shared in ("initial", "full"):  # so that processes start but once
        shutil.copytree(whole[0] / "seed-3" / shared, out / "seed-3" / shared)
    run_experiment(tiny(), out, workers=2)
    assert bytes_of(out) == bytes_of(whole[0])


def test_a_folder_of_something_else_is_refused(whole, tmp_path):
    out, _, _ = whole
    with pytest.raises(DataError, match="an experiment with other settings"):
        run_experiment(tiny(rounds=3), out)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match="holds no experiment"):
        run_experiment(tiny(), tmp_path)
    with pytest.raises(UsageError, match=r"no strategy 'lidar' .*known: random"):
        run_experiment(tiny(strategies=["lidar"]), tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_drive_needs_its_scenes(tmp_path, whole):
    drive = str(whole[0] / "world")
    with pytest.raises(UsageError, match="no scene '09' among its 2"):
        run_experiment(tiny(world={"drive": drive, "validation": ["09"]}), tmp_path / "a")
    with pytest.raises(UsageError, match="names no drive"):
        run_experiment(tiny(world={"validation": ["01"]}), tmp_path / "b")


def test_warm_start_noise_and_initial_units(whole, tmp_path):
    """The other ways round of the same protocol, on a drive log instead of a simulated world."""
    experiment = tiny(
        world={"drive": str(whole[0] / "world"), "validation": ["01"]},
        start="warm",
        initial={"kind": "units", "share": 0.1},
        oracle_noise=0.2,
        rounds=1,
        strategies=["entropy"],
        full_supervision=False,
    )
    result = run_experiment(experiment, tmp_path / "out")
    assert [row.round for row in result.rows] == [0, 1]
    assert "full supervision was not trained" in result.table
    records = Ledger.open(tmp_path / "out" / "seed-3" / "entropy" / "ledger.jsonl").records
    assert {r.kind for r in records} == {"grid"}
    assert 0.08 < result.rows[0].labelled_fraction <= 0.1


def test_carried_labels_are_counted_as_labels_that_nobody_gave(tmp_path: Path) -> None:
    carry = {"carry": {"half_window": 2, "radius_m": 0.3}, "train": {"context_m": 1.0}}
    rows = {"own": {"strategy": "random"}, "carried": {"strategy": "random", "config": carry}}
    result = run_experiment(tiny(strategies=rows, rounds=1, full_supervision=False), tmp_path / "out")
    found = {(row.strategy, row.round): row for row in result.rows}
    own, carried = found["own", 1], found["carried", 1]
    counts = json.loads((tmp_path / "out/seed-3/carried/round-1/carried.json").read_text())
    # The strategies draw alike, so the people's labels are the same and all that differs is what was made of them.
    assert own.labelled_points == carried.labelled_points
    assert (own.carried_points, own.pseudo_fraction) == (0, 0.0)
    assert carried.carried_points == counts["points"] > carried.labelled_points
    assert counts["points"] * 0.9 < counts["right"] <= counts["points"]
    assert carried.pseudo_fraction == pytest.approx(counts["points"] / carried.pool_points)
    assert not list((tmp_path / "out").rglob("carried/round-1/carried/"))


def test_answers_are_carried_along_tracks(tmp_path: Path) -> None:
    """What a labelled sweep shows of a track is known of it in the other sweeps; they are trained on with it."""
    carry = {"carry": {"by": "track", "weight": 0.5}}
    rows = {"own": {"strategy": "random"}, "carried": {"strategy": "random", "config": carry}}
    out = tmp_path / "out"
    result = run_experiment(tiny(strategies=rows, rounds=1, full_supervision=False), out)
    found = {(row.strategy, row.round): row for row in result.rows}
    own, carried = found["own", 1], found["carried", 1]
    counts = json.loads((out / "seed-3/carried/round-1/carried.json").read_text())
    assert own.labelled_points == carried.labelled_points
    assert (own.carried_points, carried.carried_points) == (0, counts["points"])
    assert counts["points"] > 100
    assert 0.8 * counts["points"] < counts["right"] <= counts["points"]
    model = "round-1/model.safetensors"
    assert (out / "seed-3/own" / model).read_bytes() != (out / "seed-3/carried" / model).read_bytes()
    assert [path.name for path in out.rglob("tracks.yaml")] == ["tracks.yaml"]  # tracked once, of training scenes
    assert not (out / "tracks/01.parquet").exists()
    assert not list(out.rglob("carried/round-1/carried/"))
