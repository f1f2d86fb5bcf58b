# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Info files of mmdet3d (`*_infos_*.pkl`), old and new, as one form; read by the restricted loader, nothing is run.

New (mmdet3d 1.x): {metainfo, data_list}, an entry a frame with lidar_points, ego2global, images, … Old (0.x): {metadata,
infos} with the names of nuScenes, or a list of entries with a point_cloud as for KITTI; they are brought into the new form.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lidal3d.errors import DataError
from lidal3d.scene.labels import IGNORE, LabelMap, load_label_map
from lidal3d.scene.pose import Float64, from_rotation_translation, inverse, rotation_from_quaternion
from lidal3d.scene.readers.base import DriveProblem, absolute
from lidal3d.scene.restricted_pickle import loads

Entry = Mapping[str, Any]
PATTERN = "*_infos_*.pkl"
CARDS = {"nuscenes": "nuscenes", "nus": "nuscenes", "semantickitti": "semantickitti"}
RULE = "INFO-UNREADABLE"


@dataclass(frozen=True)
class InfoFile:
    """One info file: where it lies, what it says of all frames, and an entry a frame in the new form."""

    path: Path
    metainfo: Mapping[str, Any]
    entries: tuple[Entry, ...]


def info_files(path: Path) -> list[Path]:
    """The info files that `path` is or holds, by name; lists the folder only."""
    path = absolute(path)
    if path.is_file():
        return [path] if path.suffix == ".pkl" else []
    return sorted(file for file in path.glob(PATTERN) if file.is_file())


def read_info(path: Path) -> InfoFile:
    """Read an info file. Raises DriveProblem when it is missing, broken, asks for code, or is no info file."""
    try:
        content = loads(path.read_bytes(), str(path))
    except OSError as error:
        raise DriveProblem(RULE, path, f"cannot read ({error.strerror or error})") from None
    except DataError as error:
        raise DriveProblem(RULE, path, str(error).removeprefix(f"{path}: ")) from None
    metainfo, entries = _parts(content, path)
    try:
        return InfoFile(path, metainfo, tuple(map(_modern, entries)))
    except (KeyError, TypeError, ValueError, IndexError) as error:
        problem = f"an entry is not what mmdet3d writes ({type(error).__name__}: {error})"
        raise DriveProblem(RULE, path, problem) from None


def _parts(content: Any, path: Path) -> tuple[Mapping[str, Any], Sequence[Entry]]:
    if isinstance(content, list):
        content = {"data_list": content}
    if not isinstance(content, dict) or not {"data_list", "infos"} & set(content):
        raise DriveProblem(RULE, path, f"holds a {type(content).__name__} without data_list or infos, no info file")
    metainfo = content.get("metainfo", content.get("metadata", {}))
    entries = content.get("data_list", content.get("infos"))
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise DriveProblem(RULE, path, f"its frames are a {type(entries).__name__}, expected a list of dicts")
    if not entries:
        raise DriveProblem("DRIVE-EMPTY", path, "0 frames there, at least 1 needed")
    return metainfo if isinstance(metainfo, dict) else {}, entries


def _modern(entry: Entry) -> Entry:
    """An entry in the form of mmdet3d 1.x. Raises KeyError for one that names no points."""
    if "lidar_points" in entry:
        return {
            **entry,
            "lidar_points": {"lidar_path": str(entry["lidar_points"]["lidar_path"]), **entry["lidar_points"]},
        }
    if "point_cloud" in entry:
        cloud = entry["point_cloud"]
        points = {"lidar_path": str(cloud["velodyne_path"]), "num_pts_feats": int(cloud.get("num_features", 4))}
        return {"lidar_points": points}
    lidar2ego = _rigid(entry["lidar2ego_rotation"], entry["lidar2ego_translation"])
    return {
        "timestamp": entry["timestamp"],
        "ego2global": _rigid(entry["ego2global_rotation"], entry["ego2global_translation"]),
        "lidar_points": {"lidar_path": str(entry["lidar_path"]), "num_pts_feats": 5, "lidar2ego": lidar2ego},
        "images": {name: _modern_image(camera) for name, camera in entry.get("cams", {}).items()},
        **{key: entry[key] for key in ("scene_token", "scene_name") if key in entry},
    }


def _modern_image(camera: Entry) -> Entry:
    # The old form gives the camera's place in the sweep, its own time's ego motion inside.
    lidar_SE3_camera = from_rotation_translation(camera["sensor2lidar_rotation"], camera["sensor2lidar_translation"])
    return {
        "img_path": str(camera["data_path"]),
        "cam2img": np.asarray(camera["cam_intrinsic"], np.float64),
        "lidar2cam": inverse(lidar_SE3_camera),
        "timestamp": camera.get("timestamp"),
    }


def _rigid(wxyz: Sequence[float], translation: Sequence[float]) -> Float64:
    return from_rotation_translation(rotation_from_quaternion(wxyz), translation)


def label_map_of(metainfo: Mapping[str, Any]) -> LabelMap | None:
    """The classes that an info file names for points: its own mapping, or the card of the data set that it is of."""
    mapping, classes = metainfo.get("seg_label_mapping"), metainfo.get("classes")
    if isinstance(mapping, dict) and isinstance(classes, list | tuple):
        return _own_map(mapping, tuple(map(str, classes)), metainfo.get("palette"))
    named = str(metainfo.get("dataset", metainfo.get("DATASET", ""))).lower()
    return load_label_map(CARDS[named]) if named in CARDS else None


def _own_map(mapping: Mapping[Any, Any], classes: tuple[str, ...], palette: Any) -> LabelMap | None:
    """Raw ids that map to a number from C on are ignored, as in mmdet3d; None where a class has no raw id."""
    raw_to_train = {int(raw): int(train) if int(train) < len(classes) else IGNORE for raw, train in mapping.items()}
    raw_of = {train: raw for raw, train in sorted(raw_to_train.items(), reverse=True)}
    if not set(range(len(classes))) <= set(raw_of):
        return None
    return LabelMap(
        name="mmdet3d",
        classes=classes,
        colors=_colors(palette, len(classes)),
        raw_to_train=raw_to_train,
        train_to_raw=tuple(raw_of[train] for train in range(len(classes))),
    )


def _colors(palette: Any, classes: int) -> tuple[tuple[int, int, int], ...]:
    """The palette where it has a colour a class, else greys."""
    given = np.asarray(palette if palette is not None else [])
    if given.shape != (classes, 3):
        return ((128, 128, 128),) * classes
    return tuple((int(r), int(g), int(b)) for r, g, b in given)


class Locator:
    """Finds files where mmdet3d's configs keep them: an info file names them without the folder of their kind."""

    def __init__(self, root: Path, prefixes: Sequence[str]) -> None:
        self._root, self._prefixes = root, list(prefixes)

    def __call__(self, name: str) -> Path:
        """The file of that name; where there is none, the place where it was expected first."""
        for prefix in self._prefixes:
            if (self._root / prefix / name).is_file():
                # The next one most likely lies beside it.
                self._prefixes.remove(prefix)
                self._prefixes.insert(0, prefix)
                return self._root / prefix / name
        # Old info files name files from the folder in which they were made: only an end of that path is true here.
        parts = Path(name).parts
        ends = (self._root / Path(*parts[first:]) for first in range(1, len(parts)))
        return next((end for end in ends if end.is_file()), self._root / name)
