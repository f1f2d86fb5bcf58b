# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""A training that is killed and goes on ends with the same bytes as one that ran through; its log of steps."""

from __future__ import annotations

import csv
import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from test_learn_jobs import MAP, memory_scene, picture, settings, sweep, weights_of, write_drive

from lidal3d.errors import DataError
from lidal3d.jobs.train import train_on_drive
from lidal3d.learn.checkpoint import CHECKPOINT_FILE, load_checkpoint
from lidal3d.learn.log import LOG_FILE
from lidal3d.learn.loss import clip_gradients, rate
from lidal3d.learn.model import Model
from lidal3d.learn.sampler import Sampler, ahead
from lidal3d.learn.sweeps import Sweeps
from lidal3d.learn.train import _item, train
from lidal3d.scene.scene import Frame

STEPS = 9


def run(folder: Path | str | None, stop_at: int | None = None, kill: bool = False, **changes: object) -> Model:
    """A short training on five sweeps, cut off after a step where asked."""

    def progress(step: int, loss: float) -> None:
        if step == stop_at:
            if kill:
                os.kill(os.getpid(), signal.SIGKILL)
            raise InterruptedError

    pictures = changes.get("architecture") == "unet2d"
    frames = list(memory_scene(*(picture(i) if pictures else sweep(i, 300) for i in range(5))))
    config = settings(**{"steps": STEPS, "checkpoint_every": 2, **changes}).train
    return train(frames, MAP, config, progress=progress, folder=folder)


def same(a: Model, b: Model) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(weights_of(a), weights_of(b), strict=True))


def sampler_of(frames: Sequence[Frame], seed: int) -> Sampler:
    feed = Sweeps(0.5)
    rng = np.random.default_rng(seed)
    return Sampler(len(frames), lambda i: _item(frames[i], None, feed), feed, 2, 2, rng, torch.device("cpu"))


def log_of(folder: Path) -> list[dict[str, str]]:
    with (folder / LOG_FILE).open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("architecture", ["minkunet", "spvcnn", "unet2d"])
def test_cut_off_at_any_step_the_weights_come_out_the_same(architecture: str, tmp_path: Path) -> None:
    whole = run(None, architecture=architecture)
    for stop_at in (1, 5, 9):
        folder = tmp_path / str(stop_at)
        with pytest.raises(InterruptedError):
            run(folder, stop_at, architecture=architecture)
        assert same(run(folder, architecture=architecture), whole)


def test_a_training_killed_comes_out_the_same(tmp_path: Path) -> None:
    code = "import sys, test_learn_resume as t; t.run(sys.argv[1], int(sys.argv[2]), kill=True)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path), "7"], env=environment, check=False)
    assert done.returncode == -signal.SIGKILL
    through = tmp_path / "through"
    whole = run(through)
    assert same(run(tmp_path), whole)
    assert (tmp_path / CHECKPOINT_FILE).read_bytes() == (through / CHECKPOINT_FILE).read_bytes()
    for found, wanted in zip(log_of(tmp_path), log_of(through), strict=True):
        assert found["step"] == wanted["step"]
        assert found["loss"] == wanted["loss"]


def test_a_training_cut_off_before_its_model_was_written_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drive = write_drive(tmp_path / "drive")
    config = settings(steps=4, checkpoint_every=2)
    through = train_on_drive(drive, tmp_path / "through", config)

    def killed(*_: object) -> None:
        raise InterruptedError

    with monkeypatch.context() as broken:
        broken.setattr(Model, "save", killed)
        with pytest.raises(InterruptedError):
            train_on_drive(drive, tmp_path / "m", config)
    resumed = train_on_drive(drive, tmp_path / "m", config)
    assert (resumed.steps, resumed.loss) == (through.steps, through.loss)
    assert resumed.path.read_bytes() == through.path.read_bytes()


def test_reading_ahead_and_more_threads_change_nothing(tmp_path: Path) -> None:
    one = run(None)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        frames = list(memory_scene(*(sweep(i, 300) for i in range(5))))
        made = [sampler_of(frames, 3) for _ in range(2)]
        for batch in ahead(made[0], 4):
            alone = made[1].next()
            assert torch.equal(batch.inputs[0], alone.inputs[0])
            assert torch.equal(batch.targets, alone.targets)
            assert batch.state == alone.state
        with pytest.raises(InterruptedError):
            run(tmp_path, 5)
        resumed = run(tmp_path)
        whole = run(None)
    finally:
        torch.set_num_threads(before)
    assert same(resumed, whole)
    assert same(whole, one)


def test_a_sampler_goes_on_from_its_state() -> None:
    frames = list(memory_scene(*(sweep(i, 200) for i in range(3))))
    first, second = sampler_of(frames, 1), sampler_of(frames, 1)
    state = [first.next().state for _ in range(4)][1]
    second.restore(state)
    again = [second.next() for _ in range(2)]
    assert again[-1].state == first.state()


def test_every_step_has_a_line(tmp_path: Path) -> None:
    run(tmp_path, checkpoint_every=0, schedule="constant")
    rows = log_of(tmp_path)
    assert [int(row["step"]) for row in rows] == list(range(1, STEPS + 1))
    assert all(np.isfinite(float(row["loss"])) and float(row["seconds"]) >= 0 for row in rows)
    assert {float(row["learning_rate"]) for row in rows} == {0.01}
    assert not (tmp_path / CHECKPOINT_FILE).exists()
    run(tmp_path, checkpoint_every=0)
    assert len(log_of(tmp_path)) == STEPS


def test_no_folder_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run(None, steps=2)
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_of_another_training_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InterruptedError):
        run(tmp_path, 4)
    for changes in ({"seed": 3}, {"steps": 20}, {"architecture": "spvcnn"}):
        with pytest.raises(DataError, match="of another training") as error:
            run(tmp_path, **changes)
        assert "\n" not in str(error.value)
    assert load_checkpoint(tmp_path / "elsewhere", "") is None


def test_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InterruptedError):
        run(tmp_path, 4)
    path = tmp_path / CHECKPOINT_FILE
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", b"\x80\x04N.", whole[:40]):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=r"not a whole safetensors file .*; remove it"):
            run(tmp_path)


def test_the_rate_rises_and_falls_or_stays() -> None:
    cosine = [rate(step, 100) for step in range(100)]
    assert cosine[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert cosine[5] == pytest.approx(1.0)
    assert all(a > b for a, b in itertools.pairwise(cosine[6:]))
    assert cosine[-1] < 0.01
    assert [rate(step, 100, "constant") for step in (0, 4, 50, 99)] == pytest.approx([0.2, 1, 1, 1])


@pytest.mark.parametrize("limit", [0.5, 1e6])
def test_clipping_is_torchs_own(limit: float) -> None:
    nets = []
    for clip in (lambda n: clip_gradients(n, limit), lambda n: torch.nn.utils.clip_grad_norm_(n.parameters(), limit)):
        torch.manual_seed(0)
        net = torch.nn.Linear(5, 7)
        net(torch.randn(3, 5)).square().sum().backward()
        clip(net)
        nets.append(net)
    for a, b in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-5, atol=1e-7)


def test_mixed_precision_learns_too() -> None:
    trained = run(None, precision="bfloat16", steps=3)
    assert all(np.isfinite(w).all() for w in weights_of(trained))
