# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Point clouds in .pcd and .ply files, read by Open3D once their size is known to hold what their header promises.

Open3D gives a cut .ply back as if it were whole, with zeros at its end, so that the size is compared first.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lidal3d.errors import MissingDependency
from lidal3d.scene.readers.base import DriveProblem, unreadable

HEADER_END = {".pcd": re.compile(rb"^DATA[^\n]*\n", re.M), ".ply": re.compile(rb"^end_header\r?\n", re.M)}
PLY_SIZES = {"char": 1, "uchar": 1, "short": 2, "ushort": 2, "int": 4, "uint": 4, "float": 4, "double": 8}
PLY_SIZES |= {"int8": 1, "uint8": 1, "int16": 2, "uint16": 2, "int32": 4, "uint32": 4, "float32": 4, "float64": 8}
INTENSITY_NAMES = ("intensity", "reflectance", "remission", "i")


@dataclass(frozen=True)
class _Header:
    """What a cloud's header promises.

    Attributes:
        points: how many.
        record: bytes a point, or 0 where that is not fixed (text, compressed, lists).
        end: where the points begin.
        is_text: whether the points are lines of text.
    """

    points: int
    record: int
    end: int
    is_text: bool


def read_cloud(path: Path) -> npt.NDArray[np.float32]:
    """(N, 4) float32: x, y, z and the intensity, 0 where the file has none.

    Raises:
        DriveProblem: missing, no header, or fewer points than the header says.
        MissingDependency: Open3D does not load.
    """
    header = _read_header(path)
    if header.points == 0:
        return np.zeros((0, 4), dtype=np.float32)
    _require_points(path, header)
    attributes = _read_attributes(path)
    xyz = attributes["positions"].reshape(-1, 3) if "positions" in attributes else np.zeros((0, 3))
    if len(xyz) != header.points:
        raise _truncated(path, len(xyz), header.points)
    name = next((name for name in INTENSITY_NAMES if name in attributes), None)
    intensity = np.zeros(len(xyz)) if name is None else attributes[name].reshape(-1)
    return np.column_stack([xyz, intensity]).astype(np.float32)


def _truncated(path: Path, found: int, promised: int) -> DriveProblem:
    counts = f"{found} whole points, but its header says {promised}"
    return DriveProblem("POINTS-TRUNCATED", path, f"{counts}; copy the file again")


def _read_header(path: Path) -> _Header:
    try:
        with open(path, "rb") as file:
            start = file.read(65536)
    except OSError as error:
        raise unreadable(path, error, "POINTS") from None
    end = HEADER_END[path.suffix].search(start)
    if end is None:
        raise DriveProblem("POINTS-TRUNCATED", path, f"no {path.suffix} header in its first {len(start)} bytes")
    text = start[: end.end()].decode("ascii", errors="replace")
    try:
        return (_pcd_header if path.suffix == ".pcd" else _ply_header)(text, end.end())
    except (KeyError, ValueError, IndexError) as error:
        raise DriveProblem("POINTS-UNREADABLE", path, f"its header cannot be understood ({error!r})") from None


def _pcd_header(text: str, end: int) -> _Header:
    fields = {line.split()[0]: line.split()[1:] for line in text.splitlines() if line.split()}
    sizes = [int(size) for size in fields["SIZE"]]
    counts = [int(count) for count in fields.get("COUNT", ["1"] * len(sizes))]
    record = sum(size * count for size, count in zip(sizes, counts, strict=True))
    coding = fields["DATA"][0]
    return _Header(int(fields["POINTS"][0]), record if coding == "binary" else 0, end, coding == "ascii")


def _ply_header(text: str, end: int) -> _Header:
    words = [line.split() for line in text.splitlines() if line.split()]
    starts = [k for k, line in enumerate(words) if line[0] == "element"]
    vertex = next(k for k in starts if words[k][1] == "vertex")
    stop = next((k for k in starts if k > vertex), len(words))
    properties = [line for line in words[vertex + 1 : stop] if line[0] == "property"]
    is_text = next(line[1] for line in words if line[0] == "format") == "ascii"
    # Lists, and elements before the vertices, have no fixed size: their length stays unknown.
    fixed = not is_text and vertex == starts[0] and all(line[1] != "list" for line in properties)
    record = sum(PLY_SIZES[line[1]] for line in properties) if fixed else 0
    return _Header(int(words[vertex][2]), record, end, is_text)


def _require_points(path: Path, header: _Header) -> None:
    if header.record:
        found = (path.stat().st_size - header.end) // header.record
    elif header.is_text:
        found = len(path.read_bytes()[header.end :].splitlines())
    else:
        return
    if found < header.points:
        raise _truncated(path, found, header.points)


def _read_attributes(path: Path) -> dict[str, npt.NDArray[Any]]:
    try:
        import open3d as o3d
    except (ImportError, OSError) as error:
        how = "apt-get install libusb-1.0-0 libegl1 libgl1 libx11-6 libidn2-0"
        raise MissingDependency(f"Open3D reads {path.suffix} files, but does not load ({error}); {how}") from None
    with o3d.utility.VerbosityContextManager(o3d.utility.VerbosityLevel.Error):
        cloud = o3d.t.io.read_point_cloud(path)
    return {name: cloud.point[name].numpy() for name in cloud.point}
