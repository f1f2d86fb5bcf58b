# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Measure choosing by coverage: `python tools/benchmark_geal.py --json out.json` (some minutes and 5 GB on two cores).

10,000 of 100,000 images × 5 patterns × 384 dimensions by `prob` and `FDS`, and by k-center on the mean of each image's
patterns, all from one feature file, each in a process of its own. Features of a real ViT can't be had everywhere, so two
made-up pools stand for what they may be:

    drives      500 drives of 200 images: 300 themes, of which a drive shows 20 that drift from image to image, in 384
                dimensions whose spread falls as 1/√(1 + i), and noise as long as a third of it
    noise       no two patterns are alike: the worst case, in which nothing can be ruled out by a few axes

Wall and processor seconds, the process's largest memory (pages of the feature file included) and the machine's load stand
side by side: on a busy machine only processor seconds mean much. Nothing here is asserted: it reports.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from lidal3d.files import write_json
from lidal3d.jobs.select_features import RULES, select_features

DRIVES, THEMES, THEMES_A_DRIVE, CHUNK = 500, 300, 20, 1000


def write_pool(kind: str, path: Path, images: int, patterns: int, width: int) -> None:
    """A feature file (images, patterns, width) float32."""
    rng = np.random.default_rng(0)
    spread = 1 / np.sqrt(1 + np.arange(width)) if kind == "drives" else np.ones(width)
    turn = np.linalg.qr(rng.normal(size=(width, width)))[0]
    themes = rng.normal(size=(THEMES, width)) * spread
    a_drive = -(-images // DRIVES)
    out = np.lib.format.open_memmap(path, "w+", np.float32, (images, patterns, width))
    for first in range(0, images, CHUNK):
        count = min(CHUNK, images - first)
        drive = (np.arange(first, first + count) // a_drive)[:, None]
        shape = (count, patterns, width)
        found = rng.normal(size=shape) * spread
        if kind == "drives":
            theme = (drive * 7919 + rng.integers(0, THEMES_A_DRIVE, shape[:2]) * 104729) % THEMES
            drift = np.sin((np.arange(first, first + count) % a_drive)[:, None] / a_drive * np.pi + theme)
            found = themes[theme] * (1 + 0.2 * drift[..., None]) + 0.33 * found
        out[first : first + count] = found @ turn
    out.flush()


def one_run(path: Path, rule: str, budget: int) -> None:
    """Choose in this process and print what it took."""
    small = path.with_name("small.npy")
    # Reads the compiled loops, or compiles them.
    for warm in RULES:
        select_features([small], path.with_name("small.csv"), 20, rule=warm)
    start, before = perf_counter(), os.times()
    chosen = select_features([path], path.with_name(f"{rule}.csv"), budget, rule=rule)
    after = os.times()
    found = {
        "wall_s": perf_counter() - start,
        "cpu_s": after.user + after.system - before.user - before.system,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "last_distance": chosen.distance[-1],
    }
    print(json.dumps({name: round(value, 3) for name, value in found.items()}))


def measured(path: Path, rule: str, budget: int, times: int) -> dict[str, Any]:
    """All runs of a rule, and their medians."""
    command = [sys.executable, __file__, "--one", str(path), "--rule", rule, "--budget", str(budget)]
    runs = []
    for _ in range(times):
        runs.append(json.loads(subprocess.run(command, check=True, capture_output=True).stdout))
        print(path.stem, rule, runs[-1], file=sys.stderr, flush=True)
    return {"median": {name: statistics.median(run[name] for run in runs) for name in runs[0]}, "runs": runs}


def main() -> None:
    """Print all figures as JSON, and write them where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", help="also write the figures here")
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--patterns", type=int, default=5)
    parser.add_argument("--width", type=int, default=384)
    parser.add_argument("--budget", type=int, default=10_000)
    parser.add_argument("--times", type=int, default=3, help="runs of each rule, for a median")
    parser.add_argument("--pool", choices=("drives", "noise"), action="append", help="both where none is named")
    parser.add_argument("--rule", choices=RULES, action="append", help="all where none is named")
    parser.add_argument("--folder", type=Path, help="for the feature files; a temporary one where none is named")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        one_run(options.one, options.rule[0], options.budget)
        return
    figures: dict[str, Any] = {
        "machine": {"processor": platform.processor() or platform.machine(), "cores": len(os.sched_getaffinity(0))},
        "pool": [options.images, options.patterns, options.width],
        "budget": options.budget,
        "load_before": [round(value, 2) for value in os.getloadavg()],
    }
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        np.save(Path(folder) / "small.npy", np.random.default_rng(0).normal(size=(50, 5, options.width)))
        for pool in options.pool or ("drives", "noise"):
            path = Path(folder) / f"{pool}.npy"
            write_pool(pool, path, options.images, options.patterns, options.width)
            rules = options.rule or RULES
            figures[pool] = {rule: measured(path, rule, options.budget, options.times) for rule in rules}
            path.unlink()
    figures["load_after"] = [round(value, 2) for value in os.getloadavg()]
    print(json.dumps(figures, indent=2))
    if options.json:
        write_json(Path(options.json), figures)


if __name__ == "__main__":
    main()
