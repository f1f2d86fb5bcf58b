# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""From a drive and an encoder to a queue: `lidal3d score --encoder`, then `select`, on pictures, sweeps and regions."""

from __future__ import annotations

import json

import numpy as np
import pytest
from command_line import CommandLine
from pretrain_drives import TINY
from vit_files import tiny_vit

torch = pytest.importorskip("torch", reason='torch is missing; pip install "lidal3d[learn]"')

from safetensors.torch import save_file  # noqa: E402

from lidal3d.jobs.score_arrays import read_pool  # noqa: E402
from lidal3d.learn.pretrain.methods import method_named  # noqa: E402
from lidal3d.learn.pretrain.train import pretrain  # noqa: E402
from lidal3d.scene.open import open_drive  # noqa: E402
from lidal3d.select.manifest import read_manifest  # noqa: E402
from lidal3d.sim import SimConfig, write_drive  # noqa: E402

FRAMES = 4


@pytest.fixture(scope="module")
def drive(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drive")
    config = SimConfig(frames=FRAMES, beams=16, columns=240, camera_width=200, camera_height=60, seed=4)
    write_drive(config, folder, "semantickitti", "00")
    return folder


@pytest.fixture(scope="module")
def vit(tmp_path_factory):
    path = tmp_path_factory.mktemp("vit") / "vit.safetensors"
    save_file(tiny_vit(), path)
    return path


@pytest.fixture(scope="module")
def sparse(drive, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sparse")
    pretrain(list(open_drive(drive)[0]), method_named("barlow"), TINY).save(folder)
    return folder


@pytest.fixture
def lidal3d(capsys):
    return CommandLine(capsys)


def units(kind, *more):
    return ("--set", f"units.kind={kind}", *more)


def test_images_by_a_vit(drive, vit, tmp_path, lidal3d):
    scores = tmp_path / "scores"
    ask = ("score", f"{drive}@image_2", "--encoder", vit, "--strategy", "geal", *units("image"))
    said = lidal3d.fine(*ask, "--set", "geal.patterns=4", "-o", scores)
    assert "--strategy geal --budget 1%" in said  # not the default strategy, which pictures lack the columns of
    pool = read_pool(scores)
    assert pool.patterns.shape == (FRAMES, 4, 64)
    assert np.isfinite(pool.patterns[:, 0]).all()
    assert pool.table.metadata["geal"] == {"patterns": 4, "kept": 0.5, "clusters": "euclidean", "cut": "tiles"}
    lidal3d.fine(*ask, "--set", "geal.patterns=4", "-o", tmp_path / "two", "--workers", "2")
    for name in ("patterns.npy", "scores.parquet"):
        assert (scores / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    # A folder of other patterns isn't gone on with.
    assert "strategies or settings" in lidal3d.fault(*ask, "--set", "geal.patterns=5", "-o", scores)
    lidal3d.fine("select", scores, "--strategy", "geal", "--budget", "2:frames", "-o", tmp_path / "queue")
    picks = read_manifest(tmp_path / "queue").selection.picks
    assert len(picks) == 2
    assert "nothing is labelled yet" in picks[0].reason
    assert "cosine distance" in picks[1].reason
    second = ("select", scores, "--strategy", "geal", "--budget", "2:frames", "-o", tmp_path / "next", "--earlier")
    lidal3d.fine(*second, tmp_path / "queue")
    others = read_manifest(tmp_path / "next").selection.picks
    assert {pick.key.frame for pick in others} | {pick.key.frame for pick in picks} == set(range(FRAMES))


@pytest.mark.parametrize("name", ["freesel", "geal_v1"])
def test_papers_patterns_are_made_without_being_asked(drive, vit, tmp_path, name, lidal3d):
    ask = ("score", f"{drive}@image_2:100", "--encoder", vit, *units("image"), "-o", tmp_path / "scores")
    lidal3d.fine(*ask, "--strategy", name)
    pool = read_pool(tmp_path / "scores")
    assert pool.patterns.shape[1] == {"freesel": 5, "geal_v1": 25}[name]
    # 16 patches of a picture squashed to the ViT's size: the filter leaves fewer than 25.
    assert np.isfinite(pool.patterns).all(axis=2).sum(axis=1).max() <= 16
    lidal3d.fine("select", tmp_path / "scores", "--strategy", name, "--budget", "2:frames", "-o", tmp_path / "queue")
    other = {"freesel": "geal_v1", "geal_v1": "freesel"}[name]
    again = ("select", tmp_path / "scores", "--strategy", other, "--budget", "2:frames", "-o", tmp_path / "no")
    assert f"score again with --strategy {other} alone" in lidal3d.fault(*again, code=2)


def test_regions_and_sweeps_with_a_vits_patches(drive, vit, tmp_path, lidal3d):
    for kind, budget in (("grid", "9:regions"), ("frame", "2:frames")):
        scores, queue = tmp_path / f"{kind}-scores", tmp_path / f"{kind}-queue"
        lidal3d.fine("score", drive, "--encoder", vit, "--strategy", "geal", *units(kind), "-o", scores)
        pool = read_pool(scores)
        assert pool.patterns.shape[1:] == ((1 if kind == "grid" else 15), 64)
        shown = np.isfinite(pool.patterns[:, 0]).all(axis=1)
        # The one camera looks ahead: what lies behind has no patch, and is never asked.
        assert 0 < shown.mean() <= 1
        assert (kind == "frame") == bool(shown.all())
        lidal3d.fine("select", scores, "--strategy", "geal", "--budget", budget, "-o", queue)
        hidden = {
            (int(f), int(u)) for f, u, one in zip(pool.table.frame, pool.table.unit, shown, strict=True) if not one
        }
        picks = read_manifest(queue).selection.picks
        assert len(picks) == int(budget.split(":")[0])
        assert not {(pick.key.frame, pick.key.unit) for pick in picks} & hidden


def test_sweeps_with_voxels_of_an_encoder_of_ones_own(drive, sparse, tmp_path, lidal3d):
    scores = tmp_path / "scores"
    ask = ("score", drive, "--encoder", sparse, "--strategy", "geal", *units("frame"), "-o", scores)
    lidal3d.fine(*ask)
    pool = read_pool(scores)
    assert pool.patterns.shape == (FRAMES, 15, read_pool(scores).patterns.shape[2])
    assert np.isfinite(pool.patterns).all()
    lidal3d.fine("select", scores, "--strategy", "geal", "--budget", "2:frames", "-o", tmp_path / "queue")
    assert len(json.loads((scores / "run.json").read_text())["signals"]) == 1


def test_what_is_missing_is_said_in_one_line(drive, vit, tmp_path, lidal3d):
    wrong = tmp_path / "wrong.pth"
    torch.save({**tiny_vit(), "norm.weight": torch.ones(65)}, wrong)
    cases = [
        (("score", f"{drive}@image_2", "--strategy", "geal", *units("image")), "--encoder", 2),
        (("score", f"{drive}@image_2", "--encoder", wrong, "--strategy", "geal", *units("image")),
         "'norm.weight' has shape (65,), (64,) fits", 1),
        (("score", f"{drive}@image_2", "--encoder", tmp_path / "none", "--strategy", "geal", *units("image")),
         "no encoder", 1),
        (("score", f"{drive}@image_2", "--encoder", vit, "--strategy", "freesel", "--strategy", "geal_v1",
          *units("image")), "need other patterns", 2),
    ]  # fmt: skip
    for place, (words, told, code) in enumerate(cases):
        assert told in lidal3d.fault(*words, "-o", tmp_path / f"out{place}", code=code)
