# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Source and target of a strategy that compares two domains.

With a source pool, the source is its units and the target all units of the pool. Without one, the source is what is
labelled in the pool and the target what is not: classes that what is labelled doesn't cover stand out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from lidal3d.errors import UsageError
from lidal3d.scores.density_ratio import Domain
from lidal3d.scores.folds import fold_numbers, one_a_place
from lidal3d.scores.table import ScoreTable
from lidal3d.select.history import is_labelled
from lidal3d.select.quotas import strata
from lidal3d.strategies.combine import RANGE_EDGES_M
from lidal3d.strategies.pool import UnitPool
from lidal3d.strategies.spend import Int64
from lidal3d.strategies.strategy import HOW_TO_GET, Ask

COMPARED = ("features", "probabilities")
OF_PICTURES = ("image", "superpixels")


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


def known_rows(pool: UnitPool, arrays: Sequence[str] = COMPARED) -> Int64:
    """Rows of which all of some arrays of the pool are known."""
    return np.flatnonzero(np.all([np.isfinite(getattr(pool, name)).all(axis=1) for name in arrays], axis=0))


def logs_of(table: ScoreTable) -> npt.NDArray[np.str_]:
    """The drive log of each of a table's scenes: the cameras of a drive are scenes of one log."""
    pictures = table.kind in OF_PICTURES
    return np.array([name.rpartition(".")[0] or name if pictures else name for name in table.scenes], np.str_)


def refuse_other_model(name: str, source: UnitPool, pool: UnitPool, arrays: Sequence[str] = COMPARED) -> None:
    """Raise UsageError where a source can't be compared with the pool."""
    for fact, mine in pool.table.metadata.items():
        other = source.table.metadata.get(fact, mine)
        if fact in ("model", "classes") and other != mine:
            raise UsageError(
                f"strategy '{name}': the source was scored with {fact} {other}, the drive with {mine}; score both with the same model"
            )
    for what in arrays:
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
    # Logs by name: a source may hold some of the target's.
    names, of_names = logs_of(table), logs_of(of)
    logs = np.unique(np.concatenate([of_names, names]))
    log, of_log = (np.searchsorted(logs, some).astype(np.int64) for some in (names, of_names))
    scene, frame = log[table.scene[rows]], table.frame[rows].astype(np.int64)
    category = pool.probability_rows[rows].argmax(axis=1).astype(np.int64)
    range_m = table.score("range_m")[rows] if settings.range_strata else None
    return Domain(
        features=pool.feature_rows if len(rows) == len(pool) else pool.feature_rows[rows],
        category=category,
        fold=fold_numbers(scene, frame, of_log[of.scene[target]], of.frame[target].astype(np.int64), settings.folds),
        counted=one_a_place(scene, category, table.center_m[rows], table.points[rows], settings.place_m),
        stratum=np.zeros(len(rows), np.int64) if range_m is None else strata(range_m, RANGE_EDGES_M),
    )
