# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""The job behind `lidal3d experiment`: an experiment's file in, a results folder out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from lidal3d.config import configs_folder
from lidal3d.errors import UsageError
from lidal3d.rounds.config import ExperimentConfig, load_experiment, parse_experiment
from lidal3d.rounds.experiment import ExperimentResult, run_experiment


def experiment_job(
    file: Path | str,
    out: Path | str,
    *,
    drive: Path | str | None = None,
    layout: str | None = None,
    label_map: str | None = None,
    seeds: Sequence[int] = (),
    strategies: Sequence[str] = (),
    workers: int = 1,
    device: str = "cpu",
    start: Callable[[int], None] = lambda trainings: None,
    tick: Callable[[], None] = lambda: None,
    note: Callable[[str], None] = lambda stage: None,
) -> ExperimentResult:
    """Run the experiment of a YAML file; arguments left out are as the file says.

    Args:
        file: its path, or the name of one that comes with lidal3d ("sandbox/cpu").
        drive: the drive log, where the file names none.
        strategies: only these rows.
        workers, device, start, tick, note: as for `run_experiment`.

    Raises:
        UsageError: an unknown key, strategy, scene, seed or row.
        DataError: as `run_experiment`.
    """
    experiment = changed(load_experiment(find_file(file)), drive, layout, label_map, seeds, strategies)
    return run_experiment(experiment, out, workers=workers, device=device, start=start, tick=tick, note=note)


def find_file(file: Path | str) -> Path:
    """The file of that path, or of that name among those that come with lidal3d. Raises UsageError."""
    if Path(file).is_file():
        return Path(file)
    shipped = configs_folder() / f"{file}.yaml"
    if shipped.is_file():
        return shipped
    known = sorted(
        path.relative_to(configs_folder()).with_suffix("").as_posix() for path in configs_folder().glob("*/*.yaml")
    )
    raise UsageError(f"{file}: no such file, and none of lidal3d's own experiments ({', '.join(known)})")


def changed(
    experiment: ExperimentConfig,
    drive: Path | str | None,
    layout: str | None,
    label_map: str | None,
    seeds: Sequence[int],
    strategies: Sequence[str],
) -> ExperimentConfig:
    """The experiment with what the command line changes. Raises UsageError for a row that it doesn't have."""
    values = experiment.model_dump()
    given = {"drive": None if drive is None else str(drive), "layout": layout, "label_map": label_map}
    values["world"] = {**values["world"], **{key: value for key, value in given.items() if value is not None}}
    if seeds:
        values["seeds"] = tuple(seeds)
    for row in strategies:
        if row not in experiment.strategies:
            raise UsageError(f"no row '{row}' in the experiment (rows: {', '.join(experiment.strategies)})")
    if strategies:
        values["strategies"] = {row: values["strategies"][row] for row in strategies}
    return parse_experiment(values, "experiment")
