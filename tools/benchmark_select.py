# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Measure choosing from many units: `python tools/benchmark_select.py --json out.json` (some minutes on two cores).

D2ADA: densities of 400,000 target units of 96 features in 40 scenes against as many source units, 19 classes of which the
commonest has a third of the units, and the whole choice by `d2ada` on top. Wall and processor seconds, the process's
largest memory and the machine's load stand side by side: on a busy machine only the last three mean much. Nothing here is
asserted: it reports.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
from collections.abc import Callable
from time import perf_counter, process_time
from typing import Any

import numpy as np

from lidal3d.config import Config
from lidal3d.files import write_json
from lidal3d.scores.density_ratio import Domain, density_ratio
from lidal3d.scores.table import ScoreTable
from lidal3d.select.history import History
from lidal3d.settings.d2ada import D2adaConfig
from lidal3d.strategies import STRATEGIES, UnitPool

CLASSES, FEATURES, SCENES, UNITS_A_FRAME = 19, 96, 40, 100
CHUNK = 20_000


def a_pool(units: int, shift: float, seed: int, prefix: str) -> UnitPool:
    """Units whose features are clusters a class, of 20 latent dimensions, moved by `shift` deviations."""
    rng = np.random.default_rng(seed)
    world = np.random.default_rng(0)  # the same classes in both domains
    basis, centers = world.normal(size=(20, FEATURES)), 2 * world.normal(size=(CLASSES, 3, 20))
    share = 1 / np.arange(1, CLASSES + 1)
    category = rng.choice(CLASSES, units, p=share / share.sum())
    features = np.empty((units, FEATURES), np.float32)
    for first in range(0, units, CHUNK):
        some = category[first : first + CHUNK]
        latent = rng.normal(size=(len(some), 20)) + centers[some, rng.integers(0, 3, len(some))] + shift
        features[first : first + CHUNK] = latent @ basis + rng.normal(size=(len(some), FEATURES))
    probabilities = np.full((units, CLASSES), 0.1 / (CLASSES - 1), np.float32)
    probabilities[np.arange(units), category] = 0.9
    row, a_scene = np.arange(units), -(-units // SCENES)
    table = ScoreTable(
        scenes=tuple(f"{prefix}{scene:02d}" for scene in range(SCENES)),
        scene=(row // a_scene).astype(np.int32),
        frame=(row % a_scene // UNITS_A_FRAME).astype(np.int32),
        unit=(row % a_scene % UNITS_A_FRAME).astype(np.int32),
        points=rng.integers(50, 1500, units),
        center_m=rng.uniform(0, 2000, (units, 3)),
        scores={"softmax_entropy": rng.random(units), "is_key_frame": np.ones(units)},
        kind="supervoxels",
    )
    return UnitPool(table, features, probabilities)


def domain_of(pool: UnitPool, fold: np.ndarray) -> Domain:
    """All units of a pool, each of which counts."""
    category = pool.probability_rows.argmax(axis=1).astype(np.int64)
    nothing = np.zeros(len(pool), np.int64)
    return Domain(pool.feature_rows, category, fold, np.ones(len(pool), bool), nothing)


def measured(function: Callable[[], object]) -> dict[str, float]:
    """Wall and processor seconds of one run, and the largest memory of the process so far."""
    start, busy = perf_counter(), process_time()
    function()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    found = {"wall_s": perf_counter() - start, "cpu_s": process_time() - busy, "peak_mib": peak}
    return {name: round(value, 1) for name, value in found.items()}


def d2ada(units: int, source_units: int) -> dict[str, Any]:
    """Densities alone, and the whole choice."""
    target, source = a_pool(units, 0.3, 1, "t"), a_pool(source_units, 0.0, 2, "s")
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    small = domain_of(
        UnitPool(target.table.take(np.arange(2000)), *(a[:2000] for a in arrays(target))), np.arange(2000) % 5
    )
    density_ratio(small, small, CLASSES, D2adaConfig(), np.random.default_rng(0))  # compiles
    domains = domain_of(source, np.full(len(source), -1)), domain_of(target, target.table.scene.astype(np.int64) % 5)
    rng = np.random.default_rng(0)
    densities = measured(lambda: density_ratio(*domains, CLASSES, D2adaConfig(), rng))
    config = Config().updated({"select": {"budget": "1%"}})
    choice = measured(
        lambda: STRATEGIES["d2ada"].choose(
            target, config, lambda scene, frame: (str(frame), frame), History(), rng, source
        )
    )
    return {
        "target_units": units, "source_units": source_units, "features": FEATURES, "peak_mib_before": round(held, 1),
        "densities": densities, "choice": choice,
    }  # fmt: skip


def arrays(pool: UnitPool) -> tuple[np.ndarray, np.ndarray]:
    """Features and probabilities."""
    return pool.feature_rows, pool.probability_rows


def main() -> None:
    """Print all figures as JSON, and write them where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", help="also write the figures here")
    parser.add_argument("--units", type=int, default=400_000, help="of the target")
    parser.add_argument("--source-units", type=int, default=400_000, help="of the source")
    options = parser.parse_args()
    figures: dict[str, Any] = {
        "machine": {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count()},
        "load_before": [round(value, 2) for value in os.getloadavg()],
        "d2ada": d2ada(options.units, options.source_units),
        "load_after": [round(value, 2) for value in os.getloadavg()],
    }
    print(json.dumps(figures, indent=2))
    if options.json:
        write_json(options.json, figures)


if __name__ == "__main__":
    main()
