# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Scoring with a model gives the bytes that predicting first would have given, however it is cut up or cut off."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from command_line import FAST, CommandLine, leftovers, street, write_drive

from lidal3d.config import Config
from lidal3d.jobs.score import score_drive, score_source
from lidal3d.jobs.score_arrays import read_pool
from lidal3d.predictions import PredictionStore
from lidal3d.rounds.scoring import Wanted, score_pool
from lidal3d.scene.open import open_drive
from lidal3d.strategies import STRATEGIES
from lidal3d.units import make_partition

SETTINGS = (*FAST, "--set", "predict.views=3")
EVERYTHING = ("--strategy", "all", "--strategy", "true_loss")
FILES = ("scores.parquet", "features.npy", "probabilities.npy")
CONFIG = Config().updated(
    {"units": {"kind": "grid", "cell_m": 6}, "interframe": {"half_window": 3}, "predict": {"views": 3}}
)
LENGTHS = {"00": 9, "01": 5}


@pytest.fixture
def lidal3d(capsys) -> CommandLine:  # type: ignore[no-untyped-def]
    return CommandLine(capsys)


@pytest.fixture(scope="module")
def given(tmp_path_factory) -> Path:  # type: ignore[no-untyped-def]
    """A drive of two scenes and a model that has barely learnt."""
    from lidal3d.jobs.train import train_on_drive

    folder = tmp_path_factory.mktemp("given")
    scenes = [street(frames, scene=name, seed=frames) for name, frames in LENGTHS.items()]
    write_drive(folder / "drive", *scenes)
    train = {"width": 0.0625, "steps": 3, "voxel_m": 0.5}
    train_on_drive(folder / "drive", folder / "model", CONFIG.updated({"train": train}))
    return folder


@pytest.fixture(scope="module")
def whole(given) -> Path:  # type: ignore[no-untyped-def]
    """Scores that a model gave in one go, with all that any strategy needs."""
    score(given, given / "whole")
    return given / "whole"


def score(given: Path, out: Path, config: Config = CONFIG, **more: object) -> None:
    scenes = open_drive(given / "drive")
    source = score_source(None, given / "model", scenes, config)
    score_drive(scenes, source, out, config, strategies=["all", "true_loss"], **more)


def assert_same(one: Path, other: Path) -> None:
    for name in FILES:
        assert (one / name).read_bytes() == (other / name).read_bytes(), name


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_one_step_gives_the_bytes_of_two(lidal3d, given, tmp_path, dtype):
    settings = (*SETTINGS, "--set", f"predict.dtype={dtype}")
    saved = ("--set", "predict.features=true", "--set", "predict.members=true")
    predictions, two, one = tmp_path / "predictions", tmp_path / "two", tmp_path / "one"
    lidal3d.fine("predict", given / "drive", "-m", given / "model", "-o", predictions, *settings, *saved)
    lidal3d.fine("score", given / "drive", "-p", predictions, "-o", two, *settings, *EVERYTHING)
    lidal3d.fine("score", given / "drive", "-m", given / "model", "-o", one, *settings, *EVERYTHING)
    assert_same(one, two)

    # Also without anything extra, and so are the choices made of either, pseudo-labels included.
    lidal3d.fine("score", given / "drive", "-p", predictions, "-o", tmp_path / "plain-two", *settings)
    lidal3d.fine("score", given / "drive", "-m", given / "model", "-o", tmp_path / "plain-one", *settings)
    tables = [(tmp_path / name / "scores.parquet").read_bytes() for name in ("plain-one", "plain-two")]
    assert tables[0] == tables[1]
    trusting = [f"pseudo.{key}" for key in ("budget=20%", "max_entropy=9", "max_divergence=9", "min_confidence=0.06")]
    more = [part for key in trusting for part in ("--set", key)]
    for name in ("plain-one", "plain-two"):
        lidal3d.fine("select", tmp_path / name, "-o", tmp_path / f"queue-{name}", "-b", "20%", *more)
    for file in ("manifest.jsonl", "points.npz", "pseudo.jsonl", "pseudo_points.npz"):
        texts = [(tmp_path / f"queue-{name}" / file).read_bytes() for name in ("plain-one", "plain-two")]
        assert texts[0] == texts[1], file
    assert (tmp_path / "queue-plain-one" / "pseudo.jsonl").read_text().count("\n") > 3


