# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""`lidal3d demo`, `simulate` and `check`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from lidal3d.cli.settings import Drive, LabelMap, Layout, Out

TOLD = 5  # findings of one rule; a drive of wrong probabilities has thousands


def demo(
    out: Out = Path("lidal3d-demo"),
    frames: Annotated[int, typer.Option(min=2, help="Sweeps of the simulated drive.")] = 60,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the town, the traffic and the training.")] = 0,
) -> None:
    """A whole round on a simulated drive.

    Simulate, train, predict, score, select, pseudo-label, export, report. A run that was cut off continues.
    """
    from lidal3d.cli.progress import progress, say
    from lidal3d.jobs.demo import run_demo

    say(run_demo(out, frames, seed, progress))


def simulate(
    out: Out,
    frames: Annotated[int, typer.Option(min=1, help="Sweeps a scene.")] = 100,
    scenes: Annotated[int, typer.Option(min=1, help="Scenes, each in a town of its own.")] = 1,
    style: Annotated[str, typer.Option(help="Town: suburb or downtown.")] = "suburb",
    sensor: Annotated[str, typer.Option(help="hdl64 (64 beams) or vlp32 (32 beams).")] = "hdl64",
    layout: Annotated[str, typer.Option(help="semantickitti or nuscenes.")] = "semantickitti",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the first scene; the next has the next seed.")] = 0,
    columns: Annotated[int | None, typer.Option(min=8, help="Rays a turn; fewer make smaller sweeps.")] = None,
    camera: Annotated[bool, typer.Option(help="Also render the front camera.")] = True,
    labelled: Annotated[str, typer.Option(help="all, or how many frames a scene get their labels.")] = "all",
) -> None:
    """Write a simulated drive with labels. Ray cast, with poses and a camera; the same bytes for the same options."""
    from lidal3d.cli.progress import count, progress, say
    from lidal3d.jobs.simulate import simulate_drive

    with progress("simulating", "sweeps") as bar:
        bar.start(frames * scenes)
        simulate_drive(
            out, scenes, layout, bar.tick,
            frames=frames, style=style, sensor=sensor, seed=seed, columns=columns, camera=camera, labelled=labelled,
        )  # fmt: skip
    say(f"{count(scenes, 'scene')} of {count(frames, 'sweep')} in {layout} layout: {out}")


def check(
    drive: Drive,
    predictions: Annotated[Path | None, typer.Option("--predictions", "-p", help="Also check these.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
    layout: Layout = None,
    label_map: LabelMap = None,
) -> None:
    """Look for all that would spoil a score.

    Broken files, counts that differ, bad poses, probabilities that are none. Exit code 1 where there are errors.
    """
    from lidal3d.check import check_drive
    from lidal3d.check.rules import RULES
    from lidal3d.cli.progress import count, facts, progress, say

    with progress("checking", "frames") as bar:

        def show(done: int, total: int) -> None:
            bar.start(total)
            bar.to(done)

        report = check_drive(drive, predictions, layout, label_map, show)
    if json:
        say(report.to_json().rstrip())
    else:
        told = Counter[str]()
        for finding in report.findings:
            told[finding.rule] += 1
            if told[finding.rule] <= TOLD:
                say(f"{finding.severity:<7}  {finding}")
        if any(times > TOLD for times in told.values()):
            say(f"… the first {TOLD} of each rule; --json has all {len(report.findings):,}")
        if report.counts:
            say("")
            say(facts([(f"{times} × {rule}", RULES[rule].fix) for rule, times in report.counts.items()]))
            say("")
        verdict = "no errors" if report.ok else "errors found"
        extent = f"{count(report.scenes, 'scene')}, {count(report.frames, 'frame')}"
        say(f"{report.path}: {report.dataset or 'unknown layout'}, {extent}: {verdict}")
    if not report.ok:
        raise typer.Exit(1)
