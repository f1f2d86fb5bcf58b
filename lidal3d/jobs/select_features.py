# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""The job behind `lidal3d select-features`: choose from bare files of features, with no drive at hand.

FEATURES.npy     (N, E), or (N, K, E) with rows of NaN where a unit has fewer than K patterns; any float; read in pieces
IDS.txt          N lines, what each unit is called; without it units are called by their row
CHOSEN.csv       rank, id, distance: the first is asked first, and any beginning of it is a smaller choice
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lidal3d.errors import DataError, UsageError
from lidal3d.files import write_text
from lidal3d.select.account import Account
from lidal3d.select.cover import Cover, VectorSet
from lidal3d.select.kcenter import farthest_units, nearest_to_mean, one_each
from lidal3d.select.patterns import PatternCover, drawn_units, pattern_set

RULES = ("prob", "FDS", "kcenter")
_ROWS = 4096

Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True)
class ChosenUnits:
    """Units in the order of asking, and how far each was from all before it.

    Attributes:
        ids: what they are called.
        distance: cosine distance of the farthest pattern (prob, FDS), or distance of the mean feature (kcenter).
        pool: how many could be chosen.
        empty: how many have no pattern at all.
    """

    ids: tuple[str, ...]
    distance: tuple[float, ...]
    pool: int
    empty: int


def select_features(
    features: Sequence[Path],
    out: Path,
    budget: int,
    ids: Path | None = None,
    labelled: Path | None = None,
    rule: str = "prob",
    seed: int = 0,
    tick: Callable[[], None] = lambda: None,
) -> ChosenUnits:
    """Choose units of some feature files and write them to `out`.

    Args:
        features: of the same units, row for row: the distances of several files are added up (`select/patterns.py`).
        budget: how many.
        ids, labelled: text files, one id a line; what is labelled is covered and not chosen.
        rule: prob (FreeSel), FDS (GEAL's first version), or kcenter on the mean of each unit's patterns.
        seed: of all chance.
        tick: called for each unit chosen.

    Raises:
        DataError: a file that is missing, no array of features, of other units than the others, or with bad numbers.
        UsageError: no such rule, or a budget above the pool.
    """
    if rule not in RULES:
        raise UsageError(f"no rule '{rule}' (known: {', '.join(RULES)})")
    if rule == "kcenter" and len(features) > 1:
        raise UsageError(f"kcenter takes one feature file, {len(features)} are given; take prob or FDS")
    arrays = [_open(path) for path in features]
    units = len(arrays[0])
    for path, array in zip(features, arrays, strict=True):
        if len(array) != units:
            raise DataError(f"{path}: {len(array)} units, {features[0]} has {units}; give files of the same units")
    names = _names(ids, units)
    seen = _rows_of(labelled, names)
    sets, shown = _sets(rule, arrays)
    able = shown.copy()
    able[seen] = False
    if not 1 <= budget <= able.sum():
        raise UsageError(f"the pool has {able.sum()} units to choose from, {budget} requested; change the budget")
    account = _Told(np.where(able, 1, budget + 1), budget, tick)
    seen = seen[shown[seen]]
    order, distance = _choose(rule, sets, seen, account, np.random.default_rng(seed))
    chosen = ChosenUnits(
        tuple(names[row] for row in order.tolist()), tuple(distance), int(able.sum()), int((~shown).sum())
    )
    lines = (
        f"{rank},{name},{far:.6g}" for rank, (name, far) in enumerate(zip(chosen.ids, chosen.distance, strict=True), 1)
    )
    write_text(out, "\n".join(["rank,id,distance", *lines]) + "\n")
    return chosen


class _Told(Account):
    """An account of units that cost one each, or more than there is; somebody is told of every one taken."""

    def __init__(self, cost: Int64, budget: int, tick: Callable[[], None]) -> None:
        super().__init__(cost, np.zeros(len(cost), np.int64), 0, budget)
        self._tick = tick

    def take(self, row: int) -> None:
        super().take(row)
        self._tick()


