# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""`lidal3d`: the entry point. Every error is one line; a traceback only comes with --debug."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from typing import Any, NoReturn

import typer

from lidal3d.cli import drive, features, model, pretrain, queue, rounds, settings, tracks
from lidal3d.errors import LidalError, UsageError
from lidal3d.learn.processes import started_processes

INTERRUPTED = 130

app = typer.Typer(
    name="lidal3d",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(asked: bool) -> None:
    if asked:
        from lidal3d import __version__

        typer.echo(__version__)
        raise typer.Exit()


@app.callback()
def lidal3d(
    context: typer.Context,
    version: bool = typer.Option(
        False, "--version", help="Print the version and leave.", is_eager=True, callback=_print_version
    ),
    debug: bool = typer.Option(False, "--debug", help="Show the traceback of an error."),
) -> None:
    """What in a drive log is worth labelling, why, and in the format a labelling tool reads.

    A whole round, on a simulated drive:  lidal3d demo

    On a drive of yours:

      lidal3d check   DRIVE --predictions PREDICTIONS

      lidal3d score   DRIVE --predictions PREDICTIONS --out scores

      lidal3d select  scores --budget 1% --out queue

      lidal3d export  queue --format point_labeler --out to_label

      lidal3d report  queue --out report.html
    """
    if context.invoked_subcommand != "train" and started_processes().size > 1:
        raise UsageError(
            f"torchrun started several processes, but {context.invoked_subcommand} does not share its work among "
            "them; start it without torchrun"
        )


for command in (
    drive.demo, drive.simulate, drive.check, tracks.track,
    model.train, model.predict, pretrain.pretrain,
    queue.score, queue.merge, queue.select, features.select_features, queue.export, queue.report,
    rounds.experiment, rounds.ingest, rounds.strategies,
    settings.config,
):  # fmt: skip
    app.command()(command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its exit code: 0, 1 for an error, 2 for wrong usage, 130 when interrupted."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    # --debug may stand anywhere: people add it at the end of the line that failed.
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"] or ["--help"]
    # The package's kernels are one-threaded and workers are processes: more threads only fight for the cores.
    os.environ.setdefault("NUMBA_NUM_THREADS", str(len(os.sched_getaffinity(0))))
    try:
        code = app(arguments, prog_name="lidal3d", standalone_mode=False) or 0
        if code == INTERRUPTED:  # typer turns Ctrl-C into this
            raise KeyboardInterrupt
        raise SystemExit(code)
    except LidalError as error:
        _fail(error, str(error), error.exit_code, debug)
    except KeyboardInterrupt as error:
        _fail(error, "interrupted; run the same command again to continue", INTERRUPTED, debug)
    except BrokenPipeError:
        # Whoever read our output has left (`lidal3d … | head`).
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    except MemoryError as error:
        _fail(error, "out of memory; fewer --workers need less", 1, debug)
    except OSError as error:
        _fail(error, f"{error.filename or 'system'}: {error.strerror or error}", 1, debug)
    except Exception as error:
        if hasattr(error, "format_message"):
            # What typer says of options; the class is private to it.
            _fail(error, _usage(error), 2, debug)
        _fail(error, f"internal error: {type(error).__name__}: {error} (a defect; --debug shows where)", 1, debug)


def _usage(error: Any) -> str:
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "lidal3d"
    return f"{error.format_message().rstrip('.')}; see {command} --help"


def _fail(error: BaseException, message: str, code: int, debug: bool) -> NoReturn:
    if debug:
        traceback.print_exception(error)
    print(f"lidal3d: error: {' '.join(message.split())}", file=sys.stderr)
    raise SystemExit(code) from None
