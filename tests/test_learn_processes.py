# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Two processes that train together take the steps that one takes; what torchrun's environment must say."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from test_learn_jobs import MAP, bytes_of, settings, sweep, write_drive
from torch import distributed
from two_processes import CASES, FIRST_STEP, STEPS, trained

from lidal3d.cli.main import main
from lidal3d.errors import UsageError
from lidal3d.learn.batch import network_input
from lidal3d.learn.engine import engine
from lidal3d.learn.log import LOG_FILE
from lidal3d.learn.networks import build
from lidal3d.learn.processes import ALONE, Processes, device_of, refuse_small_batch, started_processes
from lidal3d.learn.sparse import VoxelNorm
from lidal3d.learn.together import Together, training_together
from lidal3d.learn.train import Trainer, architecture_for

SMALL = ("--steps", "3", "--set", "train.width=0.125", "--set", "train.voxel_m=0.5", "--set", "train.batch=2")


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of all cases by two processes, and a model by the command line, `cli`."""
    if not (distributed.is_available() and distributed.is_gloo_available()):
        pytest.skip("this torch has no gloo, by which processes on a CPU exchange sums")
    folder = tmp_path_factory.mktemp("together")
    drive = write_drive(folder / "drive")
    here = Path(__file__).parent
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2",
         here / "two_processes.py", folder, "train", drive, "--out", folder / "cli", *SMALL],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(here), *sys.path])},
        capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (folder / "said").write_text(done.stdout)
    return folder


def of(folder: Path, case: str, rank: int) -> dict[str, np.ndarray]:
    with np.load(folder / f"{case}.{rank}.npz") as file:
        return {name: file[name] for name in file.files}


def gradients(folder: Path) -> torch.Tensor:
    """All gradients of the first step, clipped, as Adam noted them."""
    tensors = load_file(folder / FIRST_STEP)
    return torch.cat([10 * tensors[name].flatten() for name in sorted(tensors) if name.endswith("/exp_avg")])


@pytest.mark.parametrize("name", CASES)
def test_two_processes_take_the_steps_of_one(together: Path, name: str, tmp_path: Path) -> None:
    first, second = of(together, name, 0), of(together, name, 1)
    assert all(np.array_equal(first[k], second[k]) for k in first)
    assert all(np.isfinite(values).all() for values in first.values())
    alone = trained(CASES[name], ALONE, tmp_path)
    # To rounding, of which bfloat16 has only 8 bits; where a few pixels are all of the coarsest level, a ReLU that
    # rounding turns over counts for more (alone, in float64, the gradient differs by 6e-4).
    tolerance = {"mixed": 0.05, "pictures": 2e-2, "windows": 2e-2}.get(name, 2e-5)
    assert first["losses"][0] == pytest.approx(alone["losses"][0], rel=tolerance)
    found, wanted = gradients(together / name), gradients(tmp_path)
    assert (found - wanted).norm() < tolerance * wanted.norm()
    # Adam scales a gradient up that is nothing but rounding: later steps only stay near.
    np.testing.assert_allclose(first["losses"], alone["losses"], rtol=max(2e-3, tolerance))
    moved = np.concatenate([np.abs(first[k] - alone[k]).ravel() for k in alone if k != "losses"])
    assert np.median(moved) < max(1e-6, tolerance * 1e-2)


def test_a_loss_head_is_the_same_in_both_processes(together: Path) -> None:
    first, second = of(together, "head", 0), of(together, "head", 1)
    assert all(np.array_equal(first[k], second[k]) for k in first)
    assert all(np.isfinite(values).all() for values in first.values())


def test_cut_off_and_resumed_by_two_the_weights_come_out_the_same(together: Path) -> None:
    for rank in (0, 1):
        through, resumed = of(together, "spvcnn", rank), of(together, "resumed", rank)
        assert len(resumed["losses"]) == STEPS - 2
        assert all(np.array_equal(through[k], resumed[k]) for k in through if k != "losses")
        np.testing.assert_array_equal(resumed["losses"], through["losses"][2:])


def test_only_the_first_process_writes_and_prints(together: Path) -> None:
    rows = (together / "minkunet" / LOG_FILE).read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["step", *map(str, range(1, STEPS + 1))]
    (said,) = (together / "said").read_text().splitlines()
    assert "2 labelled frames, 3 steps, loss " in said


def test_the_command_line_trains_by_torchrun(together: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["train", str(together / "drive"), "--out", str(tmp_path), *SMALL])
    assert bytes_of(together / "cli").keys() == bytes_of(tmp_path).keys()
    assert bytes_of(together / "cli")["config.yaml"] == bytes_of(tmp_path)["config.yaml"]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_network_sees_what_torchs_own_autocast_shows_it(precision: str) -> None:
    config = settings(precision=precision).train
    points, _ = sweep(0, 300)
    data = network_input([torch.from_numpy(points)], config.voxel_m)
    network = build(architecture_for(MAP, config))
    with engine("cpu", precision, ALONE) as run:
        trainer = Trainer(run, network, torch.ones(2), config)
        found, _ = trainer._forward(data.features, data.voxels.keys)
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
        wanted, _ = network(data.features, data.voxels.keys)
    assert found.dtype == torch.float32
    assert torch.equal(found, wanted.float())


class Identity(Together):
    """One process that shares with nobody."""

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        return values


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("rows", [1, 2, 300])
def test_shared_normalisation_is_the_networks_own(affine: bool, rows: int) -> None:
    torch.manual_seed(0)
    features, grad = torch.randn(rows, 5) * 3 + torch.tensor([0, 1, -2, 1000, 50.0]), torch.randn(rows, 5)
    results = []
    for processes in (None, Identity()):
        torch.manual_seed(1)
        norm = VoxelNorm(5, affine=affine)
        for values in norm.parameters():
            torch.nn.init.normal_(values)
        x = features.clone().requires_grad_()
        with training_together(processes):
            y = norm(x)
            y.backward(grad)
        assert x.grad is not None
        results.append((y.detach(), x.grad, norm.running_mean, norm.running_var, *(p.grad for p in norm.parameters())))
    for own, shared in zip(*results, strict=True):
        torch.testing.assert_close(shared, own, rtol=2e-4, atol=2e-4)


def environment(rank: int = 0, size: int = 2, local_rank: int = 0, local_size: int = 2) -> dict[str, str]:
    values = {"RANK": rank, "WORLD_SIZE": size, "LOCAL_RANK": local_rank, "LOCAL_WORLD_SIZE": local_size}
    return {name: str(value) for name, value in values.items()}


def test_torchruns_environment_is_read() -> None:
    assert started_processes({}) == started_processes({"RANK": "1", "WORLD_SIZE": "8"}) == ALONE
    assert started_processes(environment(5, 8, 1, 4)) == Processes(5, 8, 1, 4)
    for damaged in ({"RANK": "x"}, {"RANK": "2"}, {"LOCAL_RANK": "-1"}, {"LOCAL_WORLD_SIZE": "3"}):
        with pytest.raises(UsageError, match="environment is not torchrun's"):
            started_processes({**environment(), **damaged})


@pytest.mark.parametrize(("parts", "size"), [(8, 2), (5, 2), (7, 3), (3, 3)])
def test_shares_are_a_batch_in_order(parts: int, size: int) -> None:
    shares = [list(range(parts))[Processes(rank, size).share(parts)] for rank in range(size)]
    assert [part for share in shares for part in share] == list(range(parts))
    assert all(parts // size <= len(share) <= parts // size + 1 for share in shares)


def test_every_process_takes_its_own_gpu() -> None:
    two = Processes(3, 4, 1, 2)
    assert device_of("cuda:1", ALONE, 1) == "cuda:1"
    assert device_of("cuda", two, 2) == "cuda:1"
    assert device_of("cpu", two, 0) == "cpu"
    with pytest.raises(UsageError, match="cuda:1: torchrun started 4 processes"):
        device_of("cuda:1", two, 2)
    with pytest.raises(UsageError, match="started 2 processes here, but there are 1 GPUs"):
        device_of("cuda", two, 1)
    with pytest.raises(UsageError, match=r"train\.batch is 3, but torchrun started 4"):
        refuse_small_batch(3, two)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["train", "D", "--out", "M", "--set", "train.batch=2", "--device", "cuda:1"], "--device cuda:1: torchrun"),
        (["train", "D", "--out", "M"], "train.batch is 1, but torchrun started 2"),
        (["predict", "D", "-m", "M", "--out", "P"], "predict does not share its work"),
    ],
)
def test_wrong_use_of_torchrun_is_one_line(
    arguments: list[str], line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    said = capsys.readouterr().err
    assert line in said
    assert said.count("\n") == 1
