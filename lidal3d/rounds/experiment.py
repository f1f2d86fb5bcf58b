# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""A whole active-learning experiment: seeds × strategies × rounds, resumable at any point, on any number of processes.

    OUT/config.yaml, run.json          what ran; a folder of another experiment is refused
    OUT/world/                         the simulated drives, where the world is simulated
    OUT/source/                        those of the source, where it is
    OUT/seed-S/…                       every stage's files, see `lidal3d.rounds.chain`
    OUT/metrics.csv, metrics_full.csv, table.txt, curves.svg, ledgers/

Run again after a kill, it does what is missing, and the results are the same to the byte.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lidal3d.errors import DataError, UsageError
from lidal3d.files import fingerprint, remove_abandoned, replacing, write_json, write_text
from lidal3d.parallel.pool import run_tasks
from lidal3d.rounds.chain import run_link
from lidal3d.rounds.config import ExperimentConfig, SimulateSettings
from lidal3d.rounds.curves import curves_svg
from lidal3d.rounds.ledger import scene_marks
from lidal3d.rounds.links import Link, encoder_links, is_done, seed_folder, trainings_of
from lidal3d.rounds.notes import training_notes, warnings_of
from lidal3d.rounds.results import Measured, collect, full_csv, metrics_csv
from lidal3d.rounds.table import table_text
from lidal3d.rounds.world import SOURCE_FOLDER, WORLD_FOLDER, World, open_world
from lidal3d.strategies import strategy_named
from lidal3d.strategies.dalbt import JOINT_STRATEGIES
from lidal3d.units.make import refuse_other_sensor

RUN_FILE = "run.json"


@dataclass(frozen=True)
class ExperimentResult:
    """What an experiment measured, and its table as text."""

    rows: tuple[Measured, ...]
    table: str


def run_experiment(
    experiment: ExperimentConfig,
    out: Path | str,
    *,
    workers: int = 1,
    device: str = "cpu",
    start: Callable[[int], None] = lambda trainings: None,
    tick: Callable[[], None] = lambda: None,
    note: Callable[[str], None] = lambda stage: None,
) -> ExperimentResult:
    """Run an experiment, or what is missing of it, and write its results to `out`.

    Args:
        experiment: from `load_experiment`.
        out: the results folder.
        workers: processes, one torch thread each; the results are the same for any number.
        device: where torch computes.
        start: told how many trainings there are in all.
        tick: called after each training, also for one that was there already.
        note: told what is going on.

    Raises:
        UsageError: a strategy, scene or setting that doesn't exist.
        DataError: a damaged drive, or a folder that holds another experiment.
    """
    out = Path(out)
    for row in experiment.strategies:
        _refuse_stages(experiment, row)
        _refuse_fresh(experiment, row)
    _claim(experiment, out)
    source = experiment.world.source
    for settings, folder in (
        (experiment.world.simulate, WORLD_FOLDER),
        (None if source is None else source.simulate, SOURCE_FOLDER),
    ):
        if settings is not None:
            note("simulating")
            _simulate(settings, out / folder, workers, experiment.world.cameras is not None)
    world = open_world(experiment.world, out)
    for row in experiment.strategies:
        refuse_other_sensor(experiment.settings_of(row).units, world.train)
    _refuse_other_world(world, out)
    _run_links(experiment, out, workers, device, start, tick, note)
    rows = tuple(collect(experiment, out, world))
    return _write_results(experiment, world, out, rows)


def _refuse_stages(experiment: ExperimentConfig, row: str) -> None:
    strategy, kind = strategy_named(experiment.strategy_of(row)), experiment.training_of(row).kind
    if kind != "single" and experiment.world.source is not None:
        raise UsageError(
            f"row '{row}': training '{kind}' can't mix in a source's labels; take single, or no world.source"
        )
    settings = experiment.settings_of(row)
    carry = settings.carry
    if strategy in JOINT_STRATEGIES and not settings.joint.weight:
        raise UsageError(f"row '{row}': joint.weight is 0, so it would train on labels alone; set it to 1, say")
    if kind != "single" and (carry.half_window or carry.by == "track"):
        raise UsageError(
            f"row '{row}': training '{kind}' can't tell carried labels from those it sets aside; take single, or carry "
            "none"
        )
    if kind != "single" and strategy.pseudo is None:
        raise UsageError(
            f"row '{row}': training '{kind}' is for pseudo-labels, '{strategy.name}' has none; drop it, or choose lidal"
        )


