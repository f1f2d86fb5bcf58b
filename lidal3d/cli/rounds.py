# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""`lidal3d experiment`, `ingest` and `strategies`: rounds of labelling."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lidal3d.cli.settings import Device, LabelMap, Layout, Out, Workers


def experiment(
    file: Annotated[
        str, typer.Argument(metavar="EXPERIMENT", help="A YAML file, or the name of one that comes along.")
    ],
    out: Out,
    drive: Annotated[
        Path | None, typer.Option(metavar="PATH", help="The drive log, where the file names none.")
    ] = None,
    seed: Annotated[list[int] | None, typer.Option(metavar="N", help="Only this seed; may be given again.")] = None,
    strategy: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only this row of the experiment; may be given again.")
    ] = None,
    workers: Workers = 1,
    layout: Layout = None,
    label_map: LabelMap = None,
    device: Device = "cpu",
) -> None:
    """Compare strategies over rounds of labelling.

    A run that was cut off continues to the same result.
    """
    from lidal3d.cli.progress import progress, say
    from lidal3d.jobs.experiment import experiment_job

    with progress("experiment", "trainings") as bar:
        result = experiment_job(
            file, out, drive=drive, layout=layout, label_map=label_map, seeds=seed or (), strategies=strategy or (),
            workers=workers, device=device, start=bar.start, tick=bar.tick, note=bar.note,
        )  # fmt: skip
    say(result.table)


def ingest(
    queue: Annotated[Path, typer.Argument(metavar="QUEUE", help="A folder of `lidal3d select`.")],
    answers: Annotated[
        Path,
        typer.Argument(
            metavar="ANSWERS", help="The export for point_labeler, labelled; or Label Studio's JSON export."
        ),
    ],
    ledger: Annotated[Path, typer.Option("--ledger", metavar="FILE", help="The ledger; made where there is none.")],
    out: Out,
    drive: Annotated[Path | None, typer.Option(metavar="PATH", help="The drive log, if it was moved.")] = None,
    layout: Layout = None,
    label_map: LabelMap = None,
) -> None:
    """Take in what people labelled.

    It goes into the ledger, and into a folder of labels to train on.
    """
    from lidal3d.cli.progress import count, facts, say
    from lidal3d.jobs.ingest import ingest_job

    taken = ingest_job(queue, answers, ledger, out, drive=drive, layout=layout, label_map=label_map, notice=say)
    outside = f"{count(taken.outside, taken.element)} in no unit of the queue, left out"
    say(
        facts(
            [
                ("round", str(taken.round)),
                ("answered", f"{taken.answered} units, {taken.known} were known, {taken.open} still open"),
                ("labels", f"{count(taken.points, taken.element)} in {out}"),
                *([("outside", outside)] if taken.outside else []),
                ("pseudo-labels", f"{taken.pseudo} units, {taken.corrected:,} of their {taken.element}s corrected"),
                ("ledger", str(ledger)),
            ]
        )
    )


def strategies(as_json: Annotated[bool, typer.Option("--json", help="Print the list as JSON.")] = False) -> None:
    """List the selection strategies and what each needs."""
    import json

    from lidal3d.cli.progress import say, table
    from lidal3d.strategies import STRATEGIES
    from lidal3d.strategies.kinds import kinds_in_words

    if as_json:
        listed = [
            {
                "name": strategy.name,
                "asks": strategy.asks,
                "needs": sorted(strategy.needs),
                "columns": list(strategy.columns),
                "units": list(strategy.possible_kinds),
                "budget": list(strategy.currencies),
                "paper": strategy.paper,
            }
            for strategy in STRATEGIES.values()
        ]
        say(json.dumps(listed, indent=2, ensure_ascii=False))
        return
    every = STRATEGIES["random"].currencies
    rows = [
        (
            s.name,
            ", ".join(sorted(s.needs)) or "-",
            kinds_in_words(s.possible_kinds),
            "any" if s.currencies == every else ", ".join(s.currencies),
            s.asks,
        )
        for s in STRATEGIES.values()
    ]
    title = "Strategies for `lidal3d score` and `select --strategy NAME`, and for `lidal3d experiment`"
    say(table(title, ("name", "needs", "units", "budget", "asks for"), rows))
