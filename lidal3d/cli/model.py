# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""`lidal3d train` and `predict`: the built-in model."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lidal3d.cli.settings import (
    Assignments,
    ConfigFile,
    Device,
    Drive,
    KeepGoing,
    LabelMap,
    Layout,
    Out,
    Preset,
    Scenes,
    refuse_unusable,
    settings,
)

if TYPE_CHECKING:
    from lidal3d.learn.processes import Processes

Frames = Annotated[
    list[str] | None, typer.Option("--frame", metavar="SCENE/FRAME", help="Only this frame; may be given again.")
]


def train(
    drive: Drive,
    out: Out,
    frame: Frames = None,
    scene: Scenes = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Optimiser steps (train.steps).")] = None,
    initial: Annotated[Path | None, typer.Option(help="Start from this model.")] = None,
    labels: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Answers of `lidal3d ingest`, in place of the drive's own labels."),
    ] = None,
    preset: Preset = "default",
    file: ConfigFile = None,
    assignments: Assignments = None,
    layout: Layout = None,
    label_map: LabelMap = None,
    device: Device = "cpu",
) -> None:
    """Train the built-in model on labelled frames. It is a sparse U-Net, on the CPU or a GPU.

    With --labels on all frames with an answer; points that nobody answered are left out.

    On several GPUs: torchrun --nproc_per_node 4 -m lidal3d train DRIVE --out MODEL --device cuda.
    """
    from lidal3d.cli.progress import SILENT, count, progress, say
    from lidal3d.jobs.train import train_on_drive
    from lidal3d.learn.processes import refuse_small_batch, started_processes

    chosen = settings(preset, file, [*(assignments or []), *([f"train.steps={steps}"] if steps else [])])
    processes = started_processes()
    refuse_small_batch(chosen.train.batch, processes)
    device = _own_device(device, processes)
    refuse_unusable(device)
    with progress("training", "steps") if processes.writes else nullcontext(SILENT) as bar:
        bar.start(chosen.train.steps)

        def show(step: int, loss: float) -> None:
            bar.to(step)
            bar.note(f"loss {loss:.3f}")

        trained = train_on_drive(
            drive, out, chosen, frame, scene, show,
            labels=labels, initial=initial, layout=layout, label_map=label_map, device=device, processes=processes,
        )  # fmt: skip
    if not processes.writes:
        return
    learnt = f"{count(trained.frames, 'labelled frame')}, {count(trained.steps, 'step')}, loss {trained.loss:.3f}"
    say(f"{trained.path}: {trained.model}, {learnt}")


def predict(
    drive: Drive,
    model: Annotated[Path, typer.Option("--model", "-m", help="A model of `lidal3d train`.")],
    out: Out,
    views: Annotated[int | None, typer.Option(min=1, help="Augmented views to average (predict.views).")] = None,
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
    """Predict class probabilities for every point. A run that was cut off continues."""
    from lidal3d.cli.progress import count, progress, say
    from lidal3d.jobs.predict import predict_drive

    chosen = settings(preset, file, [*(assignments or []), *([f"predict.views={views}"] if views else [])])
    refuse_unusable(device)
    with progress("predicting", "frames") as bar:

        def show(done: int, total: int) -> None:
            bar.start(total)
            bar.to(done)

        predicted = predict_drive(
            drive, model, out, chosen, scene, frame, keep_going, show,
            layout=layout, label_map=label_map, device=device,
        )  # fmt: skip
    say(f"{out}: {count(predicted.written, 'frame')} predicted, {predicted.kept} kept from before")
    if predicted.failed:
        say(f"{count(predicted.failed, 'frame')} could not be read: {out / 'failed.jsonl'}")
        raise typer.Exit(1)


def _own_device(device: str, processes: Processes) -> str:
    """Where this one of several processes computes. Raises UsageError for a GPU by number, or too few of them."""
    from lidal3d.learn.processes import device_of

    if processes.size == 1 or device == "cpu":
        return device
    import torch

    return device_of(device, processes, torch.cuda.device_count())