def _refuse_fresh(experiment: ExperimentConfig, row: str) -> None:
    """TOD between models that were trained apart measures their seeds."""
    strategy = strategy_named(experiment.strategy_of(row))
    if "earlier" in strategy.needs and experiment.start == "fresh":
        raise UsageError(
            f"row '{row}': strategy '{strategy.name}' compares the models of two rounds, which with start: fresh differ by "
            "their first weights most; set start: warm, or drop the row"
        )


def _claim(experiment: ExperimentConfig, out: Path) -> None:
    """Note what the folder is for, or refuse a folder that is for something else."""
    mark = fingerprint(experiment.model_dump(mode="json"))
    path = out / RUN_FILE
    for folder in [out, *(path for path in out.rglob("*") if path.is_dir())]:
        remove_abandoned(folder)
    if path.is_file():
        if _recorded(path).get("experiment") != mark:
            raise DataError(f"{out}: holds an experiment with other settings; choose another --out, or remove it")
    elif out.is_dir() and any(out.iterdir()):
        raise DataError(f"{out}: is not empty and holds no experiment; choose another --out")
    else:
        write_json(path, {"experiment": mark})
    if not (out / "config.yaml").is_file():
        experiment.write(out / "config.yaml")


def _recorded(path: Path) -> dict[str, object]:
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        return dict(fields)
    except (OSError, ValueError, TypeError):
        raise DataError(f"{path}: damaged; remove the folder and run the experiment again") from None


def _refuse_other_world(world: World, out: Path) -> None:
    """A drive that changed since the first run would make half of the results lies."""
    path = out / "scenes.json"
    found = {"train": scene_marks(world.train), "validation": scene_marks(world.validation)}
    if world.source:
        found["source"] = scene_marks(world.source)
    if not path.is_file():
        write_json(path, found)
    elif _recorded(path) != found:
        raise DataError(f"{out}: was made from a drive with other frames or poses; choose another --out")


@dataclass(frozen=True)
class _SceneTask:
    settings: SimulateSettings
    folder: Path
    number: int
    camera: bool


def _simulate(settings: SimulateSettings, folder: Path, workers: int, camera: bool) -> None:
    """Write the scenes that aren't there: a scene's folder appears when it is whole."""
    numbers = [n for n in range(settings.scenes) if not (folder / "sequences" / f"{n:02d}").is_dir()]
    for _ in run_tasks(_write_scene, [_SceneTask(settings, folder, n, camera) for n in numbers], workers):
        pass


def _write_scene(task: _SceneTask, tick: Callable[[], None]) -> None:
    from lidal3d.sim import SimConfig, write_drive

    fields = task.settings.model_dump(exclude={"scenes"})
    config = SimConfig(**{**fields, "seed": task.settings.seed + task.number}, camera=task.camera)
    write_drive(config, task.folder, "semantickitti", f"{task.number:02d}")


def _run_links(
    experiment: ExperimentConfig,
    out: Path,
    workers: int,
    device: str,
    start: Callable[[int], None],
    tick: Callable[[], None],
    note: Callable[[str], None],
) -> None:
    """First what the strategies of a seed share, then the strategies."""
    full = ["full"] if experiment.full_supervision else []
    shared = [Link(experiment, out, seed, what, device) for seed in experiment.seeds for what in ("initial", *full)]
    shared += [link for seed in experiment.seeds for link in encoder_links(experiment, out, seed, device)]
    rows = [Link(experiment, out, seed, row, device) for seed in experiment.seeds for row in experiment.strategies]
    start(len(shared) + experiment.rounds * len(rows))
    for stage, links in (("initial models and full supervision", shared), ("rounds", rows)):
        note(stage)
        missing = [link for link in links if not is_done(link)]
        for link in links:
            for _ in range(0 if link in missing else trainings_of(link)):
                tick()
        for _ in run_tasks(run_link, missing, workers, tick):
            pass


def _write_results(
    experiment: ExperimentConfig, world: World, out: Path, rows: tuple[Measured, ...]
) -> ExperimentResult:
    warnings = warnings_of(experiment, world)
    table = table_text(experiment.name, rows, warnings, training_notes(experiment, out))
    for seed in experiment.seeds:
        for row in experiment.strategies:
            copied = out / "ledgers" / f"{row}_seed-{seed}.jsonl"
            with replacing(copied) as temporary:
                shutil.copyfile(seed_folder(out, seed) / row / "ledger.jsonl", temporary)
    write_text(out / "metrics_full.csv", full_csv(rows))
    write_text(out / "curves.svg", curves_svg(experiment.name, rows, warnings))
    write_text(out / "table.txt", table + "\n")
    write_text(out / "metrics.csv", metrics_csv(rows))
    return ExperimentResult(rows, table)
