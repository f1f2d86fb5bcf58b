# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""`lidal3d track`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lidal3d.cli.settings import (
    Assignments,
    ConfigFile,
    Drive,
    Layout,
    Out,
    Preset,
    Scenes,
    Workers,
    settings,
)  # fmt: skip


def track(
    drive: Drive,
    out: Out,
    scores: Annotated[
        Path | None, typer.Option(help="Also note in these scores of regions which track each is part of.")
    ] = None,
    workers: Workers = 1,
    scene: Scenes = None,
    preset: Preset = "default",
    file: ConfigFile = None,
    assignments: Assignments = None,
    layout: Layout = None,
) -> None:
    """Link what stands on the ground over time.

    Class-agnostic segments of every sweep, and a track id for each point. A run that was cut off continues. To score
    and choose whole tracks: lidal3d score DRIVE --predictions PREDICTIONS --set units.kind=track --out scores
    """
    from lidal3d.cli.progress import count, facts, progress, say
    from lidal3d.jobs.track import track_drive
    from lidal3d.jobs.track_columns import add_track_columns
    from lidal3d.jobs.train import chosen_scenes
    from lidal3d.scene.open import open_drive
    from lidal3d.tracks.table import tracks_of

    chosen = settings(preset, file, assignments)
    scenes = chosen_scenes(open_drive(drive, layout), scene, drive)
    with progress("tracking", "sweeps") as bar:
        store = track_drive(scenes, out, chosen.tracks, workers, bar.start, bar.tick)
    if scores is not None:
        with progress("comparing", "sweeps") as bar:
            bar.start(sum(map(len, scenes)))
            add_track_columns(scores, scenes, store, bar.tick)
    found = [tracks_of(store.path(one.id)) for one in scenes]
    sweeps = sum(int(tracks.sweeps.sum()) for tracks in found)
    number = sum(map(len, found))
    moving = sum(int((tracks.speed_mps > 1).sum()) for tracks in found)
    say(facts([
        ("tracked", f"{count(number, 'track')} in {count(sum(map(len, scenes)), 'sweep')}"),
        ("sweeps a track", f"{sweeps / max(number, 1):.1f} on average"),
        ("faster than 1 m/s", f"{moving:,}"),
        ("tracks", str(out)),
    ]))  # fmt: skip
