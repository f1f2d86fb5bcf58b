# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Measure training and inference: `python tools/benchmark_learn.py --json out.json` (about a minute on two cores).

A simulated 64-beam sweep is cut at the range that leaves 30,000 voxels of 0.18 m. A training step is the whole of it: the
batch (augmentation, voxels, labels, kernel maps), forward, backward, optimiser. Medians, minima, processor seconds and
the machine's load stand side by side: on a busy machine only the last three mean much. Where torch sees a GPU, the
full-width network runs on 100,000 voxels too, float32 and bfloat16, by torch and, where it is installed, by spconv.
Nothing here is asserted: it reports.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import statistics
from collections.abc import Callable
from time import perf_counter, process_time
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from lidal3d.files import write_json
from lidal3d.learn.architecture import Architecture
from lidal3d.learn.backends import using_backend
from lidal3d.learn.batch import VOXEL_FEATURES, network_input
from lidal3d.learn.engine import engine
from lidal3d.learn.feeds import asking_feed, training_feed
from lidal3d.learn.images.pictures import PICTURE_FEATURES
from lidal3d.learn.networks import build
from lidal3d.learn.processes import ALONE
from lidal3d.learn.sampler import Batch, Sampler, ahead
from lidal3d.learn.sparse import Level
from lidal3d.learn.threads import own_threads
from lidal3d.learn.train import Trainer
from lidal3d.settings.train import TrainConfig
from lidal3d.sim import SimConfig, simulate

CLASSES = 19
VOXEL_M = 0.18
PICTURES = ((310, 94), (480, 145))
Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]


def a_sweep(voxels: int, voxel_m: float) -> tuple[Floats, Bytes]:
    """The points of a simulated sweep that are near enough to fill so many voxels (or all), and their labels."""
    simulated = simulate(SimConfig(frames=2, camera=False, seed=7)).frame(1)
    points = np.ascontiguousarray(simulated.points[:, :4], dtype=np.float32)
    points = points[np.argsort(np.hypot(points[:, 0], points[:, 1]), kind="stable")]
    low, high = 1, len(points)
    while low < high:
        middle = (low + high) // 2
        if len(network_input([torch.from_numpy(points[:middle])], voxel_m).voxels) < voxels:
            low = middle + 1
        else:
            high = middle
    labels = (np.floor(points[:low, 2] * 4).astype(int) % CLASSES).astype(np.uint8)
    return points[:low], labels


def timed(function: Callable[[], object], repeats: int, wait: Callable[[], object] = lambda: None) -> dict[str, float]:
    """Median and minimum of wall milliseconds, and median processor milliseconds, after three warming runs."""
    walls, processor = [], []
    for run in range(repeats + 3):
        wait()
        start, busy = perf_counter(), process_time()
        function()
        wait()
        if run >= 3:
            walls.append(1e3 * (perf_counter() - start))
            processor.append(1e3 * (process_time() - busy))
    found = {"median_ms": statistics.median(walls), "min_ms": min(walls), "cpu_ms": statistics.median(processor)}
    return {name: round(value, 1) for name, value in found.items()}


