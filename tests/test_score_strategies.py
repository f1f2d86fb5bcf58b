# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Every strategy on the command line: `score --strategy` makes what it needs, `select --strategy` chooses with it."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from command_line import FAST, CommandLine, leftovers, street, write_drive, write_predictions
from experiments import tiny

from lidal3d.config import Config
from lidal3d.jobs.score_arrays import read_pool
from lidal3d.jobs.score_scene import Recipe, score_scene
from lidal3d.predictions.maps import Unpredicted
from lidal3d.rounds.experiment import run_experiment
from lidal3d.rounds.ledger import Ledger
from lidal3d.scene.open import open_drive
from lidal3d.scores.columns import NAMES
from lidal3d.strategies import STRATEGIES
from lidal3d.strategies.strategy import SIGNALS
from lidal3d.strategies.wanted import Wanted
from lidal3d.units.make import make_partition

FRAMES = 8
SETTINGS = (*FAST, "--set", "predict.views=2")
TRAIN = ("--steps", 2, "--set", "train.width=0.0625", "--set", "train.voxel_m=0.5")


@pytest.fixture
def lidal3d(capsys) -> CommandLine:  # type: ignore[no-untyped-def]
    return CommandLine(capsys)


@pytest.fixture(scope="module")
def given(tmp_path_factory) -> Path:  # type: ignore[no-untyped-def]
    """A drive of two scenes, plain predictions for it, and a model."""
    from lidal3d.jobs.train import train_on_drive

    folder = tmp_path_factory.mktemp("given")
    scenes = [street(FRAMES, scene="00"), street(3, scene="01", seed=1)]
    write_drive(folder / "drive", *scenes)
    write_predictions(folder / "predictions", *scenes)
    config = Config().updated({"train": {"width": 0.0625, "steps": 2, "voxel_m": 0.5}})
    train_on_drive(folder / "drive", folder / "model", config)
    return folder


@pytest.fixture(scope="module")
def scored(given) -> Path:  # type: ignore[no-untyped-def]
    """Scores with all that any strategy needs."""
    from lidal3d.cli.main import main

    with pytest.raises(SystemExit) as left:
        main(["score", f"{given / 'drive'}", "-m", f"{given / 'model'}", "-o", f"{given / 'scores'}", *SETTINGS,
              "--strategy", "all", "--strategy", "true_loss"])  # fmt: skip
    assert left.value.code in (None, 0)
    return given / "scores"


def picks_in(queue: Path) -> list[dict]:
    return [json.loads(line) for line in (queue / "manifest.jsonl").read_text().splitlines()]


# Those of tracks rank by columns of `lidal3d track --scores`: see test_tracks_units. Those that ask something beside the
# model are in test_cli_signals, test_score_encoder and test_pt4al. A model of two steps has no features that VAAL could
# learn from: see test_vaal.
ELSEWHERE = {name for name, strategy in STRATEGIES.items() if strategy.needs & {"tracks", *SIGNALS} or name == "vaal"}


@pytest.mark.parametrize("name", [name for name in STRATEGIES if name not in ELSEWHERE])
def test_every_strategy_chooses_from_the_scores(lidal3d, scored, tmp_path, name):
    queue, more = tmp_path / "queue", ("--labelled", "00/000002", "--labelled", "01/000001")
    lidal3d.fine("select", scored, "-o", queue, "--strategy", name, "--budget", "30%", *more)
    picks, account = picks_in(queue), json.loads((queue / "summary.json").read_text())["selection"]
    points = int(read_pool(scored).table.points.sum())
    assert picks
    assert account["strategy"] == name
    assert sum(pick["points"] for pick in picks) == account["used"] <= account["budget"] == points * 30 // 100
    assert not {(pick["scene"], pick["frame_name"]) for pick in picks} & {("00", "000002"), ("01", "000001")}

    # The next round asks nothing twice, and the same command gives the same bytes.
    again = tmp_path / "again"
    lidal3d.fine("select", scored, "-o", again, "--strategy", name, "--budget", "30%", *more)
    for file in ("manifest.jsonl", "points.npz", "pseudo_points.npz"):
        assert (again / file).read_bytes() == (queue / file).read_bytes()
    lidal3d.fine("select", scored, "-o", tmp_path / "next", "--strategy", name, "--budget", "10%",
                 "--earlier", queue, "--set", "select.min_distance_m=0")  # fmt: skip
    units = [{(p["scene"], p["frame"], p["unit"]) for p in picks_in(tmp_path / q)} for q in ("queue", "next")]
    assert units[1]
    assert not units[0] & units[1]


