# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Boxes are units as any others: every strategy chooses among them, or says in one line what they lack."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from box_drives import write_boxes
from command_line import CommandLine, street, write_drive

from lidal3d.cli.main import main
from lidal3d.config import Config
from lidal3d.jobs.score_arrays import read_pool
from lidal3d.jobs.select import select_from_scenes
from lidal3d.predictions.boxes import BoxStore
from lidal3d.scene.open import open_drive
from lidal3d.select.manifest import Manifest, read_manifest
from lidal3d.strategies import STRATEGIES, UnitPool
from lidal3d.strategies.kinds import kinds_in_words
from lidal3d.units.boxes import points_in_boxes

# Scores of the points in a region, of members, of labels or of tracks: a box has none of them.
LACKING = {
    "segment_entropy": "segment_entropy",
    "mc_entropy": "consensus_entropy",
    "bald": "bald",
    "vote_entropy": "vote_entropy",
    "redal": "redal",
    "annotator": "voxel_confusion",
    "hpal": "hierarchical_margin",
    "true_loss": "true_loss",
    "track_disagreement": "track_disagreement",
    "lidal_by_track": "track",
    "pt4al": "pretext_loss",
    "pt4al_start": "pretext_loss",
    "learning_loss": "predicted_loss",
    "tod": "temporal_discrepancy",
    "tod_first": "distance_to_uniform",
    "dalbt_twins": "bald",
}
# An encoder sees no boxes.
OF_ENCODERS = {
    name: array
    for name, strategy in STRATEGIES.items()
    for array in ("embeddings", "patterns")
    if array in strategy.needs
}
WORKING = [name for name, strategy in STRATEGIES.items() if "box" in strategy.possible_kinds]
SMALL = ("--set", "select.min_points=1")
BUDGET = 4


@pytest.fixture(scope="module")
def given(tmp_path_factory) -> Path:  # type: ignore[no-untyped-def]
    """A drive of two scenes, what a detector found in it, with features, and its scores."""
    folder = tmp_path_factory.mktemp("boxes")
    scenes = (street(5, 400), street(5, 400, scene="01", seed=1))
    write_drive(folder / "drive", *scenes)
    write_boxes(folder / "boxes", *scenes, features=5)
    with pytest.raises(SystemExit) as left:
        main(["score", f"{folder / 'drive'}", "--boxes", f"{folder / 'boxes'}", "-o", f"{folder / 'scores'}"])
    assert left.value.code in (None, 0)
    return folder


@pytest.fixture
def lidal3d(capsys) -> CommandLine:  # type: ignore[no-untyped-def]
    return CommandLine(capsys)


def chosen(lidal3d: CommandLine, given: Path, queue: Path, name: str, *more: object) -> Manifest:
    lidal3d.fine("select", given / "scores", "-o", queue, "--strategy", name, "-b", f"{BUDGET}:boxes", *SMALL, *more)
    return read_manifest(queue)


def rows_of(manifest: Manifest, pool: UnitPool) -> list[int]:
    keys = list(zip(pool.table.scene.tolist(), pool.table.frame.tolist(), pool.table.unit.tolist(), strict=True))
    scenes = pool.table.scenes
    picks = [pick.key for pick in manifest.selection.picks]
    return [keys.index((scenes.index(key.scene), key.frame, key.unit)) for key in picks]


@pytest.mark.parametrize("name", WORKING)
def test_strategies_choose_among_boxes(lidal3d, given, tmp_path, name):
    # Those that buy whole frames need a budget that buys one; quotas and the rest leave what they can't spend.
    budget = ("-b", "12:boxes") if name in ("random_frames", "cdal") else ()
    labelled = ("--labelled", "00/000002", *budget)
    manifest = chosen(lidal3d, given, tmp_path / "queue", name, *labelled)
    picked = manifest.selection
    assert picked.strategy == name
    assert picked.currency == "boxes"
    assert 1 <= len(picked.picks) == picked.used <= picked.budget
    assert manifest.pseudo.picks == ()
    assert not (tmp_path / "queue" / "failed.jsonl").exists()
    store, scenes = BoxStore.open(given / "boxes"), {scene.id: scene for scene in open_drive(given / "drive")}
    for pick, indices in zip(picked.picks, manifest.points, strict=True):
        assert (pick.key.scene, pick.frame_name) != ("00", "000002")
        found = store.read(pick.key.scene, pick.frame_name)
        unit = points_in_boxes(scenes[pick.key.scene][pick.key.frame].points(), found.boxes, found.objectness)
        np.testing.assert_array_equal(indices, np.flatnonzero(unit == pick.key.unit))
        np.testing.assert_array_equal(np.float32(pick.box), found.boxes[pick.key.unit])
    chosen(lidal3d, given, tmp_path / "again", name, *labelled)
    for file in ("manifest.jsonl", "points.npz"):
        assert (tmp_path / "again" / file).read_bytes() == (tmp_path / "queue" / file).read_bytes()


def test_the_list_says_which_strategies_are_for_boxes(lidal3d):
    """Those named here can't choose among boxes (tests below), all others do (test above); the list says the same."""
    assert {name for name in STRATEGIES if name not in WORKING} == LACKING.keys() | OF_ENCODERS.keys()
    listed = {entry["name"]: entry["units"] for entry in json.loads(lidal3d.fine("strategies", "--json"))}
    assert {name for name, units in listed.items() if "box" in units} == set(WORKING)
    assert listed["redal"] == ["grid", "kmeans", "supervoxels"]
    cells = [re.split(r"  +", line) for line in lidal3d.fine("strategies").splitlines()]
    units = {row[0]: row[2] for row in cells if row[0] in STRATEGIES}
    assert units == {name: kinds_in_words(kinds) for name, kinds in listed.items()}
    assert units["entropy"] == "regions, frames, boxes, superpixels, images"
    assert (units["bald"], units["redal"], units["random"]) == (
        "regions, frames, superpixels, images",
        "regions",
        "any",
    )


