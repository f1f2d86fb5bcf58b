# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Arrays row for row beside a score table, as .npy files: features and probabilities of its units.

Of regions they are means over the points, of boxes the box's own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lidal3d.errors import DataError
from lidal3d.files import replacing
from lidal3d.scores.table import ScoreTable
from lidal3d.strategies.pool import UnitPool

SCORES_FILE = "scores.parquet"
ARRAYS = ("features", "probabilities")


def array_path(folder: Path, name: str) -> Path:
    """Where an array of a whole results folder lies."""
    return folder / f"{name}.npy"


def write_part_arrays(path: Path, sweeps: Sequence[npt.NDArray[np.float32]]) -> None:
    """Save the rows of some sweeps one after the other. Raises DataError where they have other numbers of columns."""
    rows = [sweep for sweep in sweeps if len(sweep)]
    widths = sorted({sweep.shape[1] for sweep in rows})
    if len(widths) > 1:
        raise DataError(f"{path}: sweeps with {widths[0]} and with {widths[1]} columns; let one model predict them all")
    joined = np.concatenate(rows) if rows else np.empty((0, 0), np.float32)
    with replacing(path) as temporary, open(temporary, "wb") as file:
        np.save(file, joined, allow_pickle=False)


def join_arrays(paths: Sequence[Path], out: Path) -> None:
    """Put the arrays of parts together, one part in memory at a time. Raises DataError as `write_part_arrays`."""
    shapes = [np.load(path, mmap_mode="r", allow_pickle=False).shape for path in paths]
    widths = sorted({columns for rows, columns in shapes if rows})
    if len(widths) > 1:
        raise DataError(f"{out}: parts with {widths[0]} and with {widths[1]} columns; let one model predict them all")
    rows = sum(rows for rows, _ in shapes)
    write_blocks(out, rows, widths[0] if widths else 0, (np.load(path, allow_pickle=False) for path in paths))


def write_blocks(out: Path, rows: int, columns: int, blocks: Iterable[npt.NDArray[np.float32]]) -> None:
    """Save blocks (K, columns) one after the other as one float32 array (rows, columns), holding one at a time."""
    header = {"descr": "<f4", "fortran_order": False, "shape": (rows, columns)}
    with replacing(out) as temporary, open(temporary, "wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for block in blocks:
            file.write(np.ascontiguousarray(block, "<f4").tobytes())


def read_pool(folder: Path, names: Collection[str] = ARRAYS) -> UnitPool:
    """The scored units of a results folder, with those of the named arrays that lie there.

    Raises:
        DataError: no table there, or a damaged file.
    """
    table = ScoreTable.read(folder / SCORES_FILE)
    return UnitPool(table, **{name: _read(array_path(folder, name), len(table)) for name in names})


def _read(path: Path, units: int) -> npt.NDArray[np.float32] | None:
    try:
        array = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: not a whole .npy array ({error}); score again") from None
    if array.dtype != np.float32 or array.ndim != 2 or len(array) != units:
        raise DataError(f"{path}: {array.dtype} of shape {array.shape} for {units} scored units; score again")
    return array