def test_without_a_strategy_nothing_has_changed(lidal3d, given, tmp_path):
    for name, more in (("plain", ()), ("named", ("--strategy", "lidal"))):
        scores = tmp_path / f"scores-{name}"
        lidal3d.fine("score", given / "drive", "-p", given / "predictions", "-o", scores, *FAST, *more)
        lidal3d.fine("select", scores, "-o", tmp_path / name, "-b", "20%", *more)
        assert not list(scores.glob("*.npy"))
        assert not (scores / "guesses").exists()
    for file in ("manifest.jsonl", "points.npz", "pseudo.jsonl", "pseudo_points.npz"):
        assert (tmp_path / "plain" / file).read_bytes() == (tmp_path / "named" / file).read_bytes()
    assert not set(read_pool(tmp_path / "scores-named").table.scores) & set(NAMES)


def test_only_what_is_needed_is_made(lidal3d, given, tmp_path):
    score = ("score", given / "drive", "-p", given / "predictions", *FAST)
    lidal3d.fine(*score, "-o", tmp_path / "a", "--strategy", "cdal", "--strategy", "margin", "--strategy", "margin")
    pool = read_pool(tmp_path / "a")
    assert set(pool.table.scores) & set(NAMES) == {"margin"}
    assert pool.features is None
    assert pool.probability_rows.shape == (len(pool), 19)
    lidal3d.fine("select", tmp_path / "a", "-o", tmp_path / "queue", "-b", "5:frames", "--strategy", "cdal")


def test_empty_and_unreadable_sweeps_have_no_units_for_any_strategy(lidal3d, given, tmp_path):
    drive = tmp_path / "drive"
    shutil.copytree(given / "drive", drive)
    for index in (1, 2):
        (drive / "sequences" / "00" / "velodyne" / f"{index:06d}.bin").write_bytes(b"" if index == 1 else b"half")
        (drive / "sequences" / "00" / "labels" / f"{index:06d}.label").write_bytes(b"")
    for index in range(3):  # nothing of this scene can be read
        (drive / "sequences" / "01" / "velodyne" / f"{index:06d}.bin").write_bytes(b"half")
    ran = lidal3d("score", drive, "-m", given / "model", "-o", tmp_path / "out", *SETTINGS, "--keep-going",
                  "--strategy", "all", "--strategy", "true_loss")  # fmt: skip
    assert (ran.code, ran.err) == (1, "")
    assert "4 frames could not be read" in ran.out
    pool = read_pool(tmp_path / "out")
    frames = {(pool.table.scenes[s], int(f)) for s, f in zip(pool.table.scene, pool.table.frame, strict=True)}
    assert frames == {("00", f) for f in (0, *range(3, FRAMES))}
    assert len(pool.feature_rows) == len(pool.probability_rows) == len(pool)
    lidal3d.fine("select", tmp_path / "out", "-o", tmp_path / "queue", "-b", "20%", "--strategy", "badge")


def test_a_seed_decides_what_chance_does(lidal3d, scored, tmp_path):
    chosen = []
    for seed in (0, 0, 1):
        lidal3d.fine("select", scored, "-o", tmp_path / "q", "-b", "10%", "--strategy", "random",
                     "--set", f"select.seed={seed}")  # fmt: skip
        chosen.append([(pick["scene"], pick["frame"], pick["unit"]) for pick in picks_in(tmp_path / "q")])
    assert chosen[0] == chosen[1] != chosen[2]


def test_core_set_starts_from_the_labelled_frames(lidal3d, scored, tmp_path):
    pool = read_pool(scored)
    table, features = pool.table, pool.feature_rows.astype(np.float64)
    lidal3d.fine("select", scored, "-o", tmp_path / "q", "-b", "3:regions", "--strategy", "coreset",
                 "--labelled", "00/000002", "--set", "select.min_points=1")  # fmt: skip
    known = np.flatnonzero((table.scene == 0) & (table.frame == 2))
    expected = []
    for _ in range(3):
        distance = np.linalg.norm(features[:, None] - features[known], axis=2).min(axis=1)
        known = np.append(known, distance.argmax())
        expected.append((table.scenes[table.scene[known[-1]]], table.frame[known[-1]], table.unit[known[-1]]))
    assert [(pick["scene"], pick["frame"], pick["unit"]) for pick in picks_in(tmp_path / "q")] == expected


