# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""`lidal3d score`, `merge`, `select`, `export` and `report`: from predictions to a labelling queue."""

from __future__ import annotations

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
    Workers,
    refuse_unusable,
    settings,
)  # fmt: skip

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lidal3d.config import Config
    from lidal3d.jobs.score_folder import ScoreResult
    from lidal3d.scene.scene import Scene
    from lidal3d.scores.table import ScoreTable
    from lidal3d.select.selection import Selection

DriveMoved = Annotated[Path | None, typer.Option("--drive", help="Where the drive lies now, if it was moved.")]
PredictionsMoved = Annotated[
    Path | None, typer.Option("--predictions", "-p", help="Where the predictions lie now, if they were moved.")
]
Strategies = Annotated[
    list[str] | None,
    typer.Option(
        "--strategy", metavar="NAME", help="Make what it needs too; may be given again. 'all': all but true_loss."
    ),
]
Selected = Annotated[Path, typer.Argument(help="A folder of `lidal3d select`.")]


def score(
    drive: Drive,
    out: Out,
    predictions: Annotated[
        Path | None, typer.Option("--predictions", "-p", help="Class probabilities for the drive.")
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option("--model", "-m", help="A model of `lidal3d train` instead; no probability map is saved."),
    ] = None,
    boxes: Annotated[Path | None, typer.Option(help="What a detector found, in place of class probabilities.")] = None,
    encoder: Annotated[
        Path | None,
        typer.Option(
            "--encoder", "-e", help="An encoder of `lidal3d pretrain`, or a ViT's weights; also without a model."
        ),
    ] = None,
    earlier_model: Annotated[
        Path | None, typer.Option(metavar="PATH", help="The model of the round before, to compare with (tod).")
    ] = None,
    strategy: Strategies = None,
    workers: Workers = 1,
    shard: Annotated[
        str, typer.Option(metavar="I/N", help="Only the I-th of N shares; `lidal3d merge` puts them together.")
    ] = "1/1",
    keep_going: KeepGoing = False,
    scene: Scenes = None,
    preset: Preset = "default",
    file: ConfigFile = None,
    assignments: Assignments = None,
    layout: Layout = None,
    label_map: LabelMap = None,
    device: Device = "cpu",
) -> None:
    """Score every region by how frames disagree.

    Inter-frame divergence and entropy of each region of a drive, or of each box of a detector, and what other
    strategies rank by. A run that was cut off continues. With --model the scores are those of `lidal3d predict`
    followed by `lidal3d score`; workers and shards predict the frames at their borders twice, with equal results.
    """
    from lidal3d.cli.progress import progress, say
    from lidal3d.jobs.score import refuse_sources, score_drive, score_source
    from lidal3d.jobs.signals import SignalSources
    from lidal3d.jobs.train import chosen_scenes
    from lidal3d.scene.open import open_drive

    chosen = settings(preset, file, assignments)
    share = _shard(shard)
    refuse_sources(predictions=predictions, model=model, boxes=boxes, encoder=encoder)
    refuse_unusable(device)
    scenes = chosen_scenes(open_drive(drive, layout, label_map), scene, drive)
    if boxes is not None:
        _refuse_for_boxes(share, strategy)
        _score_boxes(scenes, boxes, out, chosen, drive, workers, keep_going)
        return
    source = score_source(predictions, model, scenes, chosen, device, encoder)
    asked = SignalSources(model, encoder, earlier_model, device)
    with progress("scoring", "frames") as bar:
        result = score_drive(
            scenes, source, out, chosen, drive, workers, share, keep_going,
            start=bar.start, tick=bar.tick, strategies=strategy or (), signals=asked,
        )  # fmt: skip
    if result.table is None:
        say(f"{out}: shard {shard} done; when all are: lidal3d merge {out} … --out scores")
    _say_scored(out, result, strategy or ())


def _refuse_for_boxes(share: tuple[int, int], strategies: Sequence[str] | None) -> None:
    """Raise UsageError for what scores regions only."""
    from lidal3d.errors import UsageError

    if share != (1, 1):
        raise UsageError(f"--shard {share[0]}/{share[1]}: boxes are scored in one run; leave it out, give --workers")
    if strategies:
        every = "a table of boxes always has every column that boxes can have"
        raise UsageError(f"--strategy {strategies[0]}: {every}; leave it out, give it to `lidal3d select`")


def _score_boxes(
    scenes: Sequence[Scene], boxes: Path, out: Path, chosen: Config, drive: Path, workers: int, keep_going: bool
) -> None:
    """`score --boxes`."""
    from lidal3d.cli.progress import count, facts, progress, say
    from lidal3d.jobs.score_boxes import score_boxes
    from lidal3d.predictions.boxes import BoxStore

    with progress("scoring", "frames") as bar:
        result = score_boxes(
            scenes, BoxStore.open(boxes), out, chosen, drive, workers, keep_going, start=bar.start, tick=bar.tick
        )
    if result.table is not None:
        table, empty = result.table, int((result.table.points == 0).sum())
        frames = len({*zip(table.scene.tolist(), table.frame.tolist(), strict=True)})
        say(facts([
            ("scored", f"{count(len(table), 'box', 'boxes')} in {count(frames, 'frame')}, {table.points.sum():,} points in them"),
            ("without a point", f"{empty:,}"),
            ("scores", str(out)),
            ("next", f"lidal3d select {out} --set select.score=entropy --budget 20:boxes --out queue"),
        ]))  # fmt: skip
    _say_failed(out, result)


