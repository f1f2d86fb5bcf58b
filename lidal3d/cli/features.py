# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""`lidal3d select-features`: choosing from bare feature files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def select_features(
    features: Annotated[list[Path], typer.Argument(help="(N, E) or (N, K, E) as .npy; several of the same units.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The CSV file to write: rank, id, distance.")],
    budget: Annotated[int, typer.Option("--budget", "-b", min=1, help="How many units.")],
    ids: Annotated[Path | None, typer.Option(help="What the units are called: a text file, one a line.")] = None,
    labelled: Annotated[Path | None, typer.Option(help="Ids of what is labelled already, one a line.")] = None,
    rule: Annotated[str, typer.Option(metavar="NAME", help="prob (FreeSel), FDS or kcenter.")] = "prob",
    seed: Annotated[int, typer.Option(help="Seed of all chance.")] = 0,
) -> None:
    """Choose units that cover a pool of features, with no drive and no model at hand.

    The patterns.npy and embeddings.npy of `lidal3d score` are such files.
    """
    from lidal3d.cli.progress import count, facts, progress, say
    from lidal3d.jobs.select_features import select_features as choose

    with progress("choosing", "units") as bar:
        bar.start(budget)
        chosen = choose(features, out, budget, ids, labelled, rule, seed, bar.tick)
    lines = [("chosen", f"{count(len(chosen.ids), 'unit')} of {chosen.pool:,}, by {rule}")]
    if chosen.empty:
        lines.append(("left out", f"{count(chosen.empty, 'unit')} without a pattern"))
    say(facts([*lines, ("chosen ones", str(out))]))
