# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Source and target of a strategy that compares two domains.

With a source pool, the source is its units and the target all units of the pool. Without one, the source is what is
labelled in the pool and the target what is not: classes that what is labelled doesn't cover stand out.
"""

from __future__ import annotations

import numpy as np

from lidal3d.errors import UsageError
from lidal3d.scores.density_ratio import Domain
from lidal3d.scores.folds import fold_numbers, one_a_place
from lidal3d.select.history import is_labelled
from lidal3d.select.quotas import strata
from lidal3d.strategies.combine import RANGE_EDGES_M
from lidal3d.strategies.pool import UnitPool
from lidal3d.strategies.spend import Int64
from lidal3d.strategies.strategy import HOW_TO_GET, Ask


def domains(ask: Ask) -> tuple[Domain, Domain, Int64]:
    """Source, target, and the rows (T,) of the pool that are the target's units.

    Raises:
        UsageError: nothing is labelled and no source is given, or a source of another model or without what is needed,
            or a model of one class.
    """
    if ask.pool.probability_rows.shape[1] < 2:
        raise UsageError(f"strategy '{ask.name}' compares classes, the model has one; train it with at least two")
    known = known_rows(ask.pool)
    if ask.source is None:
        labelled = is_labelled(ask.pool.table, ask.history)
        source_pool, of_source, target = ask.pool, known[labelled[known]], known[~labelled[known]]
    else:
        refuse_other_model(ask.name, ask.source, ask.pool)
        source_pool, of_source, target = ask.source, known_rows(ask.source), known
    if not len(of_source):
        raise UsageError(f"strategy '{ask.name}' needs labelled units to compare with; {HOW_TO_GET['source']}")
    return _domain(ask, source_pool, of_source, target), _domain(ask, ask.pool, target, target), target


def known_rows(pool: UnitPool) -> Int64:
    """Rows whose features and probabilities are known."""
    known = np.isfinite(pool.feature_rows).all(axis=1) & np.isfinite(pool.probability_rows).all(axis=1)
    return np.flatnonzero(known)


def refuse_other_model(name: str, source: UnitPool, pool: UnitPool) -> None:
    """Raise UsageError where a source can't be compared with the pool."""
    for fact, mine in pool.table.metadata.items():
        other = source.table.metadata.get(fact, mine)
        if fact in ("model", "classes") and other != mine:
            raise UsageError(
                f"strategy '{name}': the source was scored with {fact} {other}, the drive with {mine}; score both with the same model"
            )
    for what in ("features", "probabilities"):
        ours, theirs = getattr(pool, what), getattr(source, what)
        if theirs is None:
            raise UsageError(f"strategy '{name}' needs {what} of the source's units; score the source with them")
        if ours is not None and theirs.shape[1] != ours.shape[1]:
            raise UsageError(
                f"strategy '{name}': the source has {theirs.shape[1]} {what} a unit, the drive {ours.shape[1]}; "
                "score both with the same model"
            )


def _domain(ask: Ask, pool: UnitPool, rows: Int64, target: Int64) -> Domain:
    """Some rows of a pool as a domain; `target` are the target's rows of `ask.pool`."""
    settings, table, of = ask.config.d2ada, pool.table, ask.pool.table
    # Scenes by name: a source may hold some of the target's.
    numbers = {scene: number for number, scene in enumerate(of.scenes)}
    scene = np.array([numbers.get(name, len(numbers) + place) for place, name in enumerate(table.scenes)], np.int64)
    scene, frame = scene[table.scene[rows]], table.frame[rows].astype(np.int64)
    category = pool.probability_rows[rows].argmax(axis=1).astype(np.int64)
    range_m = table.score("range_m")[rows] if settings.range_strata else None
    return Domain(
        features=pool.feature_rows if len(rows) == len(pool) else pool.feature_rows[rows],
        category=category,
        fold=fold_numbers(
            scene, frame, of.scene[target].astype(np.int64), of.frame[target].astype(np.int64), settings.folds
        ),
        counted=one_a_place(scene, category, table.center_m[rows], table.points[rows], settings.place_m),
        stratum=np.zeros(len(rows), np.int64) if range_m is None else strata(range_m, RANGE_EDGES_M),
    )
