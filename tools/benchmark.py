# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Measure lidal3d's speed: `python tools/benchmark.py --json out.json` (about ten minutes on two cores).

Kernels run on one thread, on a simulated 64-beam drive of full sweeps with 24 neighbours and 19 classes. The measure is
compared with the same equations written plainly, one k-d tree a frame, in the same run. Every repeated figure is a
median. Nothing here is asserted: it reports.
"""

from __future__ import annotations

import os

# Before numpy: kernels are measured on one thread each; the simulator and the command line get the machine back.
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
for _name in _THREADS:
    os.environ.setdefault(_name, "1")

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from lidal3d.config import Config
from lidal3d.files import write_json
from lidal3d.interframe.match import match
from lidal3d.interframe.stream import LoadedFrame, load_frame, score_frame
from lidal3d.interframe.window import neighbour_frames
from lidal3d.predictions import PredictionStore
from lidal3d.scene.open import open_drive
from lidal3d.scene.pose import transform
from lidal3d.scene.scene import Scene
from lidal3d.scores.table import ScoreTable

CLASSES = 19
FRAMES = 50
SELECTION_REGIONS = 382_600  # SemanticKITTI's 19,130 training sweeps, 20 regions each


def seconds(function: Callable[[], Any], repeats: int = 5) -> float:
    """Median wall time of some runs, after one that warms up."""
    function()
    times = []
    for _ in range(repeats):
        start = perf_counter()
        function()
        times.append(perf_counter() - start)
    return statistics.median(times)


def simulator(folder: Path) -> dict[str, float]:
    """Write the drive that everything else uses; how many full labelled sweeps a second come without camera."""
    code = (
        "import sys, time; from lidal3d.sim import SimConfig, simulate, write_drive; from pathlib import Path\n"
        f"config = SimConfig(frames={FRAMES}, camera=False, seed=7)\n"
        "drive = simulate(config); drive.frame(0); start = time.perf_counter()\n"
        "[drive.frame(index) for index in range(1, 41)]\n"
        "print(40 / (time.perf_counter() - start))\n"
        "write_drive(config, Path(sys.argv[1]))\n"
    )
    # In a process of its own: ray casting uses every core, and its threads must not linger here.
    environment = {name: value for name, value in os.environ.items() if name not in _THREADS}
    run = [sys.executable, "-c", code, str(folder)]
    done = subprocess.run(run, capture_output=True, text=True, check=True, env=environment)
    return {"simulate_sweeps_per_second": float(done.stdout.split()[-1])}


def smooth_probabilities(xyz_scene: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Probabilities that vary in space and from view to view, as a network's do: (N, CLASSES) float32."""
    waves = np.random.default_rng(0).normal(size=(3, CLASSES)) * 0.5
    logits = 3 * np.sin(xyz_scene @ waves) + rng.normal(size=(len(xyz_scene), CLASSES))
    exponent = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (exponent / exponent.sum(axis=1, keepdims=True)).astype(np.float32)


def write_predictions(scene: Scene, folder: Path, dtype: type) -> PredictionStore:
    """Predictions for every frame."""
    store = PredictionStore(folder, tuple(f"class-{c}" for c in range(CLASSES)), "waves", 1)
    rng = np.random.default_rng(1)
    for frame in scene:
        xyz = transform(scene.scene_SE3_lidar[frame.index], frame.points()[:, :3])
        store.write(scene.id, frame.name, smooth_probabilities(xyz, rng).astype(dtype))
    store.write_header()
    return store


def plain_scores(scene: Scene, store: PredictionStore, frame: int, neighbours: list[int]) -> dict[str, Any]:
    """The released rule written plainly. Reading files is not in its time; one tree a sweep is, as a stream needs."""
    from scipy.special import kl_div
    from sklearn.neighbors import KDTree

    def load(index: int) -> tuple[np.ndarray, np.ndarray]:
        xyz = transform(scene.scene_SE3_lidar[index], scene[index].points()[:, :3])
        return xyz, store.probabilities(scene.id, scene[index].name).astype(np.float32)

    frames = {index: load(index) for index in [frame, *neighbours]}
    xyz, own = frames[frame]
    start = perf_counter()
    KDTree(xyz)
    elapsed = perf_counter() - start
    trees = {index: KDTree(frames[index][0]) for index in neighbours}
    start = perf_counter()
    total, mean, matches = np.zeros(len(xyz)), own.copy(), np.zeros(len(xyz), int)
    found = np.full((len(neighbours), len(xyz)), -1)
    for row, index in enumerate(neighbours):
        distance, nearest = trees[index].query(xyz, k=1, dualtree=False)
        hit = distance[:, 0] <= 0.1
        found[row, hit] = nearest[hit, 0]
        other = frames[index][1][nearest[hit, 0]]
        total[hit] += kl_div(own[hit] + 1e-5, other + 1e-5).sum(axis=1)
        mean[hit] += other
        matches += hit
    mean /= (1 + matches)[:, None]
    entropy = -(mean * np.log(np.maximum(mean, 1e-30))).sum(axis=1)
    elapsed += perf_counter() - start
    return {"divergence": total / np.maximum(matches, 1), "entropy": entropy, "found": found, "seconds": elapsed}


