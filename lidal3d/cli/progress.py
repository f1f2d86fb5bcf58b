# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Progress bars that name their unit, and tables; the only place that draws on the terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class Bar:
    """One bar: `start(total)` once, then `tick()` for each unit done or `to(done)`."""

    start: Callable[[int], None]
    tick: Callable[[], None]
    to: Callable[[int], None]
    note: Callable[[str], None]


def _nothing(*_: object) -> None:
    pass


SILENT = Bar(_nothing, _nothing, _nothing, _nothing)


@contextmanager
def progress(what: str, unit: str) -> Iterator[Bar]:
    """A bar on stderr, "scoring ━━━━ 12/60 frames 0:00:03"; nothing where stderr is no terminal."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn(unit),
        TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(), TextColumn("{task.fields[note]}"),
    )  # fmt: skip
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:
        task = bars.add_task(f"{what:<12}", total=None, note="")
        yield Bar(
            start=lambda total: bars.update(task, total=total),
            tick=lambda: bars.advance(task),
            to=lambda done: bars.update(task, completed=done),
            note=lambda text: bars.update(task, note=text),
        )


def table(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A plain text table, columns of numbers on the right; the same text goes to the terminal and into files."""
    widths = [max(len(row[i]) for row in (headings, *rows)) for i in range(len(headings))]
    numeric = [all(row[i][:1].isdigit() for row in rows) for i in range(len(headings))]

    def line(cells: Sequence[str]) -> str:
        return "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(cells, widths, numeric, strict=True)
        ).rstrip()

    rule = "  ".join("-" * width for width in widths)
    return "\n".join([title, line(headings), rule, *(line(row) for row in rows)])


def facts(pairs: Sequence[tuple[str, str]]) -> str:
    """Lines of "name  value", names aligned."""
    width = max(len(name) for name, _ in pairs)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in pairs)


def count(number: int, name: str, plural: str = "") -> str:
    """ "1 frame", "1,200 frames", "2 boxes"."""
    return f"{number:,} {name if number == 1 else plural or f'{name}s'}"


def say(text: str) -> None:
    """Print to stdout."""
    print(text, file=sys.stdout, flush=True)
