# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""`lidal3d score`, `merge`, `select`, `export` and `report`: from predictions to a labelling queue."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from lidal3d.cli.settings import (
    Assignments, ConfigFile, Drive, KeepGoing, LabelMap, Layout, Out, Preset, Scenes, Workers, settings,
)  # fmt: skip

if TYPE_CHECKING:
    from lidal3d.jobs.score import ScoreResult

Moved = "where it lies now, if it was moved since"
DriveMoved = Annotated[Optional[Path], typer.Option("--drive", help=f"The drive log, {Moved}.")]
PredictionsMoved = Annotated[Optional[Path], typer.Option("--predictions", "-p", help=f"The predictions, {Moved}.")]
Selected = Annotated[Path, typer.Argument(help="A folder of `lidal3d select`.")]


def score(
    drive: Drive,
    predictions: Annotated[Path, typer.Option("--predictions", "-p", help="Class probabilities for the drive.")],
    out: Out,
    workers: Workers = 1,
    shard: Annotated[str, typer.Option(help="i/n: only the i-th of n shares; `lidal3d merge` puts them together.")] = "1/1",
    keep_going: KeepGoing = False,
    scene: Scenes = None,
    preset: Preset = "default",
    file: ConfigFile = None,
    assignments: Assignments = None,
    layout: Layout = None,
    label_map: LabelMap = None,
) -> None:
    """Inter-frame divergence and entropy of every region of a drive; a run that was cut off continues."""
    from lidal3d.cli.progress import progress, say
    from lidal3d.jobs.score import score_drive
    from lidal3d.jobs.train import chosen_scenes
    from lidal3d.predictions import PredictionStore
    from lidal3d.scene.open import open_drive

    chosen = settings(preset, file, assignments)
    share = _shard(shard)
    scenes = chosen_scenes(open_drive(drive, layout, label_map), scene, drive)
    with progress("scoring", "frames") as bar:
        result = score_drive(
            scenes, PredictionStore.open(predictions), out, chosen, drive, workers, share, keep_going,
            start=bar.start, tick=bar.tick,
        )  # fmt: skip
    if result.table is None:
        say(f"{out}: shard {shard} done; when all are: lidal3d merge {out} … --out scores")
    _say_scored(out, result)


def merge(
    shards: Annotated[list[Path], typer.Argument(help="Folders of `lidal3d score --shard i/n`.")],
    out: Out,
) -> None:
    """Put the shards of one scoring run together: the same bytes as one run on one machine."""
    from lidal3d.jobs.score import merge_scores

    _say_scored(out, merge_scores(shards, out))


def select(
    scores: Annotated[Path, typer.Argument(help="A folder of `lidal3d score`.")],
    out: Out,
    budget: Annotated[
        Optional[str], typer.Option("--budget", "-b", help="1%, 50000:points, 20:regions, 10:frames, 3600:seconds.")
    ] = None,
    earlier: Annotated[
        Optional[list[Path]], typer.Option("--earlier", help="A selection of an earlier round; may be given again.")
    ] = None,
    labelled: Annotated[
        Optional[list[str]],
        typer.Option(help="A frame that is labelled already, as SCENE/FRAME, or 'existing' for all with a label file."),
    ] = None,
    workers: Workers = 1,
    keep_going: KeepGoing = False,
    preset: Annotated[
        Optional[str], typer.Option(help="default or paper; without it, the settings that the scores were made with.")
    ] = None,
    file: ConfigFile = None,
    assignments: Assignments = None,
    drive: DriveMoved = None,
    predictions: PredictionsMoved = None,
) -> None:
    """Choose what is worth a label under a budget, and what can be pseudo-labelled."""
    from lidal3d.cli.progress import facts, progress, say
    from lidal3d.jobs.select import labelled_frames, select_job

    base = file if file is not None or preset is not None else scores / "config.yaml"
    if base is not None and not base.is_file() and file is None:
        base = None
    changes = [*(assignments or []), *([f"select.budget={budget}"] if budget else [])]
    chosen = settings(preset or "default", base, changes)
    with progress("selecting", "frames read") as bar:
        outcome = select_job(
            scores, out, chosen, earlier or (), drive, predictions,
            labelled_frames=labelled_frames(labelled or (), scores, drive), keep_going=keep_going, workers=workers,
            start=bar.start, tick=bar.tick,
        )  # fmt: skip
    picked, pseudo = outcome.selection, outcome.pseudo
    say(facts([
        ("regions to label", f"{len(picked.picks)} in {len({(p.key.scene, p.key.frame) for p in picked.picks})} frames"),
        ("budget", f"{picked.budget:,.0f} {picked.currency}, used {picked.used:,.0f}, left {picked.budget - picked.used:,.0f}"),
        ("pseudo-labelled", f"{len(pseudo.picks)} regions, {sum(p.points for p in pseudo.picks):,} points"),
        ("first", picked.picks[0].reason if picked.picks else "nothing fits the budget"),
        ("manifest", str(out)),
    ]))  # fmt: skip
    if outcome.failed:
        say(f"{len(outcome.failed)} frames could not be read: {out / 'failed.jsonl'}")
        raise typer.Exit(1)