@pytest.mark.parametrize(("name", "array"), OF_ENCODERS.items())
def test_strategies_that_ask_an_encoder_say_so(lidal3d, given, tmp_path, name, array):
    line = lidal3d.fault("select", given / "scores", "-o", tmp_path / "queue", "--strategy", name, code=2)
    assert f"'{name}' needs {array} of the units; boxes have none" in line


@pytest.mark.parametrize(("name", "column"), LACKING.items())
def test_strategies_that_boxes_have_no_score_for_say_so(lidal3d, given, tmp_path, name, column):
    line = lidal3d.fault("select", given / "scores", "-o", tmp_path / "queue", "--strategy", name, code=2)
    assert f"'{name}' needs the score column '{column}'; boxes have none" in line
    assert not (tmp_path / "queue").exists()


def test_features_that_the_detector_did_not_write(lidal3d, given, tmp_path):
    write_boxes(tmp_path / "boxes", street(5, 400), street(5, 400, scene="01", seed=1))
    lidal3d.fine("score", given / "drive", "--boxes", tmp_path / "boxes", "-o", tmp_path / "scores")
    select = ("select", tmp_path / "scores", "-o", tmp_path / "queue", "-b", "3:boxes", *SMALL)
    line = lidal3d.fault(*select, "--strategy", "coreset", code=2)
    assert "'coreset' needs features of the units; write them for every box and score again" in line
    lidal3d.fine(*select, "--strategy", "cdal_units")


def test_entropy_takes_the_largest_entropy_of_single_boxes(lidal3d, given, tmp_path):
    pool = read_pool(given / "scores")
    p = pool.probability_rows.astype(float)
    entropy = [-sum(v * math.log(v) for v in row if v > 0) for row in p]
    large = [row for row in range(len(pool)) if pool.table.points[row] >= 1]
    best = sorted(large, key=lambda row: -entropy[row])[:BUDGET]
    assert rows_of(chosen(lidal3d, given, tmp_path / "queue", "entropy"), pool) == best


def test_coreset_covers_the_features_of_boxes(lidal3d, given, tmp_path):
    pool = read_pool(given / "scores")
    rows = [row for row in range(len(pool)) if pool.table.points[row] >= 1]
    features = pool.feature_rows.astype(float)
    mean = features[rows].mean(axis=0)
    taken = [min(rows, key=lambda row: np.linalg.norm(features[row] - mean))]
    while len(taken) < BUDGET:
        taken.append(max(rows, key=lambda row: min(np.linalg.norm(features[row] - features[t]) for t in taken)))
    assert rows_of(chosen(lidal3d, given, tmp_path / "queue", "coreset"), pool) == taken


def test_badge_starts_with_the_longest_gradient_of_a_box(lidal3d, given, tmp_path):
    pool = read_pool(given / "scores")
    rows = [row for row in range(len(pool)) if pool.table.points[row] >= 1]
    lengths = {}
    for row in rows:
        residual = -pool.probability_rows[row].astype(float)
        residual[residual.argmin()] += 1
        lengths[row] = np.linalg.norm(np.outer(residual, pool.feature_rows[row]))
    assert rows_of(chosen(lidal3d, given, tmp_path / "queue", "badge"), pool)[0] == max(rows, key=lengths.__getitem__)


def test_a_pool_of_boxes_in_any_order_and_pseudo_labels_stay_off(given, tmp_path):
    pool, scenes = read_pool(given / "scores"), open_drive(given / "drive")
    order = np.random.default_rng(0).permutation(len(pool))
    mixed = UnitPool(pool.table.take(order), pool.feature_rows[order], pool.probability_rows[order])
    config = Config().updated({"select": {"budget": "4:boxes", "min_points": 1}, "pseudo": {"budget": "50%"}})
    for name in ("lidal", "lidal_validated", "coreset"):
        folders = tmp_path / f"{name}-sorted", tmp_path / f"{name}-mixed"
        for given_pool, folder in zip((pool, mixed), folders, strict=True):
            outcome = select_from_scenes(given_pool, scenes, None, folder, config, strategy=STRATEGIES[name])
            assert outcome.pseudo.picks == ()
            assert len(outcome.selection.picks) == 4
        for file in ("manifest.jsonl", "points.npz"):
            assert (folders[0] / file).read_bytes() == (folders[1] / file).read_bytes()


def test_the_report_names_the_strategy_and_the_detector(lidal3d, given, tmp_path):
    chosen(lidal3d, given, tmp_path / "queue", "badge")
    lidal3d.fine("report", tmp_path / "queue", "-o", tmp_path / "report.html")
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    for fact in ("4:boxes by badge", "toy detector: 3 classes", "box, "):
        assert fact in html
    chosen(lidal3d, given, tmp_path / "lidal", "lidal")
    lidal3d.fine("report", tmp_path / "lidal", "-o", tmp_path / "report.html")
    assert "4:boxes by lidal, 1 m apart" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_strategies_are_not_named_when_boxes_are_scored(lidal3d, given, tmp_path):
    line = lidal3d.fault(
        "score", given / "drive", "--boxes", given / "boxes", "-o", tmp_path / "out", "--strategy", "bald", code=2
    )
    assert "--strategy bald: a table of boxes always has every column that boxes can have" in line
    assert not (tmp_path / "out").exists()