def interframe(scene: Scene, store: PredictionStore, suffix: str = "") -> dict[str, float]:
    """One sweep in the middle of the drive: ours, the plain way, the ratio, and whether they agree."""
    config = Config.preset("paper").interframe
    frame = len(scene) // 2
    neighbours = neighbour_frames(scene.world_SE3_lidar, config)[frame].tolist()
    window: dict[int, LoadedFrame] = {i: load_frame(scene, i, store, config)[2] for i in [frame, *neighbours]}
    own, others = window[frame], [window[i] for i in neighbours]
    load = seconds(lambda: load_frame(scene, frame, store, config), 9)
    read = seconds(lambda: (scene[frame].points(), store.probabilities(scene.id, scene[frame].name)), 9)
    matching = seconds(lambda: [match(own.grid, other.grid, config.radius_m) for other in others], 9)
    scoring = seconds(lambda: score_frame(own, others, CLASSES, config), 9)
    scores = score_frame(own, others, CLASSES, config)
    # Registering, checking, sorting and packing a sweep is ours to do once a sweep; reading it is anybody's.
    ours = scoring + load - read
    plain = [plain_scores(scene, store, frame, neighbours) for _ in range(3)]
    plain_seconds = statistics.median(run["seconds"] for run in plain)
    differing = 0
    for other, expected in zip(others, plain[0]["found"], strict=True):
        places = match(own.grid, other.grid, config.radius_m)
        mine = np.full(len(own.grid), -1)
        mine[own.grid.order] = np.where(places >= 0, other.grid.order[places], -1)
        differing += int((mine != expected).sum())
    errors = [np.abs(getattr(scores, name) - plain[0][name]).max() for name in ("divergence", "entropy")]
    return {
        f"interframe{suffix}_points": len(own.grid),
        f"interframe{suffix}_neighbours": len(neighbours),
        f"interframe{suffix}_seconds_per_sweep": ours,
        f"interframe{suffix}_seconds_matching": matching,
        f"interframe{suffix}_seconds_preparing": load - read,
        f"interframe{suffix}_plain_seconds_per_sweep": plain_seconds,
        f"interframe{suffix}_speedup": plain_seconds / ours,
        f"interframe{suffix}_different_matches": differing,
        f"interframe{suffix}_max_abs_difference": float(max(errors)),
    }