def merge(
    shards: Annotated[list[Path], typer.Argument(metavar="FOLDER...", help="Folders of `lidal3d score --shard i/n`.")],
    out: Out,
) -> None:
    """Put the shards of a scoring run together. The same bytes as one run on one machine."""
    from lidal3d.jobs.score_folder import merge_scores

    _say_scored(out, merge_scores(shards, out))


def select(
    scores: Annotated[Path, typer.Argument(help="A folder of `lidal3d score`.")],
    out: Out,
    strategy: Annotated[
        str, typer.Option(metavar="NAME", help="How to choose; see `lidal3d strategies`. A seed: --set select.seed=1.")
    ] = "lidal",
    budget: Annotated[
        str | None,
        typer.Option(
            "--budget",
            "-b",
            metavar="AMOUNT",
            help="1%, 50000:points, 20:regions, 20:boxes, 10:frames or 3600:seconds (select.budget).",
        ),
    ] = None,
    earlier: Annotated[
        list[Path] | None,
        typer.Option("--earlier", metavar="FOLDER", help="A selection of an earlier round; may be given again."),
    ] = None,
    labelled: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SCENE/FRAME", help="A frame that is labelled already, or 'existing' for all with a label file."
        ),
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option(help="Scores of a labelled drive by the same model, to compare with (d2ada, vaal)."),
    ] = None,
    workers: Workers = 1,
    keep_going: KeepGoing = False,
    preset: Annotated[
        str | None, typer.Option(help="default or paper; without it, the settings that the scores were made with.")
    ] = None,
    file: ConfigFile = None,
    assignments: Assignments = None,
    drive: DriveMoved = None,
    predictions: PredictionsMoved = None,
    layout: Layout = None,
) -> None:
    """Choose what is worth a label under a budget. Also what can be pseudo-labelled."""
    from lidal3d.cli.progress import count, facts, progress, say
    from lidal3d.jobs.select import labelled_frames, select_job

    base = file if file is not None or preset is not None else scores / "config.yaml"
    if base is not None and not base.is_file() and file is None:
        base = None
    chosen = settings(preset or "default", base, assignments)
    if budget is not None:
        chosen = chosen.updated({"select": {"budget": budget}}, "--budget")
    with progress("selecting", "frames read") as bar:
        outcome = select_job(
            scores, out, chosen, earlier or (), drive, predictions,
            labelled_frames=labelled_frames(labelled or (), scores, drive, layout), layout=layout,
            keep_going=keep_going, workers=workers, start=bar.start, tick=bar.tick, strategy=strategy,
            source_scores=source,
        )  # fmt: skip
    picked, pseudo = outcome.selection, outcome.pseudo
    frames, left = len({(pick.key.scene, pick.key.frame) for pick in picked.picks}), picked.budget - picked.used
    near = len({key for pick in picked.picks for key in pick.suppressed})
    say(facts([
        ("to label", f"{_extent(picked)} in {count(frames, 'frame')}"),
        ("budget", f"{picked.budget:,.0f} {picked.currency}, used {picked.used:,.0f}, left {left:,.0f}"),
        ("pseudo-labelled", _extent(pseudo)),
        ("left out as near", f"{count(near, 'unit')} (select.min_distance_m)"),
        ("first", picked.picks[0].reason if picked.picks else "nothing fits the budget"),
        ("manifest", str(out)),
        ("next", f"lidal3d export {out} --format {_tool(picked)} --out to_label; lidal3d report {out}"),
    ]))  # fmt: skip
    if outcome.failed:
        say(f"{count(len(outcome.failed), 'frame')} could not be read: {out / 'failed.jsonl'}")
        raise typer.Exit(1)


def export(
    selection: Selected,
    out: Out,
    format: Annotated[
        str,
        typer.Option(
            "--format", "-f", help="point_labeler, segments_ai, mmdet3d, label_studio (pictures) or manifest."
        ),
    ],
    margin: Annotated[int, typer.Option(help="Frames of context on each side of a picked frame.")] = 5,
    max_frames: Annotated[int, typer.Option(help="The longest window; a longer run of frames is cut.")] = 100,
    cameras: Annotated[bool, typer.Option(help="Copy the camera pictures too.")] = True,
    url_prefix: Annotated[
        str, typer.Option(help="segments_ai, label_studio: where the exported files will be reachable.")
    ] = "",
    labels: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="mmdet3d: answers of `lidal3d ingest` to put in.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier export.")] = False,
    drive: DriveMoved = None,
    layout: Layout = None,
    label_map: LabelMap = None,
) -> None:
    """Write the queue for a labelling tool or mmdet3d."""
    from lidal3d.cli.progress import say
    from lidal3d.export.options import ExportOptions
    from lidal3d.jobs.export import export_job

    options = ExportOptions(margin=margin, max_frames=max_frames, cameras=cameras, url_prefix=url_prefix, labels=labels)
    export_job(selection, out, format, drive, options, layout=layout, label_map=label_map, overwrite=overwrite)
    say(
        f"{out}: the manifest"
        if format == "manifest"
        else f"{out}: the queue for {format}; its README.txt says what to do"
    )


