# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Arrays row for row beside a score table, as .npy files: features, probabilities, embeddings and patterns of its units.

Of regions they are means over the points (patterns aren't), of boxes the box's own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lidal3d.errors import DataError
from lidal3d.files import replacing
from lidal3d.scores.table import ScoreTable
from lidal3d.strategies.pool import ARRAYS, UnitPool

SCORES_FILE = "scores.parquet"


def array_path(folder: Path, name: str) -> Path:
    """Where an array of a whole results folder lies."""
    return folder / f"{name}.npy"


def write_part_arrays(path: Path, sweeps: Sequence[npt.NDArray[np.float32]]) -> None:
    """Save the rows of some sweeps one after the other. Raises DataError where they have other numbers of columns."""
    rows = [sweep for sweep in sweeps if len(sweep)]
    widths = _one_width([sweep.shape for sweep in rows], f"{path}: sweeps")
    joined = np.concatenate(rows) if rows else np.empty((0, *widths), np.float32)
    with replacing(path) as temporary, open(temporary, "wb") as file:
        np.save(file, joined, allow_pickle=False)


def join_arrays(paths: Sequence[Path], out: Path) -> None:
    """Put the arrays of parts together, one part in memory at a time. Raises DataError as `write_part_arrays`."""
    shapes = [np.load(path, mmap_mode="r", allow_pickle=False).shape for path in paths]
    widths = _one_width([shape for shape in shapes if shape[0]] or shapes, f"{out}: parts")
    rows = sum(shape[0] for shape in shapes)
    write_blocks(out, (rows, *widths), (np.load(path, allow_pickle=False) for path in paths))


def _one_width(shapes: Sequence[tuple[int, ...]], where: str) -> tuple[int, ...]:
    """The shape of a row, which all have. Raises DataError."""
    widths = sorted({shape[1:] for shape in shapes})
    if len(widths) > 1:
        first, second = (" × ".join(map(str, width)) for width in widths[:2])
        raise DataError(f"{where} with {first} and with {second} columns; let one model predict them all")
    return widths[0] if widths else (0,)


def write_blocks(out: Path, shape: tuple[int, ...], blocks: Iterable[npt.NDArray[np.float32]]) -> None:
    """Save blocks one after the other as one float32 array of a shape, holding one at a time."""
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    with replacing(out) as temporary, open(temporary, "wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for block in blocks:
            file.write(np.ascontiguousarray(block, "<f4").tobytes())


def read_pool(folder: Path, names: Collection[str] = tuple(ARRAYS)) -> UnitPool:
    """The scored units of a results folder, with those of the named arrays that lie there.

    Raises:
        DataError: no table there, or a damaged file.
    """
    table = ScoreTable.read(folder / SCORES_FILE)
    return UnitPool(table, **{name: _read(array_path(folder, name), len(table), ARRAYS[name]) for name in names})


def _read(path: Path, units: int, dimensions: int) -> npt.NDArray[np.float32] | None:
    try:
        array = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: not a whole .npy array ({error}); score again") from None
    if array.dtype != np.float32 or array.ndim != dimensions or len(array) != units:
        raise DataError(f"{path}: {array.dtype} of shape {array.shape} for {units} scored units; score again")
    return array
