# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""A training's steps as they happen: a CSV file always, TensorBoard's events where tensorboard is installed."""

from __future__ import annotations

import csv
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import Any

from lidal3d.errors import DataError
from lidal3d.files import write_text

LOG_FILE = "training.csv"
COLUMNS = ("step", "loss", "learning_rate", "seconds")


class StepLog:
    """Appends a line a step to `training.csv` in a folder: step, loss, learning rate, seconds since the line before.

    Args:
        folder: where; None logs nothing.
        after_step: how many steps were taken already; later lines, of a run that was cut off, are dropped.
    """

    def __init__(self, folder: Path | None, after_step: int = 0) -> None:
        self._file: Any = None
        self._board: Any = None
        self._last = perf_counter()
        if folder is None:
            return
        path = folder / LOG_FILE
        write_text(path, "".join(_kept_lines(path, after_step)))
        try:
            self._file = path.open("a", encoding="utf-8", newline="")
        except OSError as error:
            raise DataError(f"{path}: cannot write ({error.strerror}); choose another --out") from None
        self._board = _tensorboard(folder, after_step)

    def note(self, step: int, loss: float, learning_rate: float) -> None:
        """One step's line."""
        now = perf_counter()
        if self._file is not None:
            row = (step, repr(loss), f"{learning_rate:.6g}", f"{now - self._last:.4f}")
            self._file.write(",".join(map(str, row)) + "\n")
            self._file.flush()
        if self._board is not None:
            self._board.add_scalar("loss", loss, step)
            self._board.add_scalar("learning_rate", learning_rate, step)
        self._last = now

    def __enter__(self) -> StepLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for sink in (self._file, self._board):
            if sink is not None:
                sink.close()


def logged_losses(folder: Path) -> list[float]:
    """The losses of all steps in a folder's log, none where there is no log."""
    return [float(row[1]) for row in _rows(folder / LOG_FILE)]


def _kept_lines(path: Path, after_step: int) -> list[str]:
    """The header, and the lines of the steps up to `after_step` that stand in the file."""
    rows = _rows(path) if after_step else []
    kept = [list(COLUMNS), *(row for row in rows if int(row[0]) <= after_step)]
    return [",".join(row) + "\n" for row in kept]


def _rows(path: Path) -> list[list[str]]:
    """The whole lines of a log."""
    if not path.is_file():
        return []
    rows = csv.reader(path.read_text(encoding="utf-8").splitlines()[1:])
    return [row for row in rows if len(row) == len(COLUMNS) and row[0].isdigit()]


def _tensorboard(folder: Path, after_step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder / "tensorboard"), purge_step=after_step + 1)