def report(
    selection: Selected,
    out: Out = Path("report.html"),
    scores: Annotated[Path | None, typer.Option(help="Where the scores lie now, if they were moved.")] = None,
    drive: DriveMoved = None,
    predictions: PredictionsMoved = None,
    assignments: Assignments = None,
    layout: Layout = None,
    label_map: LabelMap = None,
) -> None:
    """Draw the picks into one HTML file that needs no network."""
    from lidal3d.cli.progress import progress, say
    from lidal3d.jobs.report import manifest_config, report_job

    chosen = manifest_config(selection).assigned(assignments or ())
    with progress("drawing", "picks") as bar:

        def show(done: int, total: int) -> None:
            bar.start(total)
            bar.to(done)

        path = report_job(
            selection, scores, out, chosen, drive, predictions, layout=layout, label_map=label_map, progress=show
        )
    say(f"{path}: {path.stat().st_size / 1e6:.1f} MB; open it in a browser")


def _shard(text: str) -> tuple[int, int]:
    from lidal3d.errors import UsageError

    index, slash, count = text.partition("/")
    if not slash or not index.isdigit() or not count.isdigit() or not 1 <= int(index) <= int(count):
        raise UsageError(f"--shard {text}: expected i/n with 1 ≤ i ≤ n, for example 2/8")
    return int(index), int(count)


def _extent(selection: Selection) -> str:
    from lidal3d.cli.progress import count
    from lidal3d.strategies.kinds import units_in_words

    if not selection.picks:
        return "nothing"
    points = sum(pick.points for pick in selection.picks)
    units = units_in_words(len(selection.picks), selection.picks[0].kind)
    return f"{units}, {count(points, 'pixel' if _of_pictures(selection) else 'point')}"


def _tool(selection: Selection) -> str:
    return "label_studio" if _of_pictures(selection) else "point_labeler"


def _of_pictures(selection: Selection) -> bool:
    from lidal3d.units.make import OF_PICTURES

    return any(pick.kind in OF_PICTURES for pick in selection.picks)


def _say_scored(out: Path, result: ScoreResult, strategies: Sequence[str] = ()) -> None:
    from lidal3d.cli.progress import count, facts, say
    from lidal3d.strategies.kinds import units_in_words
    from lidal3d.units.make import OF_PICTURES

    if result.table is not None and result.table.kind == "track":
        _say_tracks(out, result.table)
    elif result.table is not None:
        table = result.table
        frames, points = len({*zip(table.scene.tolist(), table.frame.tolist(), strict=True)}), int(table.points.sum())
        elements = "pixels" if table.kind in OF_PICTURES else "points"
        named = "" if "divergence" in table.scores else f"--strategy {_first_able(table, strategies)} "
        coverage = []
        if "coverage" in table.scores:
            seen = float((table.score("coverage") * table.points).sum()) / max(points, 1)
            coverage = [("coverage", f"{100 * seen:.1f} % of the points are seen from another frame")]
        say(facts([
            ("scored", f"{units_in_words(len(table), table.kind)} in {count(frames, 'frame')}, {points:,} {elements}"),
            *coverage,
            ("scores", str(out)),
            ("next", f"lidal3d select {out} {named}--budget 1% --out queue"),
        ]))  # fmt: skip
    _say_failed(out, result)


def _first_able(table: ScoreTable, strategies: Sequence[str]) -> str:
    """A strategy for tables without divergence (of pictures, of an encoder alone), which the usual one can't choose from."""
    by_model = ["entropy"] if "softmax_entropy" in table.scores else []
    return next(name for name in [*strategies, *by_model, "random"] if name != "all")


def _say_tracks(out: Path, table: ScoreTable) -> None:
    from lidal3d.cli.progress import count, facts, say

    contradicted = int((table.score("track_disagreement") > 0).sum())
    say(facts([
        ("scored", f"{count(len(table), 'track')}, {int(table.score('track_points').sum()):,} points in all sweeps"),
        ("contradicted", f"{contradicted:,} are given different classes in different sweeps"),
        ("scores", str(out)),
        ("next", f"lidal3d select {out} --strategy track_disagreement --budget 50:regions --out queue"),
    ]))  # fmt: skip


def _say_failed(out: Path, result: ScoreResult) -> None:
    from lidal3d.cli.progress import count, say

    if result.failed:
        say(f"{count(len(result.failed), 'frame')} could not be read: {out / 'failed.jsonl'}; mend them and run again")
        raise typer.Exit(1)
