# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""The restricted unpickler: tables of old and new pandas open, everything else is refused and not run."""

from __future__ import annotations

import collections
import gzip
import io
import os
import pickle
from pathlib import Path
from typing import ClassVar

import miniature as mini
import numpy as np
import pytest

from lidal3d.errors import DataError
from lidal3d.scene.restricted_pickle import load_table, loads


class _Call:
    """Pickles as a call of `function`."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


@pytest.mark.parametrize(
    "hostile",
    [
        _Call(os.system, "touch PLACE"),
        _Call(eval, "open('PLACE', 'w')"),
        _Call(getattr, 1, "real"),
        _Call(np.load, "x"),
        collections.OrderedDict(a=1),
        os.getcwd,
    ],
)
def test_anything_else_is_refused(hostile: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(DataError, match="which is not loaded from data"):
            loads(pickle.dumps(hostile, protocol))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_and_containers_load(protocol: int) -> None:
    value = {"a": np.arange(6.0).reshape(2, 3), "b": [1, "x", None, (np.float64(2.5), b"q")]}
    loaded = loads(pickle.dumps(value, protocol))
    np.testing.assert_array_equal(loaded["a"], value["a"])
    assert loaded["b"] == value["b"]


def test_new_pandas_table(tmp_path: Path) -> None:
    columns = {"x": np.array([1.5, 2.5]), "d": np.array([0, 1]), "y": np.array([7.0, 8.0])}
    mini.pickled_table(tmp_path / "t.pkl.gz", columns)
    table = load_table(tmp_path / "t.pkl.gz")
    assert set(table.columns) == set(columns)
    for name, values in columns.items():
        np.testing.assert_array_equal(table.columns[name], values)
    np.testing.assert_array_equal(table.index, [0, 1])


class _OldPandasPickler(pickle._Pickler):
    """Writes tables as pandas before 1.3 did (PandaSet's files): the manager's state is a tuple of four."""

    def save_global(self, obj, name=None):
        for kind, where in _OLD_NAMES.items():
            if obj is kind:
                self.write(pickle.GLOBAL + where.encode() + b"\n")
                return
        super().save_global(obj, name)

    dispatch: ClassVar = pickle._Pickler.dispatch | {type: save_global, type(lambda: None): save_global}


class _OldFrame:
    def __reduce__(self):
        return _OldFrame, (), {"_data": self.manager, "_typ": "dataframe"}


class _OldManager:
    def __reduce__(self):
        extra = {"axes": self.axes, "blocks": [{"values": v, "mgr_locs": p} for v, p in self.blocks]}
        return _OldManager, (), (self.axes, [v for v, _ in self.blocks], [], {"0.14.1": extra})


class _OldIndex:
    def __init__(self, kind, state):
        self.kind, self.state = kind, state

    def __reduce__(self):
        return _new_index, (self.kind, self.state)


class _OldRangeIndex:
    pass


def _new_index(kind, state):
    raise AssertionError("only its name is written")


_OLD_NAMES = {
    _OldFrame: "pandas.core.frame\nDataFrame",
    _OldManager: "pandas.core.internals.managers\nBlockManager",
    _OldIndex: "pandas.core.indexes.base\nIndex",
    _OldRangeIndex: "pandas.core.indexes.range\nRangeIndex",
    _new_index: "pandas.core.indexes.base\n_new_Index",
}


def test_old_pandas_table(tmp_path: Path) -> None:
    frame, manager = _OldFrame(), _OldManager()
    names = np.array(["x", "d", "y"], dtype=object)
    manager.axes = [
        _OldIndex(_OldIndex, {"data": names, "name": None}),
        _OldIndex(_OldRangeIndex, {"start": 0, "stop": 4, "step": 2, "name": None}),
    ]
    manager.blocks = [(np.array([[1.5, 2.5], [7.0, 8.0]]), slice(0, 3, 2)), (np.array([[0, 1]]), slice(1, 2, 1))]
    frame.manager = manager
    content = io.BytesIO()
    _OldPandasPickler(content, 2).dump(frame)
    (tmp_path / "t.pkl.gz").write_bytes(gzip.compress(content.getvalue()))
    table = load_table(tmp_path / "t.pkl.gz")
    np.testing.assert_array_equal(table.columns["x"], [1.5, 2.5])
    np.testing.assert_array_equal(table.columns["y"], [7.0, 8.0])
    np.testing.assert_array_equal(table.columns["d"], [0, 1])
    np.testing.assert_array_equal(table.index, [0, 2])


def test_no_table_and_cut_files(tmp_path: Path) -> None:
    path = tmp_path / "t.pkl.gz"
    path.write_bytes(gzip.compress(pickle.dumps([1, 2])))
    with pytest.raises(DataError, match="holds a list"):
        load_table(path)
    path.write_bytes(gzip.compress(pickle.dumps(np.arange(1000.0)))[:-40])
    with pytest.raises(DataError, match="not a whole gzip file"):
        load_table(path)
    path.write_bytes(gzip.compress(pickle.dumps(np.arange(10.0))[:-30]))
    with pytest.raises(DataError, match="not a pickle that lidal3d loads"):
        load_table(path)