def units(scene: Scene) -> dict[str, float]:
    """Cutting one full sweep."""
    from lidal3d.units import make_partition

    points = scene[len(scene) // 2].points()
    result: dict[str, float] = {}
    for kind, key in (("kmeans", "kmeans_regions"), ("supervoxels", "supervoxels"), ("grid", "grid_cells")):
        partition = make_partition(Config().updated({"units": {"kind": kind}}).units)
        result[f"{key}_seconds_per_sweep"] = seconds(lambda cut=partition: cut(points))  # type: ignore[misc]
        result[f"{key}_per_sweep"] = int(partition(points).max()) + 1
    return result


def region_table() -> ScoreTable:
    """As many regions as SemanticKITTI's training set has, along ten drives, with scores that are smooth in space."""
    rng = np.random.default_rng(2)
    scenes, each = 10, SELECTION_REGIONS // 10
    frame = np.tile(np.repeat(np.arange(each // 20 + 1), 20)[:each], scenes).astype(np.int32)
    scene = np.repeat(np.arange(scenes), each).astype(np.int32)
    angle, reach = rng.uniform(0, 2 * np.pi, len(frame)), rng.gamma(2.0, 8.0, len(frame))
    center_m = np.column_stack(
        [frame * 1.0 + reach * np.cos(angle), reach * np.sin(angle), rng.normal(0, 0.5, len(frame))]
    )
    smooth = np.exp(np.sin(center_m[:, 0] / 15) + np.cos(center_m[:, 1] / 9))
    divergence = smooth * rng.gamma(3.0, 0.05, len(frame))
    entropy = smooth * rng.gamma(3.0, 0.1, len(frame))
    constant = dict.fromkeys(("matches", "confidence", "coverage", "is_key_frame"), np.ones(len(frame)))
    return ScoreTable(
        scenes=tuple(f"{s:02d}" for s in range(scenes)),
        scene=scene,
        frame=frame,
        unit=(np.arange(len(frame)) % each % 20).astype(np.int32),
        points=rng.integers(6000, 6200, len(frame)),
        center_m=center_m,
        scores={
            "divergence": divergence, "divergence_paper": divergence, "entropy": entropy, "entropy_unmatched": entropy,
            "predicted_class": rng.integers(0, CLASSES, len(frame)).astype(float), "range_m": reach, **constant,
        },
        kind="kmeans",
    )  # fmt: skip


def selection() -> dict[str, float]:
    """1 % of the points of SemanticKITTI's number of regions, 5 m apart."""
    from lidal3d.select.active import in_order, select_units

    table = region_table()

    def run(preset: str) -> Any:
        return select_units(in_order(table), Config.preset(preset).select, lambda scene, frame: (f"{frame:06d}", 0))

    return {
        f"select_seconds_{SELECTION_REGIONS}_regions": seconds(lambda: run("default")),
        f"select_seconds_{SELECTION_REGIONS}_regions_paper": seconds(lambda: run("paper")),
        "select_picks": len(run("default").picks),
    }


def looped_drive(drive: Path, predictions: Path, folder: Path, frames: int) -> tuple[Path, Path]:
    """The drive driven to and fro until it has `frames` frames: links to the same files, so 500 frames need no more disk."""
    order = [*range(FRAMES), *range(FRAMES - 2, 0, -1)]
    order = [order[i % len(order)] for i in range(frames)]
    source, target = drive / "sequences" / "00", folder / "drive" / "sequences" / "00"
    (target / "velodyne").mkdir(parents=True)
    (folder / "predictions" / "probabilities" / "00").mkdir(parents=True)
    poses = (source / "poses.txt").read_text().splitlines()
    (target / "poses.txt").write_text("".join(poses[i] + "\n" for i in order))
    (target / "times.txt").write_text("".join(f"{k / 10:.6e}\n" for k in range(frames)))
    (target / "calib.txt").write_bytes((source / "calib.txt").read_bytes())
    for k, i in enumerate(order):
        (target / "velodyne" / f"{k:06d}.bin").symlink_to(source / "velodyne" / f"{i:06d}.bin")
        link = folder / "predictions" / "probabilities" / "00" / f"{k:06d}.npy"
        link.symlink_to(predictions / "probabilities" / "00" / f"{i:06d}.npy")
    (folder / "predictions" / "predictions.yaml").write_bytes((predictions / "predictions.yaml").read_bytes())
    return folder / "drive", folder / "predictions"


# The peak of the process itself: what wait4 reports also counts its parent, from before the exec.
_RUN_AND_TELL_PEAK = """
import sys
from lidal3d.cli.main import main
try:
    main(sys.argv[1:])
finally:
    print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def score_command(drive: Path, predictions: Path, out: Path, workers: int) -> tuple[float, float]:
    """Wall seconds of `lidal3d score`, whole process, and its peak resident MB (without its workers')."""
    arguments = ["score", str(drive), "-p", str(predictions), "-o", str(out), "--workers", str(workers)]
    start = perf_counter()
    command = [sys.executable, "-c", _RUN_AND_TELL_PEAK, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return perf_counter() - start, int(done.stdout.split()[-1]) / 1024


def end_to_end(drive: Path, predictions: Path, folder: Path) -> dict[str, float]:
    """`lidal3d score` from disk to table: its memory at two lengths, and its speed with two workers."""
    result: dict[str, float] = {}
    for frames in (50, 500):
        looped = looped_drive(drive, predictions, folder / str(frames), frames)
        elapsed, peak = score_command(*looped, folder / f"out-{frames}", workers=1)
        result[f"peak_memory_mb_{frames}_frames"] = peak
        result[f"score_command_seconds_{frames}_frames"] = elapsed
    first, last = (result[f"score_command_seconds_{frames}_frames"] for frames in (50, 500))
    result["sweeps_per_second_one_worker"] = 450 / (last - first)
    elapsed, _ = score_command(
        *(folder / "500" / name for name in ("drive", "predictions")), folder / "out-2", workers=2
    )
    result["sweeps_per_second_end_to_end"] = 500 / elapsed
    return result


def main() -> None:
    """Run everything and print it; with --json also save it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", type=Path, help="save the figures here")
    parser.add_argument(
        "--only", nargs="*", choices=("interframe", "units", "selection", "end_to_end"), help="some parts"
    )
    arguments = parser.parse_args()
    wanted = arguments.only or ["interframe", "units", "selection", "end_to_end"]
    figures: dict[str, Any] = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        figures |= simulator(folder / "drive")
        scene = open_drive(folder / "drive")[0]
        # float32 is what the comparison is defined on; float16 is what `lidal3d predict` writes.
        if "interframe" in wanted:
            figures |= interframe(scene, write_predictions(scene, folder / "float32", np.float32))
        half = write_predictions(scene, folder / "float16", np.float16)
        if "interframe" in wanted:
            figures |= interframe(scene, half, "_float16")
        if "units" in wanted:
            figures |= units(scene)
        if "selection" in wanted:
            figures |= selection()
        if "end_to_end" in wanted:
            figures |= end_to_end(folder / "drive", folder / "float16", folder)
    print(json.dumps(figures, indent=2))
    if arguments.json:
        write_json(arguments.json, figures)


if __name__ == "__main__":
    main()