def test_no_probability_map_touches_the_disk(given, whole):
    units = len(read_pool(whole).table)
    for path in whole.rglob("*.npy"):
        assert path.name in FILES
        assert len(np.load(path)) == units
    classes = len(read_pool(whole).table.metadata["classes"])
    points = {scene.id: [len(frame.points()) for frame in scene] for scene in open_drive(given / "drive")}
    for scene, frames in LENGTHS.items():
        kept = sorted((whole / "guesses" / scene).iterdir())
        assert len(kept) == frames
        for path, count in zip(kept, points[scene], strict=True):
            with np.load(path) as archive:
                assert {name: archive[name].shape for name in archive.files} == {
                    "best": (count,), "confidence": (count,)
                }  # fmt: skip
            assert path.stat().st_size < count * classes


def test_bytes_do_not_depend_on_workers_parts_or_shards(lidal3d, given, whole, tmp_path):
    score(given, tmp_path / "workers", workers=2, frames_a_part=4)
    assert_same(tmp_path / "workers", whole)
    shards = [tmp_path / f"shard-{part}" for part in (1, 2)]
    for part, shard in enumerate(shards, start=1):
        score(given, shard, shard=(part, 2), frames_a_part=2)
    assert not any((shard / "features.npy").exists() for shard in shards)
    lidal3d.fine("merge", *shards, "-o", tmp_path / "merged")
    assert_same(tmp_path / "merged", whole)
    for path in sorted((whole / "guesses").rglob("*.npz")):
        assert (tmp_path / "merged" / path.relative_to(whole)).read_bytes() == path.read_bytes()
    lidal3d.fine("merge", whole, "-o", tmp_path / "copied")
    assert_same(tmp_path / "copied", whole)


def score_and_die(given: Path, out: Path, rename: int) -> None:
    """Score, and kill -9 this very process just before it renames something for the `rename`-th time."""
    import lidal3d.files as files

    done, replace = 0, os.replace

    def counted(*arguments: object) -> None:
        nonlocal done
        done += 1
        if done == rename:
            os.kill(os.getpid(), signal.SIGKILL)
        replace(*arguments)  # type: ignore[arg-type]

    files.os.replace = counted  # type: ignore[assignment]
    score(given, out, frames_a_part=3)


def test_killed_again_and_again_it_gives_the_same_bytes(given, whole, tmp_path):
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["test_score_model", "lidal3d.learn.predict"])
    rng, kills = np.random.default_rng(0), 0
    for _ in range(50):
        process = context.Process(target=score_and_die, args=(given, tmp_path / "out", int(rng.integers(9, 20))))
        process.start()
        process.join()
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL
        kills += 1
    assert process.exitcode == 0
    assert kills >= 2
    assert_same(tmp_path / "out", whole)
    assert not (tmp_path / "out" / "parts").exists()


def test_bad_sweeps_are_left_out_alike(lidal3d, given, tmp_path):
    drive = tmp_path / "drive"
    shutil.copytree(given / "drive", drive)
    sweep = drive / "sequences" / "00" / "velodyne" / "000004.bin"
    points = np.fromfile(sweep, "<f4").reshape(-1, 4)
    points[7, 3] = np.nan  # an intensity: it would do for matching, but the network can't take it
    points.tofile(sweep)
    model = ("-m", given / "model", *SETTINGS)
    assert str(sweep) in lidal3d.fault("score", drive, *model, "-o", tmp_path / "one", *EVERYTHING)
    ran = lidal3d("score", drive, *model, "-o", tmp_path / "one", "--keep-going", *EVERYTHING)
    assert (ran.code, ran.err) == (1, "")
    (line,) = map(json.loads, (tmp_path / "one" / "failed.jsonl").read_text().splitlines())
    assert (line["scene"], line["frame"]) == ("00", 4)
    saved = ("--set", "predict.features=true", "--set", "predict.members=true")
    assert lidal3d("predict", drive, *model, *saved, "-o", tmp_path / "p", "--keep-going").code == 1
    two = ("score", drive, "-p", tmp_path / "p", *SETTINGS, *EVERYTHING)
    assert lidal3d(*two, "-o", tmp_path / "two", "--keep-going", "-j", 2).code == 1
    assert_same(tmp_path / "one", tmp_path / "two")
    assert not leftovers(tmp_path)


