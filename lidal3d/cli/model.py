# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""`lidal3d train` and `predict`: the built-in model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from lidal3d.cli.settings import Assignments, ConfigFile, Drive, KeepGoing, LabelMap, Layout, Out, Preset, Scenes, settings

Frames = Annotated[Optional[list[str]], typer.Option("--frame", help="Only this frame, as SCENE/FRAME; may be given again.")]
Device = Annotated[str, typer.Option(help="Where torch computes: cpu, cuda, cuda:1.")]


def train(
    drive: Drive,
    out: Out,
    frame: Frames = None,
    scene: Scenes = None,
    steps: Annotated[Optional[int], typer.Option(min=1, help="Optimiser steps (train.steps).")] = None,
    initial: Annotated[Optional[Path], typer.Option(help="Start from this model.")] = None,
    preset: Preset = "default",
    file: ConfigFile = None,
    assignments: Assignments = None,
    layout: Layout = None,
    label_map: LabelMap = None,
    device: Device = "cpu",
) -> None:
    """Train the built-in sparse U-Net on a drive's labelled frames."""
    from lidal3d.cli.progress import progress, say
    from lidal3d.jobs.train import train_on_drive

    chosen = settings(preset, file, [*(assignments or []), *([f"train.steps={steps}"] if steps else [])])
    with progress("training", "steps") as bar:
        bar.start(chosen.train.steps)

        def show(step: int, loss: float) -> None:
            bar.to(step)
            bar.note(f"loss {loss:.3f}")

        trained = train_on_drive(
            drive, out, chosen, frame, scene, show,
            initial=initial, layout=layout, label_map=label_map, device=device,
        )  # fmt: skip
    say(f"{trained.path}: {trained.model}, {trained.frames} labelled frames, {trained.steps} steps, loss {trained.loss:.3f}")


def predict(
    drive: Drive,
    model: Annotated[Path, typer.Option("--model", "-m", help="A model of `lidal3d train`.")],
    out: Out,
    views: Annotated[Optional[int], typer.Option(min=1, help="Augmented views to average (predict.views).")] = None,
    frame: Frames = None,
    scene: Scenes = None,
    keep_going: KeepGoing = False,
    preset: Preset = "default",
    file: ConfigFile = None,
    assignments: Assignments = None,
    layout: Layout = None,
    label_map: LabelMap = None,
    device: Device = "cpu",
) -> None:
    """Predict class probabilities for every point of a drive; a run that was cut off continues."""
    from lidal3d.cli.progress import progress, say
    from lidal3d.jobs.predict import predict_drive

    chosen = settings(preset, file, [*(assignments or []), *([f"predict.views={views}"] if views else [])])
    with progress("predicting", "frames") as bar:
        def show(done: int, total: int) -> None:
            bar.start(total)
            bar.to(done)

        predicted = predict_drive(
            drive, model, out, chosen, scene, frame, keep_going, show,
            layout=layout, label_map=label_map, device=device,
        )  # fmt: skip
    say(f"{out}: {predicted.written} frames predicted, {predicted.kept} kept, {predicted.failed} failed")
    if predicted.failed:
        raise typer.Exit(1)