def test_strategies_of_members_run_in_experiments(tmp_path):
    rows = ["mc_entropy", "bald", "vote_entropy"]
    result = run_experiment(tiny(rounds=1, strategies=rows, full_supervision=False), tmp_path / "out")
    assert [row.round for row in result.rows] == [0, 1] * 3
    asked = []
    for row in rows:
        records = Ledger.open(tmp_path / "out" / "seed-3" / row / "ledger.jsonl").of_round(1)
        queue = tmp_path / "out" / "seed-3" / row / "round-1" / "queue"
        (column,) = STRATEGIES[row].columns
        scores = [pick["scores"][column] for pick in picks_in(queue)]
        assert scores == sorted(scores, reverse=True)
        assert scores[0] > 0
        assert len(records) == len(scores)
        asked.append({r.key for r in records})
    assert asked[0] != asked[1] != asked[2]


def test_the_rest_of_the_round_needs_no_predictions(lidal3d, scored, tmp_path):
    lidal3d.fine("select", scored, "-o", tmp_path / "q", "-b", "10%", "--strategy", "redal")
    lidal3d.fine("export", tmp_path / "q", "-f", "point_labeler", "-o", tmp_path / "to_label")
    lidal3d.fine("report", tmp_path / "q", "-o", tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    assert "10% by redal" in text
    assert "redal is" in text


def test_strategies_are_listed_with_what_they_need_and_spend(lidal3d):
    listed = {one["name"]: one for one in json.loads(lidal3d.fine("strategies", "--json"))}
    assert list(listed) == list(STRATEGIES)
    for name, strategy in STRATEGIES.items():
        assert set(listed[name]) >= {"name", "units", "needs", "budget", "paper", "columns"}
        assert listed[name]["needs"] == sorted(strategy.needs)
        assert listed[name]["budget"] == list(strategy.currencies)
    assert listed["bald"]["needs"] == ["members"]
    assert listed["redal"]["units"] == ["grid", "kmeans", "supervoxels"]
    assert listed["entropy_per_cost"]["budget"] == ["points", "regions", "boxes", "seconds"]
    said = lidal3d.fine("strategies")
    assert all(name in said for name in STRATEGIES)


# --- What is refused, in one line ----------------------------------------------------------------------------------


def test_a_strategy_that_does_not_exist_names_the_nearest(lidal3d, given, scored, tmp_path):
    line = lidal3d.fault("score", given / "drive", "-p", given / "predictions", "-o", tmp_path / "out", *FAST,
                         "--strategy", "core-set", code=2)  # fmt: skip
    assert "no strategy 'core-set' (did you mean 'coreset'?" in line
    line = lidal3d.fault("select", scored, "-o", tmp_path / "out", "--strategy", "lidar", code=2)
    assert "did you mean 'lidal'?" in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("strategy", "words"),
    [
        ("coreset", ("'coreset' needs features", "no folder 'features'", "--model", "predict.features=true")),
        ("bald", ("'bald' needs members", "no folder 'members'", "--model", "predict.members=true")),
        ("all", ("needs features", "--model")),
    ],
)
def test_predictions_without_what_is_needed(lidal3d, given, tmp_path, strategy, words):
    line = lidal3d.fault("score", given / "drive", "-p", given / "predictions", "-o", tmp_path / "out", *FAST,
                         "--strategy", strategy, code=2)  # fmt: skip
    for word in (*words, str(given / "predictions")):
        assert word in line
    assert not (tmp_path / "out").exists()


def test_one_view_has_no_members(lidal3d, given, tmp_path):
    model, one = ("-m", given / "model", "-o", tmp_path / "out"), ("--set", "predict.views=1")
    line = lidal3d.fault("score", given / "drive", *model, *FAST, *one, "--strategy", "vote_entropy", code=2)
    assert "'vote_entropy' needs members: members are views, and predict.views is 1" in line
    line = lidal3d.fault("predict", given / "drive", *model, *one, "--set", "predict.members=true", code=2)
    assert "predict.views is 1" in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("strategy", "lacks"),
    [("coreset", "features"), ("badge", "features"), ("cdal", "probabilities"), ("bald", "'bald'"),
     ("entropy", "'softmax_entropy'"), ("true_loss", "'true_loss'")],
)  # fmt: skip
def test_scores_without_what_is_needed(lidal3d, given, tmp_path, strategy, lacks):
    scores = tmp_path / "scores"
    lidal3d.fine("score", given / "drive", "-p", given / "predictions", "-o", scores, *FAST)
    line = lidal3d.fault("select", scores, "-o", tmp_path / "queue", "--strategy", strategy, code=2)
    assert f"strategy '{strategy}' needs" in line
    assert lacks in line
    assert f"score again with --strategy {strategy}" in line
    assert not (tmp_path / "queue").exists()


