# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""kill -9 at any moment: the next run goes on, the bytes are those of a run that nobody disturbed, nobody lives on."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest
from box_drives import write_boxes
from command_line import FAST, CommandLine, leftovers, street, write_drive, write_predictions

from lidal3d.errors import DataError
from lidal3d.parallel.pool import run_tasks

SCENES = 12
PATIENCE_S = 120.0  # a slow machine is no failure
MANIFEST = ("manifest.parquet", "manifest.jsonl", "points.npz", "pseudo.parquet", "pseudo.jsonl", "pseudo_points.npz")


@pytest.fixture
def lidal3d(capsys) -> CommandLine:  # type: ignore[no-untyped-def]
    return CommandLine(capsys)


@pytest.fixture(scope="module")
def given(tmp_path_factory) -> Path:  # type: ignore[no-untyped-def]
    """A drive of many short scenes: each is a part, and all of them take a while."""
    folder = tmp_path_factory.mktemp("given")
    scenes = [street(6, points=4000, scene=f"{k:02d}", seed=k) for k in range(SCENES)]
    write_drive(folder / "drive", *scenes)
    write_predictions(folder / "predictions", *scenes)
    return folder


def start(*arguments: object, **options: object) -> psutil.Popen:
    """Start `lidal3d …` as a program."""
    command = [sys.executable, "-m", "lidal3d", *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return psutil.Popen(command, env=environment, **{**quiet, **options})


def wait_for(what: Callable[[], bool], seconds: float = PATIENCE_S) -> bool:
    """Look again and again until it is so, or patience ends."""
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end:
            return False
        time.sleep(0.002)
    return True


def is_over(process: psutil.Process) -> bool:
    """Whether a process is gone, or dead and only not yet collected."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def kill_when(process: psutil.Popen, ready: Callable[[], bool], delay_s: float) -> bool:
    """Kill -9 the parent a moment after `ready`; its children have to leave by themselves. Whether it was in time."""
    assert wait_for(lambda: ready() or process.poll() is not None)
    time.sleep(delay_s)
    children: list[psutil.Process] = []
    if process.poll() is None:
        children = process.children(recursive=True)
        process.send_signal(signal.SIGKILL)
    in_time = process.wait() == -signal.SIGKILL
    assert wait_for(lambda: all(map(is_over, children))), f"still there: {children}"
    return in_time


def parts_in(out: Path) -> int:
    # os.walk, unlike rglob, does not mind a folder that goes while it looks: the job tidies up when it is done.
    names = [name for _, _, files in os.walk(out) for name in files]
    return len([name for name in names if name.endswith(".arrow") and not name.startswith(".writing-")])


@pytest.mark.parametrize("workers", [1, 2])
def test_score_goes_on_where_it_was_killed(lidal3d, given, tmp_path, workers):
    score = ("score", given / "drive", "-p", given / "predictions", *FAST)
    lidal3d.fine(*score, "-o", tmp_path / "whole")
    rng = np.random.default_rng(workers)
    out = tmp_path / "out"
    kills = 0
    for _ in range(10):
        if (out / "scores.parquet").is_file():  # it was over before the kill came: once more from the start
            shutil.rmtree(out)
        before = parts_in(out)
        process = start(*score, "-o", out, "-j", workers)
        kills += kill_when(process, lambda before=before: parts_in(out) > before, rng.uniform(0, 0.03))
        if kills == 2:
            break
    assert kills == 2
    lidal3d.fine(*score, "-o", out)
    assert (out / "scores.parquet").read_bytes() == (tmp_path / "whole" / "scores.parquet").read_bytes()
    assert not leftovers(tmp_path)
    assert not (out / "parts").exists()


def test_scores_of_boxes_go_on_where_they_were_killed(lidal3d, given, tmp_path):
    write_boxes(
        tmp_path / "boxes", *(street(6, points=4000, scene=f"{k:02d}", seed=k) for k in range(SCENES)), features=3
    )
    score = ("score", given / "drive", "--boxes", tmp_path / "boxes")
    lidal3d.fine(*score, "-o", tmp_path / "whole")
    out = tmp_path / "out"

    def counted() -> bool:
        return any(name.endswith(".npz") for _, _, files in os.walk(out / "parts") for name in files)

    for _ in range(5):
        if kill_when(start(*score, "-o", out), counted, 0.0) and not (out / "scores.parquet").exists():
            break
        shutil.rmtree(out)  # it was over before the kill came: once more from the start
    assert counted()
    lidal3d.fine(*score, "-o", out)
    for name in ("scores.parquet", "features.npy", "probabilities.npy", "run.json"):
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert not leftovers(tmp_path)
    assert not (out / "parts").exists()


def test_score_killed_as_it_starts(lidal3d, given, tmp_path):
    score = ("score", given / "drive", "-p", given / "predictions", *FAST)
    out = tmp_path / "out"
    kill_when(start(*score, "-o", out, "-j", 2), lambda: (out / "run.json").is_file(), 0.0)
    kill_when(start(*score, "-o", out, "-j", 2), lambda: (out / "parts").is_dir(), 0.0)
    lidal3d.fine(*score, "-o", out)
    lidal3d.fine(*score, "-o", tmp_path / "whole")
    assert (out / "scores.parquet").read_bytes() == (tmp_path / "whole" / "scores.parquet").read_bytes()
    assert not leftovers(tmp_path)


def test_a_selection_is_there_whole_or_not_at_all(lidal3d, given, tmp_path):
    scores, out = tmp_path / "scores", tmp_path / "queue"
    lidal3d.fine("score", given / "drive", "-p", given / "predictions", "-o", scores, *FAST)
    select = ("select", scores, "-b", "5%")
    lidal3d.fine(*select, "-o", tmp_path / "whole")
    expected = {name: (tmp_path / "whole" / name).read_bytes() for name in MANIFEST}

    rng = np.random.default_rng(0)
    for _ in range(5):
        # What a killed run leaves stays until the next one writes.
        before = set(leftovers(tmp_path))
        process = start(*select, "-o", out)
        kill_when(process, lambda before=before: bool(set(leftovers(tmp_path)) - before), rng.uniform(0, 0.01))
        assert not out.exists() or {name: (out / name).read_bytes() for name in MANIFEST} == expected
    lidal3d.fine(*select, "-o", out)
    assert {name: (out / name).read_bytes() for name in MANIFEST} == expected
    assert not leftovers(tmp_path)


def test_predict_goes_on_where_it_was_killed(lidal3d, given, tmp_path):
    drive = write_drive(tmp_path / "drive", street(14, points=1500))
    model, out = tmp_path / "model", tmp_path / "out"
    lidal3d.fine("train", drive, "-o", model, "--steps", 1, "--frame", "00/000000", "--set", "train.width=0.0625")
    predict = ("predict", drive, "-m", model, "--views", 1)
    lidal3d.fine(*predict, "-o", tmp_path / "whole")

    def frames() -> int:
        names = [name for _, _, files in os.walk(out) for name in files]
        return len([name for name in names if name.endswith(".npy") and not name.startswith(".writing-")])

    killed = False
    for _ in range(5):
        shutil.rmtree(out, ignore_errors=True)  # where it was over before the kill came: once more from the start
        killed = kill_when(start(*predict, "-o", out), lambda: frames() >= 4, 0.0)
        if killed and frames() < 14:
            break
    assert killed
    assert 4 <= frames() < 14
    assert not (out / "predictions.yaml").exists()
    lidal3d.fine(*predict, "-o", out)
    for path in sorted((tmp_path / "whole").rglob("*.npy")):
        assert (out / path.relative_to(tmp_path / "whole")).read_bytes() == path.read_bytes()
    assert frames() == 14
    assert not leftovers(tmp_path)


def test_workers_leave_when_their_parent_is_killed(given, tmp_path):
    process = start("score", given / "drive", "-p", given / "predictions", "-o", tmp_path / "out", "-j", 2, *FAST)
    # Two workers and multiprocessing's own helper.
    seen = wait_for(lambda: process.poll() is not None or len(process.children(recursive=True)) >= 3)
    assert seen
    assert kill_when(process, lambda: True, 0.0)


@pytest.mark.parametrize("workers", [1, 2])
def test_an_interrupt_is_one_line_and_leaves_nothing_half_written(lidal3d, given, tmp_path, workers):
    score = ("score", given / "drive", "-p", given / "predictions", *FAST)
    for attempt in range(5):  # a run may end before the signal comes
        out = tmp_path / f"out-{attempt}"
        process = start(*score, "-o", out, "-j", workers, stderr=subprocess.PIPE, text=True, start_new_session=True)
        assert wait_for(lambda: process.poll() is not None or parts_in(out) > 0)  # noqa: B023
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGINT)  # Ctrl-C reaches a terminal's whole process group
        _, said = process.communicate(timeout=PATIENCE_S)
        if process.returncode != 0:
            break
    assert process.returncode == 130
    assert said == "lidal3d: error: interrupted; run the same command again to continue\n"
    assert not leftovers(tmp_path)
    assert not (out / "scores.parquet").exists()
    lidal3d.fine(*score, "-o", out)


def endless_or_broken(task: Path | None, tick: Callable[[], None]) -> None:
    """Without a path: fail. With one: work on until it is stopped, and note there when nobody did."""
    if task is None:
        raise DataError("broken")
    for _ in range(3000):
        time.sleep(0.05)
        tick()
    task.write_text("done to the end")


def test_a_failed_task_does_not_wait_for_the_others_to_end(tmp_path):
    with pytest.raises(DataError, match="broken"):
        list(run_tasks(endless_or_broken, [tmp_path / "end", None], workers=2))
    assert not (tmp_path / "end").exists()


def test_a_dead_worker_ends_the_run_with_one_line(lidal3d, given, tmp_path):
    out = tmp_path / "out"
    score = ("score", given / "drive", "-p", given / "predictions", *FAST)
    process = start(*score, "-o", out, "-j", 2, stderr=subprocess.PIPE, text=True)
    assert wait_for(lambda: process.poll() is not None or parts_in(out) > 0)
    workers = [child for child in process.children() if "spawn_main" in " ".join(child.cmdline())]
    assert workers
    workers[0].send_signal(signal.SIGKILL)
    _, said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1
    assert said.startswith("lidal3d: error: a worker process died")
    assert said.count("\n") == 1
    lidal3d.fine(*score, "-o", out)
    lidal3d.fine(*score, "-o", tmp_path / "whole")
    assert (out / "scores.parquet").read_bytes() == (tmp_path / "whole" / "scores.parquet").read_bytes()
