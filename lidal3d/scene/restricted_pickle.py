# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Reading pickled pandas tables without trusting them: only numpy arrays are built, pandas itself is never called.

A pickle may name any function and have it called. Here every name but a dozen is refused, and pandas' own classes are
replaced by stand-ins that only remember what they were given; the columns are then taken from there. So a table
written by any pandas version since 0.14 opens under any other, or without one.
"""

from __future__ import annotations

import gzip
import importlib
import io
import pickle
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lidal3d.errors import DataError


@dataclass(frozen=True)
class Table:
    """A pandas DataFrame as arrays: `columns` maps a name to (N,), `index` (N,) holds the row labels."""

    columns: dict[str, npt.NDArray[Any]]
    index: npt.NDArray[Any]


class _DataFrame:
    """Stands in for pandas.DataFrame: keeps its state."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.manager = state["_mgr"] if "_mgr" in state else state["_data"]


class _BlockManager:
    """Stands in for pandas' BlockManager, in the form before 1.3 (state) and since (blocks, axes)."""

    def __init__(self, blocks: Any = (), axes: Any = (), *_: Any) -> None:
        self.blocks, self.axes = blocks, axes

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        extra = state[3]["0.14.1"]
        self.axes = extra["axes"]
        self.blocks = [(block["values"], block["mgr_locs"]) for block in extra["blocks"]]


class _Index:
    """Stands in for every pandas index class."""


class _RangeIndex:
    """Stands in for pandas.RangeIndex."""


def _new_index(kind: type, state: dict[str, Any]) -> npt.NDArray[Any]:
    if kind is _RangeIndex:
        return np.arange(state["start"], state["stop"], state["step"])
    return np.asarray(state["data"])


def _latin1(text: str, encoding: str) -> bytes:
    # Old pickle protocols write bytes as text; nothing but that is decoded.
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"encoding {encoding} is not loaded")
    return text.encode("latin1")


def _multiarray(name: str) -> Callable[..., Any]:
    module = "numpy._core.multiarray" if np.lib.NumpyVersion(np.__version__) >= "2.0.0" else "numpy.core.multiarray"
    return getattr(importlib.import_module(module), name)


def _frombuffer(buffer: Any, dtype: Any, shape: Any, order: str) -> npt.NDArray[Any]:
    return np.frombuffer(buffer, dtype=dtype).reshape(shape, order=order)  # type: ignore[call-overload]


_ALLOWED: dict[tuple[str, str], Any] = {
    ("builtins", "slice"): slice,
    ("__builtin__", "slice"): slice,
    ("_codecs", "encode"): _latin1,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _multiarray("_reconstruct") for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _multiarray("scalar") for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _frombuffer for core in ("core", "_core")},
    ("pandas", "DataFrame"): _DataFrame,
    ("pandas.core.frame", "DataFrame"): _DataFrame,
    ("pandas.core.internals.managers", "BlockManager"): _BlockManager,
    ("pandas.core.internals", "BlockManager"): _BlockManager,
    ("pandas._libs.internals", "_unpickle_block"): lambda values, places, *_: (values, places),
    ("pandas.core.indexes.base", "_new_Index"): _new_index,
    **{(m, "RangeIndex"): _RangeIndex for m in ("pandas", "pandas.core.indexes.range")},
    **{(m, "Index"): _Index for m in ("pandas", "pandas.core.indexes.base")},
    **{("pandas.core.indexes.numeric", f"{kind}Index"): _Index for kind in ("Int64", "UInt64", "Float64")},
}


class _RestrictedUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is not loaded from data") from None


def loads(content: bytes, origin: str = "pickle") -> Any:
    """What a pickle holds: built-in containers, numbers, text and numpy arrays; pandas tables as stand-ins.

    Raises:
        DataError: broken, or asking for any other class or function; nothing of it is run.
    """
    try:
        return _RestrictedUnpickler(io.BytesIO(content)).load()
    except Exception as error:  # a hostile or cut pickle can fail anywhere
        raise DataError(f"{origin}: not a pickle that lidal3d loads ({type(error).__name__}: {error})") from None


def load_table(path: Path) -> Table:
    """A pickled pandas DataFrame (.pkl or .pkl.gz) as arrays.

    Raises:
        DataError: missing, truncated, no table, or asking for anything but numpy arrays.
    """
    try:
        content = path.read_bytes()
        content = gzip.decompress(content) if path.suffix == ".gz" else content
    except FileNotFoundError:
        raise
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: not a whole gzip file ({error})") from None
    return _as_table(loads(content, str(path)), path)


def _as_table(frame: Any, path: Path) -> Table:
    if not isinstance(frame, _DataFrame) or not isinstance(getattr(frame, "manager", None), _BlockManager):
        raise DataError(f"{path}: holds a {type(frame).__name__}, expected a pandas table")
    names, index = frame.manager.axes
    columns = {}
    for values, places in frame.manager.blocks:
        held = np.arange(len(names))[places] if isinstance(places, slice) else np.asarray(places)
        columns.update({str(names[place]): row for place, row in zip(held, np.atleast_2d(values), strict=True)})
    return Table(columns, index)