def test_a_source_is_compared_with(lidal3d, scored, tmp_path):
    select = ("select", scored, "--budget", "20%", "--set", "select.min_points=1")
    lidal3d.fine(*select, "-o", tmp_path / "q", "--strategy", "d2ada", "--source", scored)
    picks, source = picks_in(tmp_path / "q"), yaml.safe_load((tmp_path / "q" / "source.yaml").read_text())
    assert all("commoner here than in the source" in pick["reason"] for pick in picks)
    assert source["source_scores"] == str(scored.resolve())
    # A second round leaves half of the budget to entropy.
    lidal3d.fine(*select, "-o", tmp_path / "q2", "--strategy", "d2ada", "--source", scored, "--earlier", tmp_path / "q")
    assert (
        0
        < sum("commoner here" in pick["reason"] for pick in picks_in(tmp_path / "q2"))
        < len(picks_in(tmp_path / "q2"))
    )
    line = lidal3d.fault(*select, "-o", tmp_path / "no", "--strategy", "d2ada", code=2)
    assert "needs labelled units to compare with; say what is labelled (--earlier, --labelled), or give" in line
    line = lidal3d.fault(*select, "-o", tmp_path / "no", "--strategy", "badge", "--source", scored, code=2)
    assert "'badge' compares with no source; drop --source" in line


def test_exactly_one_of_what_a_drive_is_scored_with(lidal3d, given, tmp_path):
    score = ("score", given / "drive", "-o", tmp_path / "out", *FAST)
    options = {"--predictions": given / "predictions", "--model": given / "model", "--boxes": given / "boxes"}
    assert "--predictions, --model or --boxes: none is given" in lidal3d.fault(*score, code=2)
    for names in (*itertools.combinations(options, 2), tuple(options)):
        line = lidal3d.fault(*score, *(part for name in names for part in (name, options[name])), code=2)
        assert f"--predictions, --model or --boxes: {' and '.join(names)} are given; give the one" in line
    line = lidal3d.fault(*score, "-m", given / "model", "--device", "nonsense", code=2)
    assert "--device nonsense" in line
    assert not (tmp_path / "out").exists()


def test_a_model_of_other_classes_than_the_drive(lidal3d, given, tmp_path):
    line = lidal3d.fault("score", given / "drive", "-m", given / "model", "-o", tmp_path / "out", *FAST,
                         "--label-map", "pandaset")  # fmt: skip
    assert str(given / "model" / "model.safetensors") in line
    assert "use one of its own" in line
    assert str(tmp_path / "none") in lidal3d.fault(
        "score", given / "drive", "-m", tmp_path / "none", "-o", tmp_path / "out", *FAST
    )
    assert not (tmp_path / "out").exists()


def test_true_loss_needs_labels_in_the_models_classes(lidal3d, given, tmp_path):
    shutil.copytree(given / "drive", tmp_path / "bare")
    for scene in ("00", "01"):
        shutil.rmtree(tmp_path / "bare" / "sequences" / scene / "labels")
    score = ("-p", given / "predictions", "-o", tmp_path / "out", *FAST, "--strategy", "true_loss")
    line = lidal3d.fault("score", tmp_path / "bare", *score, code=2)
    assert f"'true_loss' needs labels: 0 of {FRAMES + 3} frames have any" in line
    line = lidal3d.fault("score", given / "drive", *score, "--label-map", "pandaset", code=2)
    assert "'true_loss' needs labels in the model's classes" in line
    assert not (tmp_path / "out").exists()


def test_scores_for_other_strategies_are_kept(lidal3d, given, tmp_path):
    score = ("score", given / "drive", "-p", given / "predictions", "-o", tmp_path / "out", *FAST)
    lidal3d.fine(*score)
    before = (tmp_path / "out" / "scores.parquet").read_bytes()
    assert "strategies or settings; choose another --out" in lidal3d.fault(*score, "--strategy", "entropy")
    assert (tmp_path / "out" / "scores.parquet").read_bytes() == before


