# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""What every reader shares: the layout's contract, faults that know their check rule, and reading plain files."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from lidal3d.errors import DataError
from lidal3d.scene.labels import LabelMap
from lidal3d.scene.pose import Float64, from_rotation_translation
from lidal3d.scene.scene import Scene

# Where a data set gives no times: a usual spinning sensor turns ten times a second.
ASSUMED_PERIOD_NS = 100_000_000

# The axes of nuScenes' LIDAR_TOP and of PandaSet's Pandar64: x right, y forward, z up.
yforward_SE3_lidar = from_rotation_translation([[0, -1, 0], [1, 0, 0], [0, 0, 1]], [0, 0, 0])


class DriveProblem(DataError):
    """A fault of one file of a drive; `rule` is the id of the `lidal3d check` rule that it breaks."""

    def __init__(self, rule: str, path: Path, problem: str) -> None:
        super().__init__(f"{path}: {problem}")
        self.rule = rule
        self.path = path
        self.problem = problem

    def __reduce__(self) -> tuple[type, tuple[str, Path, str]]:
        return DriveProblem, (self.rule, self.path, self.problem)


OnProblem = Callable[[DriveProblem], None]


def raise_problem(problem: DriveProblem) -> None:
    """The usual answer to a fault met while opening; `lidal3d check` notes it and goes on instead."""
    raise problem


class SceneOpener(Protocol):
    """Opens one scene; after a fault that `on_problem` let pass, what is missing is NaN."""

    def __call__(self, label_map: LabelMap | None, on_problem: OnProblem = raise_problem) -> Scene:
        """Open the scene without reading a point."""


@dataclass(frozen=True)
class Layout:
    """How one data set lies on disk.

    Attributes:
        name: "semantickitti", "nuscenes", …
        looked_for: what makes a path this layout, for the message when nothing was recognised.
        recognises: whether a path has this layout; lists folders only.
        scenes: scene id -> opener, for a path that has this layout.
    """

    name: str
    looked_for: str
    recognises: Callable[[Path], bool]
    scenes: Callable[[Path], Mapping[str, SceneOpener]]


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sorts "2.pcd" before "10.pcd": digits compare as numbers, the rest as text."""
    parts = re.split(r"(\d+)", name)
    return [(1, int(part), "") if part.isdigit() else (0, 0, part) for part in parts]


def absolute(path: Path) -> Path:
    """The path in full, so that "." has a name; links stay, because their names are the scenes'."""
    return Path(os.path.abspath(path))


def subfolders(path: Path) -> list[Path]:
    """The visible folders in `path`, by name; none where `path` is no folder."""
    if not path.is_dir():
        return []
    return sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def file_stems(folder: Path, suffix: str) -> list[str]:
    """Names, without `suffix`, of the visible files in `folder` that end with it, in natural order; reads no file."""
    if not folder.is_dir():
        return []
    names = [n[: -len(suffix)] for n in os.listdir(folder) if n.endswith(suffix) and not n.startswith(".")]
    return sorted(names, key=natural_key)


def require_frames(names: Sequence[str], folder: Path, suffix: str) -> None:
    """Raise where a drive has no sweep at all."""
    if not names:
        raise DriveProblem("DRIVE-EMPTY", folder, f"0 sweeps (*{suffix}) there, at least 1 needed; copy the data again")


def frame_numbers(names: Sequence[str], folder: Path) -> list[int]:
    """Integer frame numbers of the names, for layouts that match sweeps with poses by number."""
    wrong = [name for name in names if not name.isdigit()]
    if wrong:
        raise DriveProblem("FRAME-NAME", folder / wrong[0], "a sweep's name must be its number; rename or remove it")
    return [int(name) for name in names]


def read_records(path: Path, dtype: npt.DTypeLike, columns: int, kind: str) -> npt.NDArray[Any]:
    """(N, columns) of a headless binary file.

    Raises:
        DriveProblem: `kind`-MISSING, or `kind`-TRUNCATED where the size is no multiple of the record.
    """
    record = np.dtype(dtype).itemsize * columns
    try:
        size = path.stat().st_size
        if size % record:
            whole = f"{size} bytes, not a multiple of the {record}-byte record ({size // record} whole ones)"
            raise DriveProblem(f"{kind}-TRUNCATED", path, f"{whole}; copy the file again")
        return np.fromfile(path, dtype=dtype).reshape(-1, columns)
    except OSError as error:
        raise unreadable(path, error, kind) from None


