# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""What an experiment measured: rows collected from its stages' files, metrics.csv, metrics_full.csv."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lidal3d.rounds.carry import carried_points
from lidal3d.rounds.config import ExperimentConfig
from lidal3d.rounds.ledger import Ledger
from lidal3d.rounds.links import EVALUATION_FILE, round_folder, seed_folder
from lidal3d.rounds.record import Record, by_people, pseudo_of_last_round
from lidal3d.rounds.world import World
from lidal3d.settings.select import SelectConfig

COLUMNS = (
    "strategy",
    "seed",
    "round",
    "labelled_points_fraction",
    "pseudo_points_fraction",
    "miou",
    "full_supervision_miou",
)
MORE_COLUMNS = (
    "labelled_points",
    "pseudo_points",
    "carried_points",
    "frames",
    "units",
    "seconds",
    "pool_points",
    "pool_frames",
)


@dataclass(frozen=True)
class Measured:
    """One model: a strategy's, with a seed, after a round.

    Attributes:
        strategy, seed, round: which.
        labelled_points, pseudo_points: that people labelled so far, and that are assumed in this round.
        carried_points: that got a person's label of another sweep in this round, see `lidal3d.rounds.carry`.
        frames, units: that people touched so far; a unit may be a region, a frame or a box.
        seconds: of labelling so far, as `select.seconds_per_unit` and `seconds_per_1000_points` reckon.
        pool_points, pool_frames: all there are.
        miou: on the validation scenes.
        iou: class -> IoU, None for a class that is neither there nor predicted.
        full_miou: of the model that saw all labels; NaN where it wasn't trained.
    """

    strategy: str
    seed: int
    round: int
    labelled_points: int
    pseudo_points: int
    carried_points: int
    frames: int
    units: int
    seconds: float
    pool_points: int
    pool_frames: int
    miou: float
    iou: dict[str, float | None]
    full_miou: float

    @property
    def labelled_fraction(self) -> float:
        """Share of the training points that people labelled."""
        return self.labelled_points / self.pool_points

    @property
    def pseudo_fraction(self) -> float:
        """Share of the training points that have a label which nobody gave them: assumed or carried."""
        return (self.pseudo_points + self.carried_points) / self.pool_points


def collect(experiment: ExperimentConfig, out: Path, world: World) -> list[Measured]:
    """All rows of a finished experiment, by strategy (as the file names them), seed and round."""
    frames = world.labelled_train_frames()
    pool = sum(len(frame.points()) for frame in frames), len(frames)
    return [
        row
        for strategy in experiment.strategies
        for seed in experiment.seeds
        for row in _of_chain(experiment, out, world, strategy, seed, pool)
    ]


def _of_chain(
    experiment: ExperimentConfig, out: Path, world: World, strategy: str, seed: int, pool: tuple[int, int]
) -> list[Measured]:
    ledger = Ledger.open(seed_folder(out, seed) / strategy / "ledger.jsonl", world.train)
    config = experiment.settings_of(strategy).select
    full = seed_folder(out, seed) / "full" / EVALUATION_FILE
    full_miou = float(json.loads(full.read_text())["miou"]) if experiment.full_supervision else float("nan")
    rows = []
    for number in range(experiment.rounds + 1):
        folder = round_folder(out, seed, strategy, number)
        found = json.loads((folder / EVALUATION_FILE).read_text())
        known = [record for record in ledger.records if record.round <= number]
        people, pseudo = by_people(known), pseudo_of_last_round([r for r in known if r.round == number])
        rows.append(
            Measured(
                strategy=strategy,
                seed=seed,
                round=number,
                labelled_points=sum(record.points for record in people),
                pseudo_points=sum(record.points for record in pseudo),
                carried_points=carried_points(folder),
                frames=len({(record.scene, record.frame) for record in people}),
                units=len(people),
                seconds=labelling_seconds(people, config),
                pool_points=pool[0],
                pool_frames=pool[1],
                miou=float(found["miou"]),
                iou=found["iou"],
                full_miou=full_miou,
            )
        )
    return rows


def labelling_seconds(records: Sequence[Record], config: SelectConfig) -> float:
    """Seconds of labelling: a fixed time a unit and a time for its points."""
    points = sum(record.points for record in records)
    return len(records) * config.seconds_per_unit + points / 1000 * config.seconds_per_1000_points


def metrics_csv(rows: Sequence[Measured]) -> str:
    """The rows with exactly the columns of COLUMNS."""
    return _csv(COLUMNS, [_basic(row) for row in rows])


def full_csv(rows: Sequence[Measured]) -> str:
    """The rows with all that was measured, a column a class."""
    classes = list(rows[0].iou) if rows else []
    lines = [
        [*_basic(row), *(getattr(row, name) for name in MORE_COLUMNS), *(_number(row.iou[name]) for name in classes)]
        for row in rows
    ]
    return _csv([*COLUMNS, *MORE_COLUMNS, *(f"iou_{name}" for name in classes)], lines)


def _basic(row: Measured) -> list[object]:
    numbers = (row.labelled_fraction, row.pseudo_fraction, row.miou, row.full_miou)
    return [row.strategy, row.seed, row.round, *map(_number, numbers)]


def _number(value: float | None) -> str:
    return "" if value is None or value != value else f"{value:.6f}"


def _csv(header: Sequence[str], lines: Sequence[Sequence[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(lines)
    return text.getvalue()
