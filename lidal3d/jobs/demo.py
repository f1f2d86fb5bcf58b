# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""`lidal3d demo`: one whole round on a simulated drive, each step the one that its own command runs.

The drive has labels for every sweep, as a simulator can; the model sees those of a few sweeps only. The rest serve to
say, at the end, whether the queue asks where the model is wrong and whether the pseudo-labels are right.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from lidal3d.config import Config, configs_folder, load_config
from lidal3d.errors import UsageError
from lidal3d.files import write_text
from lidal3d.jobs.quality import Quality, queue_quality
from lidal3d.scene.scene import Scene

if TYPE_CHECKING:
    from lidal3d.cli.progress import Bar

Progress = Callable[[str, str], "AbstractContextManager[Bar]"]

COLUMNS = 1024
LABELLED_SHARE = 0.07


def run_demo(out: Path, frames: int, seed: int, progress: Progress) -> str:
    """Run the round and return its table, which is also saved as OUT/table.txt.

    Raises:
        UsageError: OUT holds a demo with other options, or something else.
        LidalError: as the steps raise.
    """
    _claim(out, {"frames": frames, "seed": seed})
    config = load_config("default", configs_folder() / "demo.yaml", (f"train.seed={seed}",))
    seconds: dict[str, float] = {}

    def timed(name: str, step: Callable[[], Any]) -> Any:
        start = perf_counter()
        result = step()
        seconds[name] = perf_counter() - start
        return result

    scene = timed("simulate", lambda: _simulate(out / "drive", frames, seed, progress))
    labelled = [scene.frame_names[i] for i in _spread(frames, max(1, round(LABELLED_SHARE * frames)))]
    timed("train", lambda: _train(out, config, scene, labelled, progress))
    timed("predict", lambda: _predict(out, config, progress))
    regions = timed("score", lambda: _score(out, config, scene, progress))
    outcome = timed("select", lambda: _select(out, config, scene, labelled, progress))
    timed("export", lambda: _export(out))
    timed("report", lambda: _report(out, config, progress))
    quality = queue_quality(
        out / "queue", {scene.id: scene}, out / "predictions", exclude={(scene.id, n) for n in labelled}
    )
    text = _table(scene, labelled, regions, outcome, quality, seconds, out)
    write_text(out / "table.txt", text + "\n")
    return text


def _claim(out: Path, options: dict[str, Any]) -> None:
    path = out / "demo.yaml"
    if path.is_file():
        if yaml.safe_load(path.read_text()) != options:
            raise UsageError(f"{out}: holds a demo with other options; choose another --out, or remove it")
    elif out.is_dir() and any(out.iterdir()):
        raise UsageError(f"{out}: is not empty and holds no demo; choose another --out")
    else:
        write_text(path, yaml.safe_dump(options))


def _spread(frames: int, count: int) -> list[int]:
    return [(2 * k + 1) * frames // (2 * count) for k in range(count)]


def _simulate(drive: Path, frames: int, seed: int, progress: Progress) -> Scene:
    from lidal3d.jobs.simulate import simulate_drive
    from lidal3d.scene.open import open_drive

    if not (drive / "sequences" / "00").is_dir():
        with progress("simulating", "sweeps") as bar:
            bar.start(frames)
            simulate_drive(drive, 1, "semantickitti", bar.tick, frames=frames, seed=seed, columns=COLUMNS)
    return open_drive(drive)[0]


def _train(out: Path, config: Config, scene: Scene, labelled: list[str], progress: Progress) -> None:
    from lidal3d.jobs.train import train_on_drive

    if (out / "model" / "model.safetensors").is_file():
        return
    with progress("training", "steps") as bar:
        bar.start(config.train.steps)

        def show(step: int, loss: float) -> None:
            bar.to(step)
            bar.note(f"loss {loss:.2f}")

        train_on_drive(out / "drive", out / "model", config, [f"{scene.id}/{name}" for name in labelled], progress=show)


def _predict(out: Path, config: Config, progress: Progress) -> None:
    from lidal3d.jobs.predict import predict_drive

    with progress("predicting", "sweeps") as bar:

        def show(done: int, total: int) -> None:
            bar.start(total)
            bar.to(done)

        predict_drive(out / "drive", out / "model", out / "predictions", config, progress=show)


def _score(out: Path, config: Config, scene: Scene, progress: Progress) -> int:
    from lidal3d.jobs.score import score_drive
    from lidal3d.predictions import PredictionStore

    with progress("scoring", "sweeps") as bar:
        result = score_drive(
            [scene], PredictionStore.open(out / "predictions"), out / "scores", config, out / "drive",
            start=bar.start, tick=bar.tick,
        )  # fmt: skip
    return 0 if result.table is None else len(result.table)


def _select(out: Path, config: Config, scene: Scene, labelled: list[str], progress: Progress) -> Any:
    from lidal3d.jobs.select import select_job

    with progress("selecting", "sweeps read") as bar:
        return select_job(
            out / "scores", out / "queue", config,
            labelled_frames=[(scene.id, name) for name in labelled], start=bar.start, tick=bar.tick,
        )  # fmt: skip


def _export(out: Path) -> None:
    from lidal3d.jobs.export import export_job

    export_job(out / "queue", out / "to_label", "point_labeler", overwrite=True)


def _report(out: Path, config: Config, progress: Progress) -> None:
    from lidal3d.jobs.report import report_job

    with progress("drawing", "picks") as bar:

        def show(done: int, total: int) -> None:
            bar.start(total)
            bar.to(done)

        report_job(out / "queue", out / "scores", out / "report.html", config, progress=show)


def _table(
    scene: Scene,
    labelled: list[str],
    regions: int,
    outcome: Any,
    quality: Quality,
    seconds: dict[str, float],
    out: Path,
) -> str:
    from lidal3d.cli.progress import facts

    picked = outcome.selection
    points = sum(pick.points for pick in picked.picks)
    rows = [
        ("drive", f"{len(scene)} simulated sweeps, {quality.points:,} points in those without a label"),
        ("model learnt from", f"{len(labelled)} labelled sweeps; mIoU on the others {_percent(quality.miou)}"),
        ("scored", f"{regions:,} regions"),
        ("to label", f"{len(picked.picks)} regions, {points:,} points ({_percent(points / max(quality.points, 1))} of the drive)"),
        ("budget left", f"{picked.budget - picked.used:,.0f} of {picked.budget:,.0f} {picked.currency}"),
        ("model is wrong on", f"{_percent(quality.picked_error)} of the points to label, {_percent(quality.error)} of all"),
        ("pseudo-labelled", f"{quality.pseudo_points:,} points, {_percent(quality.pseudo_precision)} of them right"),
        ("queue", f"{out / 'queue' / 'manifest.jsonl'}"),
        ("for point_labeler", f"{out / 'to_label'}"),
        ("report", f"{out / 'report.html'}"),
        ("seconds", ", ".join(f"{name} {value:.0f}" for name, value in seconds.items())),
    ]  # fmt: skip
    return facts(rows)


def _percent(value: float) -> str:
    return "unknown" if np.isnan(value) else f"{100 * value:.1f} %"