def _sets(rule: str, arrays: Sequence[npt.NDArray[np.floating]]) -> tuple[list[VectorSet], npt.NDArray[np.bool_]]:
    """What is covered, and (N,) which units show anything."""
    if rule == "kcenter":
        means = _means(arrays[0])
        shown = np.isfinite(means[:, 0])
        means[~shown] = 0  # these are never chosen; they only must not spoil the others' numbers
        return [one_each(means)], shown
    sets = [pattern_set(array) for array in arrays]
    return sets, np.stack([one.counts for one in sets]).sum(axis=0) > 0


def _choose(
    rule: str, sets: Sequence[VectorSet], labelled: Int64, account: Account, rng: np.random.Generator
) -> tuple[Int64, Sequence[float]]:
    if rule == "kcenter":
        features = sets[0].vectors
        cover = Cover(sets)
        cover.cover([features[labelled]])
        able = np.flatnonzero(account.fits())
        order, value = farthest_units(cover, account, int(able[nearest_to_mean(features[able])]))
        return order, np.sqrt(value[order]).tolist()
    patterns = PatternCover(sets)
    patterns.cover(
        [np.concatenate([one.vectors[:0], *(one.of_unit(row) for row in labelled.tolist())]) for one in sets]
    )
    if rule == "prob":
        return drawn_units(patterns, account, rng), patterns.reached
    order, _ = farthest_units(patterns, account, int(rng.choice(np.flatnonzero(account.fits()))))
    return order, patterns.reached


def _open(path: Path) -> npt.NDArray[np.floating]:
    """The array, unread. Raises DataError."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; give features as .npy, (N, E) or (N, K, E)") from None
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: not a whole .npy array ({str(error).splitlines()[0]})") from None
    if array.ndim not in (2, 3) or not np.issubdtype(array.dtype, np.floating) or not array.size:
        raise DataError(f"{path}: {array.dtype} of shape {array.shape}, expected floats (N, E) or (N, K, E)")
    bad = 0
    for first in range(0, len(array), _ROWS):
        finite = np.isfinite(array[first : first + _ROWS])
        bad += int((finite.any(axis=-1) & ~finite.all(axis=-1)).sum())
        bad += int(np.isinf(array[first : first + _ROWS]).all(axis=-1).sum())
    if bad:
        raise DataError(
            f"{path}: {bad} of {array.size // array.shape[-1]} vectors have numbers that are not finite; padding is NaN "
            "in all of a vector, so make the features again"
        )
    return array


def _means(array: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """(N, E) the mean of each unit's patterns; NaN where it has none."""
    result = np.full((len(array), array.shape[-1]), np.nan, np.float32)
    for first in range(0, len(array), _ROWS):
        some = np.asarray(array[first : first + _ROWS], np.float64).reshape(-1, *array.shape[1:])
        some = some if some.ndim == 3 else some[:, None]
        known = np.isfinite(some[..., 0])
        count = known.sum(axis=1)
        total = np.where(known[..., None], some, 0).sum(axis=1)
        result[first : first + _ROWS][count > 0] = (total[count > 0] / count[count > 0, None]).astype(np.float32)
    return result


def _names(path: Path | None, units: int) -> list[str]:
    if path is None:
        return [str(row) for row in range(units)]
    names = _lines(path)
    if len(names) != units:
        raise DataError(f"{path}: {len(names)} ids for {units} units; give one a line")
    if len(set(names)) != units:
        twice = Counter(names).most_common(1)[0][0]
        raise DataError(f"{path}: the id '{twice}' stands for two units; ids must differ")
    if any("," in name for name in names):
        raise DataError(f"{path}: an id has a comma in it; the chosen ones are written as CSV")
    return names


def _rows_of(path: Path | None, names: Sequence[str]) -> Int64:
    if path is None:
        return np.empty(0, np.int64)
    place = {name: row for row, name in enumerate(names)}
    found = _lines(path)
    unknown = [name for name in found if name not in place]
    if unknown:
        raise DataError(
            f"{path}: {len(unknown)} of {len(found)} ids are no units of the pool, '{unknown[0]}' the first"
        )
    return np.unique(np.array([place[name] for name in found], np.int64))


def _lines(path: Path) -> list[str]:
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not a readable text file ({error}); give one id a line") from None