def a_picture(width: int, height: int) -> tuple[Floats, Bytes]:
    """Pixels (N, 5) of noise, and labels (N,)."""
    row, column = np.mgrid[:height, :width]
    colors = np.random.default_rng(0).random((height, width, 3))
    points = np.column_stack([column.ravel(), row.ravel(), colors.reshape(-1, 3)]).astype(np.float32)
    return points, (row.ravel() * CLASSES // height).astype(np.uint8)


def measure(
    points: Floats, labels: Bytes, config: TrainConfig, device: str, repeats: int, name: str | None = None
) -> dict[str, Any]:
    """Training and inference of one network on one sweep or picture, whole and by section."""
    wait: Callable[[], object] = torch.cuda.synchronize if device == "cuda" else lambda: None
    name = name or config.architecture
    features = PICTURE_FEATURES if name == "unet2d" else VOXEL_FEATURES
    architecture = Architecture(CLASSES, features, config.width, config.blocks, name)
    network = build(architecture)
    feed, asked = training_feed(architecture, config), asking_feed(architecture, config.voxel_m)
    item = feed.item(points, labels, None)

    def sampler() -> Sampler:
        rng = np.random.default_rng(0)
        return Sampler(1, lambda _: item, feed, config.batch, CLASSES, rng, torch.device(device))

    coming, one = ahead(sampler(), repeats + 3), sampler().next()
    view = torch.from_numpy(points).to(device)
    with engine(device, config.precision, ALONE) as run, using_backend(config.backend), own_threads():
        trainer = Trainer(run, network, torch.ones(CLASSES), config)

        def learn(batch: Batch) -> None:
            trainer.step(batch, 1, 1e-3)

        found: dict[str, Any] = {
            "parameters": sum(p.numel() for p in network.parameters()),
            "voxels or pixels a step": len(one.targets),
            "training_step": timed(lambda: learn(next(coming)), repeats, wait),
            "batch_alone": timed(sampler().next, repeats, wait),
            "network_alone": timed(lambda: learn(one), repeats, wait),
        }
        if not architecture.of_pictures:
            keys = one.inputs[1].keys
            found["kernel_maps_alone"] = timed(lambda: Level(keys).prepare(), repeats, wait)
        network.eval()

        def infer() -> None:
            inputs, _ = asked.view(view, asked.draw(np.random.default_rng(0)))
            with torch.autocast(device, torch.bfloat16, enabled=config.precision == "bfloat16"):
                network(*inputs)

        with torch.inference_mode():
            found["inference"] = timed(infer, repeats, wait)
    return found


def on_cpu(repeats: int, threads: tuple[int, ...]) -> dict[str, Any]:
    """The default network and SPVCNN of the same width on 30,000 voxels, and that of pictures, 4 a step."""
    sweep = a_sweep(30_000, VOXEL_M)
    found: dict[str, Any] = {}
    for number in threads:
        torch.set_num_threads(number)
        for name in ("minkunet", "spvcnn"):
            config = TrainConfig(architecture=name, voxel_m=VOXEL_M)
            found[f"{name}, {number} thread{'s' * (number > 1)}"] = measure(*sweep, config, "cpu", repeats)
    for width, height in PICTURES:
        for window_px in (0, 128):
            config = TrainConfig(batch=4, window_px=window_px)
            cut = f"windows of {window_px}" if window_px else "whole"
            found[f"unet2d, {width}x{height}, {cut}"] = measure(
                *a_picture(width, height), config, "cpu", repeats, "unet2d"
            )
    return found


def on_gpu(repeats: int) -> dict[str, Any]:
    """The full-width MinkUNet on 100,000 voxels (a finer grid), by precision and backend."""
    sweep = a_sweep(100_000, 0.05)
    backends = ["torch"] + ["spconv"] * (importlib.util.find_spec("spconv") is not None)
    found: dict[str, Any] = {"device": torch.cuda.get_device_name()}
    for backend in backends:
        for precision in ("float32", "bfloat16"):
            config = TrainConfig(width=1.0, blocks=2, voxel_m=0.05, backend=backend, precision=precision)
            key = f"{backend}, {precision}"
            try:
                found[key] = measured = measure(*sweep, config, "cuda", repeats)
            except Exception as error:  # one backend that fails must not cost the others' figures
                found[key] = {"error": str(error).splitlines()[0]}
                continue
            measured["training_sweeps_per_second"] = round(1e3 / measured["training_step"]["median_ms"], 2)
            measured["inference_sweeps_per_second"] = round(1e3 / measured["inference"]["median_ms"], 2)
    return found


def main() -> None:
    """Print all figures as JSON, and write them where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", help="also write the figures here")
    parser.add_argument("--repeats", type=int, default=20, help="runs of each measurement")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="torch threads to measure with")
    options = parser.parse_args()
    figures: dict[str, Any] = {
        "machine": {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count()},
        "torch": torch.__version__,
        "load_before": [round(value, 2) for value in os.getloadavg()],
        "cpu": on_cpu(options.repeats, tuple(options.threads)),
        "load_after": [round(value, 2) for value in os.getloadavg()],
    }
    if torch.cuda.is_available():
        figures["gpu"] = on_gpu(options.repeats)
    print(json.dumps(figures, indent=2))
    if options.json:
        write_json(options.json, figures)


if __name__ == "__main__":
    main()
