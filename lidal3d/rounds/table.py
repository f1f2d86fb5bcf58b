# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""The table of an experiment, as text: the same in the terminal and in table.txt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from lidal3d.rounds.results import Measured
from lidal3d.rounds.statistics import area_under_curve, labels_needed, mean_and_band, paired_difference, win_matrix

TARGETS = (0.85, 0.90, 0.95)


@dataclass(frozen=True)
class Curves:
    """The rows of an experiment, by strategy and seed.

    Attributes:
        strategies, seeds: in their order.
        rows: (strategy, seed) -> its rounds, from 0.
    """

    strategies: tuple[str, ...]
    seeds: tuple[int, ...]
    rows: dict[tuple[str, int], list[Measured]]

    @classmethod
    def of(cls, rows: Sequence[Measured]) -> Curves:
        """Group rows."""
        grouped: dict[tuple[str, int], list[Measured]] = {}
        for row in sorted(rows, key=lambda row: row.round):
            grouped.setdefault((row.strategy, row.seed), []).append(row)
        strategies, seeds = (tuple(dict.fromkeys(getattr(row, name) for row in rows)) for name in ("strategy", "seed"))
        return cls(strategies, seeds, grouped)

    def over_seeds(self, strategy: str, value: Callable[[list[Measured]], float]) -> list[float]:
        """A number of each seed's curve."""
        return [value(self.rows[strategy, seed]) for seed in self.seeds]

    @property
    def rounds(self) -> int:
        """How many rounds, the initial one not counted."""
        return max(row.round for rows in self.rows.values() for row in rows)

    def full_miou(self) -> list[float]:
        """The full-supervision mIoU of every seed."""
        return [self.rows[self.strategies[0], seed][0].full_miou for seed in self.seeds]

    def outcomes(self) -> dict[str, dict[tuple[int, int], float]]:
        """strategy -> (seed, round) -> mIoU, without the round 0 that all share."""
        return {
            name: {(row.seed, row.round): row.miou for seed in self.seeds for row in self.rows[name, seed] if row.round}
            for name in self.strategies
        }


def table_text(name: str, rows: Sequence[Measured], warnings: Sequence[str] = (), notes: Sequence[str] = ()) -> str:
    """The whole table: warnings come before the numbers, notes after them."""
    curves = Curves.of(rows)
    one = rows[0]
    parts = [
        f"{name}: {_count(len(curves.seeds), 'seed')}, {_count(curves.rounds, 'round')}, pool {one.pool_points:,} points "
        f"in {one.pool_frames} frames. mIoU in percent on the validation scenes, mean ± 95 % interval over seeds.",
        *warnings,
        _miou_block(curves),
        _needed_block(curves),
        _win_block(curves),
        *notes,
    ]
    return "\n\n".join(parts)


def _miou_block(curves: Curves) -> str:
    header = ["strategy", *(f"round {k}" for k in range(curves.rounds + 1)), "area under curve", "labelled", "pseudo"]
    lines = []
    for name in curves.strategies:
        by_round = [
            _mean(curves.over_seeds(name, lambda rows, k=k: 100 * rows[k].miou))  # type: ignore[misc]
            for k in range(curves.rounds + 1)
        ]
        area = _mean(curves.over_seeds(name, lambda rows: 100 * _area(rows)))
        labelled = np.mean(curves.over_seeds(name, lambda rows: 100 * rows[-1].labelled_fraction))
        pseudo = np.mean(curves.over_seeds(name, lambda rows: 100 * rows[-1].pseudo_fraction))
        lines.append([name, *by_round, area, f"{labelled:.2f} %", f"{pseudo:.2f} %"])
    full = [100 * value for value in curves.full_miou()]
    if not np.isnan(full).any():
        lines.append(["full supervision", _mean(full), *[""] * curves.rounds, "", "100 %", ""])
    return columns([header, *lines])


def _needed_block(curves: Curves) -> str:
    header = ["labels needed for", *(f"{100 * target:.0f} % of full" for target in TARGETS)]
    if np.isnan(curves.full_miou()).any():
        return "labels needed: unknown, full supervision was not trained"
    lines = [[name, *(_needed(curves, name, target) for target in TARGETS)] for name in curves.strategies]
    return columns([header, *lines])


def _needed(curves: Curves, name: str, target: float) -> str:
    found = [needed_fraction(curves.rows[name, seed], target) for seed in curves.seeds]
    reached = [100 * value for value in found if value is not None]
    if not reached:
        return "not reached"
    mean = f"{np.mean(reached):.2f} %"
    return mean if len(reached) == len(found) else f"{mean} ({len(reached)} of {len(found)} seeds)"


def needed_fraction(rows: Sequence[Measured], target: float) -> float | None:
    """The share of labelled points at which a curve first reaches `target` · full supervision, on straight pieces."""
    return labels_needed(
        [row.labelled_fraction for row in rows], [row.miou for row in rows], target * rows[0].full_miou
    )


def _win_block(curves: Curves) -> str:
    wins, pairs = win_matrix(curves.outcomes(), curves.strategies)
    header = ["row beats column", *curves.strategies, "mean lead over"]
    lines = []
    for i, name in enumerate(curves.strategies):
        cells = ["-" if i == j else f"{wins[i, j]:g} of {pairs[i, j]}" for j in range(len(curves.strategies))]
        lines.append([name, *cells, _leads(curves, name)])
    return columns([header, *lines]) + "\n(paired by seed and round from round 1 on; a tie counts one half)"


def _leads(curves: Curves, name: str) -> str:
    first = curves.strategies[0]
    if name == first:
        return ""
    mean, band = paired_difference(curves.outcomes(), name, first)
    return f"{first} {100 * mean:+.2f}" + ("" if np.isnan(band) else f" ± {100 * band:.2f}")


def _area(rows: Sequence[Measured]) -> float:
    return area_under_curve([row.labelled_fraction for row in rows], [row.miou for row in rows])


def _mean(values: Sequence[float]) -> str:
    mean, band = mean_and_band(values)
    return f"{mean:.2f}" if np.isnan(band) else f"{mean:.2f} ± {band:.2f}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def columns(lines: Sequence[Sequence[str]]) -> str:
    """Lines of cells as text, the first column flush left and the others flush right."""
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if place == 0 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