def test_damaged_arrays_are_named(lidal3d, scored, tmp_path):
    scores = tmp_path / "scores"
    shutil.copytree(scored, scores)
    path = scores / "features.npy"
    select = ("select", scores, "-o", tmp_path / "queue", "--strategy", "coreset")
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"not an array"):
        path.write_bytes(content)
        assert str(path) in lidal3d.fault(*select)
    np.save(path, np.load(scored / "features.npy")[:-1])
    assert "scored units; score again" in lidal3d.fault(*select)
    path.unlink()
    assert "needs features" in lidal3d.fault(*select, code=2)
    assert not (tmp_path / "queue").exists()
    assert not leftovers(tmp_path)


def test_damaged_predictions_of_features_and_members_are_named(lidal3d, given, tmp_path):
    predictions = tmp_path / "predictions"
    saved = ("--set", "predict.features=true", "--set", "predict.members=true")
    lidal3d.fine("predict", given / "drive", "-m", given / "model", "-o", predictions, *SETTINGS, *saved)
    score = ("score", given / "drive", "-p", predictions, "-o", tmp_path / "out", *SETTINGS)
    features, members = (predictions / name / "00" / "000001.npy" for name in ("features", "members"))
    points = len(np.load(features))
    spoils = [
        (features, lambda a: a[:-2], f"{points - 2} rows, but the sweep has {points} points"),
        (features, lambda a: a.astype(float), "float64"),
        (members, lambda a: a[:, :-2], f"{points - 2} rows, but the sweep has {points} points"),
        (members, lambda a: a[:, :, :7], "7 columns"),
        (members, lambda a: a[0], "expected float16 or float32 of shape (M, N, C)"),
        (members, lambda a: a[:0], "0 members"),
    ]
    for path, spoil, word in spoils:
        whole = path.read_bytes()
        np.save(path, spoil(np.load(path)))
        line = lidal3d.fault(*score, "--strategy", "coreset", "--strategy", "bald")
        assert str(path) in line
        assert word in line
        path.write_bytes(whole)
    np.save(members, 3 * np.load(members))
    assert "do not sum to 1" in lidal3d.fault(*score, "--strategy", "coreset", "--strategy", "bald")
    assert not (tmp_path / "out" / "scores.parquet").exists()


def test_pseudo_labels_need_guesses_or_predictions(lidal3d, given, tmp_path):
    scores, queue = tmp_path / "scores", tmp_path / "queue"
    model = ("-m", given / "model", "-o", scores)
    lidal3d.fine("score", given / "drive", *model, *SETTINGS, "--set", "pseudo.budget=0")
    assert not (scores / "guesses").exists()
    assert set(yaml.safe_load((scores / "source.yaml").read_text())) == {"drive", "model"}
    lidal3d.fine("select", scores, "-o", queue, "-b", "10%")
    assert (queue / "pseudo.jsonl").read_text() == ""
    trust = [part for key in ("budget=10%", "max_entropy=9", "max_divergence=9") for part in ("--set", f"pseudo.{key}")]
    line = lidal3d.fault("select", scores, "-o", queue, "-b", "10%", *trust, code=2)
    assert "give --predictions, or set pseudo.budget=0" in line
    shutil.rmtree(scores)
    lidal3d.fine("score", given / "drive", *model, *SETTINGS)
    lidal3d.fine("select", scores, "-o", queue, "-b", "10%", *trust)
    assert (queue / "pseudo.jsonl").read_text()
    for path in (scores / "guesses").rglob("*.npz"):
        path.write_bytes(path.read_bytes()[:40])
    line = lidal3d.fault("select", scores, "-o", queue, "-b", "10%", *trust)
    assert str(scores / "guesses") in line
    assert "score again" in line


def test_where_units_are_is_known_without_any_model(given: Path) -> None:
    scene = open_drive(given / "drive")[0]
    partition = make_partition(Config().updated({"units": {"kind": "grid", "cell_m": 6}}).units)
    wanted = Wanted.by(STRATEGIES["random"])
    recipe = Recipe(Unpredicted(()), partition, Config().interframe, wanted, None, {})
    ((index, pool),) = score_scene(scene, recipe, [2])
    points = scene[2].points()
    unit, range_m = partition(points), np.linalg.norm(points[:, :3], axis=1)
    assert index == 2
    assert set(pool.table.scores) == {"range_m", "is_key_frame"}
    wanted_m = [range_m[unit == one].mean() for one in range(len(pool))]
    np.testing.assert_allclose(pool.table.score("range_m"), wanted_m, rtol=1e-6)
