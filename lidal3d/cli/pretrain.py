# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""`lidal3d pretrain`: encoders that learn without labels."""

from __future__ import annotations

from typing import Annotated

import typer

from lidal3d.cli.model import Frames
from lidal3d.cli.settings import (
    Assignments,
    ConfigFile,
    Device,
    Drive,
    Layout,
    Out,
    Preset,
    Scenes,
    refuse_unusable,
    settings,
)


def pretrain(
    drive: Drive,
    out: Out,
    method: Annotated[
        str, typer.Option("--method", "-m", metavar="NAME", help="What it is asked: twist, barlow, odct or masked.")
    ],
    views: Annotated[
        str | None, typer.Option(metavar="NAME", help="augment, neighbour or camera (pretrain.views).")
    ] = None,
    frame: Frames = None,
    scene: Scenes = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Optimiser steps (pretrain.steps).")] = None,
    preset: Preset = "default",
    file: ConfigFile = None,
    assignments: Assignments = None,
    layout: Layout = None,
    device: Device = "cpu",
) -> None:
    """Train an encoder of points or pixels without labels, for strategies that need embeddings.

    A drive of sweeps gives an encoder of sweeps, one of cameras (DRIVE@image_2) an encoder of pictures.
    """
    from lidal3d.cli.progress import count, progress, say
    from lidal3d.jobs.pretrain import pretrain_on_drive

    given = [f"pretrain.{key}={value}" for key, value in (("steps", steps), ("views", views)) if value is not None]
    chosen = settings(preset, file, [*(assignments or []), *given])
    refuse_unusable(device)
    with progress("pretraining", "steps") as bar:
        bar.start(chosen.pretrain.steps)

        def show(step: int, loss: float) -> None:
            bar.to(step)
            bar.note(f"loss {loss:.3f}")

        made = pretrain_on_drive(drive, out, method, chosen, frame, scene, show, layout, device)
    learnt = f"{count(made.frames, 'frame')}, no labels, {count(made.steps, 'step')}, loss {made.loss:.3f}"
    say(f"{made.path}: {made.encoder}, {learnt}")
    for note in made.notes:
        say(f"note: {note}")