def export(
    selection: Selected,
    out: Out,
    format: Annotated[str, typer.Option("--format", "-f", help="point_labeler, segments_ai or manifest.")],
    margin: Annotated[int, typer.Option(help="Frames of context on each side of a picked frame.")] = 5,
    max_frames: Annotated[int, typer.Option(help="The longest window; a longer run of frames is cut.")] = 100,
    cameras: Annotated[bool, typer.Option(help="Copy the camera pictures too.")] = True,
    url_prefix: Annotated[str, typer.Option(help="segments_ai: where the exported files will be reachable.")] = "",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier export.")] = False,
    drive: DriveMoved = None,
    layout: Layout = None,
    label_map: LabelMap = None,
) -> None:
    """Write the queue for a labelling tool."""
    from lidal3d.cli.progress import say
    from lidal3d.export.options import ExportOptions
    from lidal3d.jobs.export import export_job

    options = ExportOptions(margin=margin, max_frames=max_frames, cameras=cameras, url_prefix=url_prefix)
    export_job(selection, out, format, drive, options, layout=layout, label_map=label_map, overwrite=overwrite)
    say(f"{out}: the queue for {format}; README.txt in it says what to do" if format != "manifest" else f"{out}: the manifest")


def report(
    selection: Selected,
    out: Out = Path("report.html"),
    scores: Annotated[Optional[Path], typer.Option(help=f"The scores, {Moved}.")] = None,
    drive: DriveMoved = None,
    predictions: PredictionsMoved = None,
    layout: Layout = None,
    label_map: LabelMap = None,
) -> None:
    """Draw the picks into one HTML file that needs no network."""
    from lidal3d.cli.progress import progress, say
    from lidal3d.jobs.report import report_job

    with progress("drawing", "picks") as bar:
        def show(done: int, total: int) -> None:
            bar.start(total)
            bar.to(done)

        report_job(
            selection, scores, out, drive=drive, predictions=predictions, layout=layout, label_map=label_map, progress=show
        )
    say(f"{out}: {out.stat().st_size / 1e6:.1f} MB")


def _shard(text: str) -> tuple[int, int]:
    from lidal3d.errors import UsageError

    index, slash, count = text.partition("/")
    if not slash or not index.isdigit() or not count.isdigit() or not 1 <= int(index) <= int(count):
        raise UsageError(f"--shard {text}: expected i/n with 1 ≤ i ≤ n, for example 2/8")
    return int(index), int(count)


def _say_scored(out: Path, result: ScoreResult) -> None:
    from lidal3d.cli.progress import say

    if result.table is not None:
        frames = len({*zip(result.table.scene.tolist(), result.table.frame.tolist(), strict=True)})
        say(f"{out}: {len(result.table)} {result.table.kind} in {frames} frames scored")
    if result.failed:
        say(f"{len(result.failed)} frames could not be read: {out / 'failed.jsonl'}")
        raise typer.Exit(1)