def unreadable(path: Path, error: OSError, kind: str) -> DriveProblem:
    """The fault for a file that the system will not give."""
    if isinstance(error, FileNotFoundError):
        return DriveProblem(f"{kind}-MISSING", path, "missing; copy it from the data set")
    return DriveProblem(f"{kind}-UNREADABLE", path, f"cannot read ({error.strerror or error})")


def read_text(path: Path, kind: str) -> str:
    """The text of a small file, with the system's refusals as `kind`-MISSING or `kind`-UNREADABLE."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise unreadable(path, error, kind) from None
    except UnicodeDecodeError as error:
        raise DriveProblem(f"{kind}-UNREADABLE", path, f"not a text file (byte {error.start})") from None


def read_json(path: Path, kind: str) -> Any:
    """A JSON file; fractions become Decimal, so that times in seconds keep every digit."""
    try:
        return json.loads(read_text(path, kind), parse_float=Decimal)
    except json.JSONDecodeError as error:
        raise DriveProblem(f"{kind}-UNREADABLE", path, f"not JSON (line {error.lineno}: {error.msg})") from None


def read_rows(path: Path, columns: int, kind: str) -> list[list[str]]:
    """The lines of a text table as lists of `columns` words; blank lines and # comments are left out."""
    rows = []
    for number, line in enumerate(read_text(path, kind).splitlines(), 1):
        words = line.replace(",", " ").split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) != columns:
            problem = f"line {number} has {len(words)} numbers, expected {columns}"
            raise DriveProblem(f"{kind}-UNREADABLE", path, problem)
        rows.append(words)
    return rows


def to_numbers(rows: Sequence[Sequence[str]], path: Path, kind: str) -> Float64:
    """float64 matrix of text rows."""
    try:
        return np.array(rows, dtype=np.float64)
    except ValueError as error:
        raise DriveProblem(f"{kind}-UNREADABLE", path, f"holds something that is no number ({error})") from None


def read_kitti_poses(path: Path) -> Float64:
    """(T, 4, 4) of a text file with the first three rows of each pose, 12 numbers a line."""
    numbers = to_numbers(read_rows(path, 12, "POSES"), path, "POSES").reshape(-1, 3, 4)
    poses = np.tile(np.eye(4), (len(numbers), 1, 1))
    poses[:, :3] = numbers
    return poses


def seconds_to_ns(seconds: Sequence[Any], path: Path) -> npt.NDArray[np.int64]:
    """Integer nanoseconds of decimal seconds (text or Decimal), exact to the last digit."""
    try:
        return np.array([int(Decimal(s).scaleb(9).to_integral_value()) for s in seconds], dtype=np.int64)
    except (InvalidOperation, ValueError, OverflowError, TypeError):
        raise DriveProblem("TIMES-UNREADABLE", path, "holds something that is no time in seconds") from None


def take_rows(rows: npt.NDArray[Any], numbers: Sequence[int], path: Path, kind: str, report: OnProblem) -> Any:
    """The rows of frames `numbers`; where there are too few, `report` is told and the missing ones are NaN (or 0)."""
    missing = [number for number in numbers if number >= len(rows)]
    if missing:
        need = f"{len(rows)} rows, but sweep {missing[0]} needs row {missing[0] + 1}"
        report(DriveProblem(f"{kind}-MISSING", path, f"{need}; {len(missing)} of {len(numbers)} sweeps have none"))
    filler = np.nan if np.issubdtype(rows.dtype, np.floating) else 0
    result = np.full((len(numbers), *rows.shape[1:]), filler, dtype=rows.dtype)
    for place, number in enumerate(numbers):
        if number < len(rows):
            result[place] = rows[number]
    return result


def assumed_times(count: int) -> npt.NDArray[np.int64]:
    """(T,) nanoseconds at ten sweeps a second, for drives without times."""
    return np.arange(count, dtype=np.int64) * ASSUMED_PERIOD_NS


def nearest_index(sorted_ns: npt.NDArray[np.int64], timestamp_ns: int) -> int:
    """Index of the entry nearest in time, the earlier of two equally near ones; `sorted_ns` must not be empty."""
    right = int(np.searchsorted(sorted_ns, timestamp_ns))
    if right == len(sorted_ns) or (right and timestamp_ns - sorted_ns[right - 1] <= sorted_ns[right] - timestamp_ns):
        return right - 1
    return right


def lidar_from_yforward(xyz: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """(N, 3) float32 in lidar axes (x forward, y left) of points in axes x right, y forward."""
    return np.stack([xyz[:, 1], -xyz[:, 0], xyz[:, 2]], axis=1).astype(np.float32)