def test_labels_that_do_not_fit_cost_only_their_own_frame(lidal3d, given, whole, tmp_path):
    drive = tmp_path / "drive"
    shutil.copytree(given / "drive", drive)
    labels = drive / "sequences" / "00" / "labels" / "000004.label"
    labels.write_bytes(labels.read_bytes()[:-8])
    arguments = ("score", drive, "-m", given / "model", *SETTINGS, *EVERYTHING)
    line = lidal3d.fault(*arguments, "-o", tmp_path / "out")
    points = len(open_drive(drive)[0][4].points())
    assert str(labels) in line
    assert f"{points - 2} labels for {points} points" in line
    assert lidal3d(*arguments, "-o", tmp_path / "out", "--keep-going").code == 1
    table, before = read_pool(tmp_path / "out").table, read_pool(whole).table
    kept = before.take(np.flatnonzero((before.scene != 0) | (before.frame != 4)))
    for name, column in kept.scores.items():
        np.testing.assert_array_equal(table.scores[name], column)


def test_experiments_score_alike(given, whole, tmp_path):
    """The pool of an experiment's round is that of `lidal3d score`, for the frames that can be asked about."""
    from lidal3d.learn.model import load_model

    drive = tmp_path / "drive"
    shutil.copytree(given / "drive", drive)
    for index in (0, 3):
        (drive / "sequences" / "00" / "labels" / f"{index:06d}.label").unlink()
    wanted = Wanted.by(*(STRATEGIES[name] for name in ("badge", "bald", "redal", "true_loss", "lidal")))
    partition = make_partition(CONFIG.units)
    scenes, model = open_drive(drive), load_model(given / "model")
    pool, guesses = score_pool(scenes, model, CONFIG, partition, wanted, tmp_path / "scores")
    asked = (read_pool(whole).table.scene != 0) | ~np.isin(read_pool(whole).table.frame, (0, 3))
    every = read_pool(whole)
    assert len(pool) == asked.sum() < len(every)
    for name, column in pool.table.scores.items():
        np.testing.assert_array_equal(column, every.table.scores[name][asked], name)
    np.testing.assert_array_equal(pool.feature_rows, every.feature_rows[asked])
    np.testing.assert_array_equal(pool.probability_rows, every.probability_rows[asked])
    path = guesses.path("01", "000002")
    assert path.read_bytes() == (whole / "guesses" / "01" / "000002.npz").read_bytes()
    assert not guesses.path("00", "000003").exists()


def test_the_columns_are_what_plain_numpy_says(lidal3d, given, whole, tmp_path):
    """Mean features, probabilities and the members' scores of each unit, from the files that predict writes."""
    saved = ("--set", "predict.features=true", "--set", "predict.members=true")
    lidal3d.fine("predict", given / "drive", "-m", given / "model", "-o", tmp_path / "p", *SETTINGS, *saved)
    store, pool = PredictionStore.open(tmp_path / "p"), read_pool(whole)
    partition, row = make_partition(CONFIG.units), 0
    for scene in open_drive(given / "drive"):
        for frame in scene:
            probabilities = store.probabilities(scene.id, frame.name).astype(np.float64)
            features = store.features(scene.id, frame.name).astype(np.float64)
            members = store.members(scene.id, frame.name).astype(np.float64)
            assert members.shape == (3, *probabilities.shape)
            np.testing.assert_allclose(members.mean(axis=0), probabilities, atol=2e-3)
            unit = partition(frame.points())
            mean = members.mean(axis=0)
            mutual = plain_entropy(mean) - plain_entropy(members).mean(axis=0)
            votes = np.stack([np.bincount(v, minlength=19) for v in members.argmax(axis=2).T]) / 3
            labels = frame.labels()
            for one in range(unit.max() + 1):
                inside = unit == one
                np.testing.assert_allclose(pool.feature_rows[row], features[inside].mean(axis=0), rtol=1e-4, atol=1e-5)
                np.testing.assert_allclose(pool.probability_rows[row], probabilities[inside].mean(axis=0), atol=1e-6)
                scores = {name: column[row] for name, column in pool.table.scores.items()}
                assert scores["bald"] == pytest.approx(np.maximum(mutual, 0)[inside].mean(), abs=1e-5)
                assert scores["consensus_entropy"] == pytest.approx(plain_entropy(mean)[inside].mean(), abs=1e-5)
                assert scores["vote_entropy"] == pytest.approx(plain_entropy(votes)[inside].mean(), abs=1e-5)
                known = inside & (labels < 19)
                loss = -np.log(probabilities[known, labels[known]])
                assert scores["true_loss"] == pytest.approx(
                    loss.mean() if known.any() else np.nan, rel=1e-5, nan_ok=True
                )
                row += 1
    assert row == len(pool)


def plain_entropy(p: np.ndarray) -> np.ndarray:
    return -(p * np.log(np.maximum(p, 1e-30))).sum(axis=-1)
