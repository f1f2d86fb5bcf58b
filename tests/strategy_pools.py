# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Pools of scored units for the tests of strategies."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lidal3d.config import Config
from lidal3d.scores.columns import NAMES
from lidal3d.scores.table import ScoreTable
from lidal3d.strategies import UnitPool
from lidal3d.strategies.pool import ARRAYS

CLASSES = 4
UNITS_A_FRAME = 8
TENTH = Config().updated(
    {"select": {"budget": "10%"}, "pseudo": {"budget": "5%"}, "vaal": {"steps": 3, "least_active": 0}}  # quick
)


def frame_facts(scene: str, frame: int) -> tuple[str, int]:
    """Frames two seconds apart."""
    return f"{scene}-{frame:04d}", 2_000_000_000 * frame


def with_budget(budget: str) -> Config:
    return TENTH.updated({"select": {"budget": budget}})


def pool_of(seed: int = 0, units: int = 240, kind: str = "grid") -> UnitPool:
    """Three scenes, 8 units a frame, every fourth frame no key frame; every score known, some units unmatched."""
    rng = np.random.default_rng(seed)
    row = np.arange(units)
    frame = (row // UNITS_A_FRAME) % 10
    coverage = np.where(row % 9 == 4, 0.0, rng.uniform(0.2, 1, units))
    scores = {
        "divergence": np.where(coverage > 0, rng.gamma(0.3, 0.2, units), np.nan),
        "divergence_paper": rng.gamma(0.3, 0.2, units),
        "entropy": rng.random(units),
        "entropy_unmatched": rng.random(units),
        "coverage": coverage,
        "matches": 20 * coverage,
        "predicted_class": rng.integers(0, CLASSES, units).astype(float),
        "range_m": rng.uniform(2, 60, units),
        "is_key_frame": (frame % 4 != 1).astype(float),
        # Two units of a track in each scene, and some units without one; drawn apart, so that no other score changes.
        "track": np.where(row % 5 == 0, -1, row % 40).astype(float),
        "track_disagreement": np.random.default_rng(seed + 1).integers(0, 8, units) / 8.0,
        "predicted_loss": np.random.default_rng(seed + 3).normal(size=units),
        "temporal_discrepancy": np.random.default_rng(seed + 4).beta(0.3, 3, units),
        "pretext_loss": np.random.default_rng(seed + 2).gamma(0.5, 1.0, units),
        "distance_to_uniform": np.random.default_rng(seed + 5).uniform(0, 0.5, units),
        **{name: rng.random(units) for name in NAMES if name != "distance_to_uniform"},
    }
    table = ScoreTable(
        scenes=("a", "b", "c"),
        scene=(row // 80 % 3).astype(np.int32),
        frame=frame.astype(np.int32),
        unit=(row % UNITS_A_FRAME).astype(np.int32),
        points=rng.integers(12, 60, units),
        center_m=rng.uniform(0, 150, (units, 3)) * [1, 1, 0.01],
        scores=scores,
        kind=kind,
        metadata={"classes": ["car", "person", "road", "pole"]},
    )
    features = rng.normal(size=(units, 6)).astype(np.float32)
    probabilities = rng.dirichlet(np.full(CLASSES, 0.5), units).astype(np.float32)
    # Drawn apart, so that no other number changes.
    embeddings = np.random.default_rng(seed + 2).normal(size=(units, 5)).astype(np.float32)
    patterns = np.random.default_rng(seed + 3).normal(size=(units, 3, 5)).astype(np.float32)
    patterns[row % 4 == 1, 1:] = np.nan
    return UnitPool(table, features, probabilities, embeddings, patterns)


def shuffled(pool: UnitPool, seed: int = 1) -> UnitPool:
    """The same units with scenes and rows in another order."""
    rows = np.random.default_rng(seed).permutation(len(pool))
    table = pool.table.take(rows)
    turned = replace(table, scenes=table.scenes[::-1], scene=(len(table.scenes) - 1 - table.scene).astype(np.int32))
    return UnitPool(turned, **rows_of_arrays(pool, rows))


def rows_of_arrays(pool: UnitPool, rows: np.ndarray) -> dict[str, np.ndarray | None]:
    """The arrays beside the table, of some rows."""
    arrays = {name: getattr(pool, name) for name in ARRAYS}
    return {name: None if array is None else array[rows] for name, array in arrays.items()}


def with_columns(pool: UnitPool, **columns: np.ndarray) -> UnitPool:
    return replace(pool, table=pool.table.with_scores(**columns))


def without(pool: UnitPool, column: str) -> UnitPool:
    kept = {name: values for name, values in pool.table.scores.items() if name != column}
    return replace(pool, table=replace(pool.table, scores=kept))
