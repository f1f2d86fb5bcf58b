# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Boxes on disk: what any detector writes so that lidal3d can score what it found.

    boxes.yaml                     format: 1, classes: [Car, …], model: pointpillars, …
    boxes/SCENE/FRAME.npz          boxes (B, 7), scores (B, C) and optionally features (B, D), all float32

A box is x y z of its geometric centre, length (along its heading), width and height in metres, and yaw in radians about
+z, in lidal3d's lidar coordinates (x forward, y left, z up). Scores lie in [0, 1], one column a class. Every frame has a
file, also with B = 0. `view_m: [x_min, y_min, x_max, y_max]` in boxes.yaml says where the detector looks, where that is
no circle round the sensor; other keys are free.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml

from lidal3d.errors import DataError
from lidal3d.files import replacing, write_npz, write_text

HEADER_FILE = "boxes.yaml"
FORMAT = 1
BOX_COLUMNS = ("x", "y", "z", "length", "width", "height", "yaw")
Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class FrameBoxes:
    """What a detector found in one frame: boxes (B, 7), scores (B, C), features (B, D) or None; all float32."""

    boxes: Float32
    scores: Float32
    features: Float32 | None = None

    def __len__(self) -> int:
        return len(self.boxes)

    @property
    def objectness(self) -> npt.NDArray[np.float64]:
        """(B,) the largest class score of each box."""
        return self.scores.max(axis=1).astype(np.float64) if len(self) else np.empty(0)


@dataclass(frozen=True)
class BoxStore:
    """A folder of boxes, opened or being written.

    Attributes:
        root: the folder.
        classes: C class names, in the order of the score columns.
        model: a name for people: which detector found them.
        view_m: (x_min, y_min, x_max, y_max) in lidar coordinates: where the detector looks; None where it doesn't say.
    """

    root: Path
    classes: tuple[str, ...]
    model: str = "unknown"
    view_m: tuple[float, float, float, float] | None = None

    @classmethod
    def open(cls, root: Path | str) -> BoxStore:
        """Open a folder with `boxes.yaml`. Raises DataError when it is missing, of another format or names no classes."""
        path = Path(root) / HEADER_FILE
        try:
            header = yaml.safe_load(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise DataError(
                f"{path}: no boxes there ({error.strerror}); write them as docs/conventions.md says"
            ) from None
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise DataError(f"{path}: not YAML ({str(error).splitlines()[0]})") from None
        header = header if isinstance(header, dict) else {}
        if header.get("format") != FORMAT:
            raise DataError(f"{path}: 'format: {header.get('format')}', this version of lidal3d reads format {FORMAT}")
        classes = header.get("classes")
        if not isinstance(classes, list) or not classes:
            raise DataError(f"{path}: needs 'classes:', the list of class names in the order of the score columns")
        names = tuple(map(str, classes))
        if len(set(names)) < len(names):
            raise DataError(f"{path}: {len(names)} classes, but only {len(set(names))} different names")
        return cls(Path(root), names, str(header.get("model", "unknown")), _view(header.get("view_m"), path))

    def write_header(self, **extra: Any) -> None:
        """Write `boxes.yaml`; last, so that a folder with a header is a whole one."""
        header = {"format": FORMAT, "classes": list(self.classes), "model": self.model, **extra}
        if self.view_m is not None:
            header["view_m"] = list(self.view_m)
        write_text(self.root / HEADER_FILE, yaml.safe_dump(header, sort_keys=False))

    def path(self, scene: str, frame: str) -> Path:
        """Where the boxes of a frame lie."""
        return self.root / "boxes" / scene / f"{frame}.npz"

    def read(self, scene: str, frame: str) -> FrameBoxes:
        """The boxes of one frame.

        Raises:
            DataError: missing, no whole .npz, or anything but what the format says; names file and numbers.
        """
        path = self.path(scene, frame)
        try:
            with np.load(path, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
        except FileNotFoundError:
            raise DataError(
                f"{path}: missing; every frame needs a file, with 0 boxes where nothing was found"
            ) from None
        except (OSError, ValueError, EOFError, KeyError, TypeError, zipfile.BadZipFile) as error:
            raise DataError(f"{path}: not a whole .npz of arrays ({str(error).splitlines()[0]})") from None
        return self._checked(arrays, path)

    def write(
        self, scene: str, frame: str, boxes: npt.ArrayLike, scores: npt.ArrayLike, features: npt.ArrayLike | None = None
    ) -> None:
        """Save one frame's boxes. Equal boxes are equal bytes. Raises DataError as `read`."""
        given = {"boxes": boxes, "scores": scores} | ({} if features is None else {"features": features})
        arrays = {name: np.asarray(values, np.float32) for name, values in given.items()}
        path = self.path(scene, frame)
        self._checked(arrays, path)
        with replacing(path) as temporary:
            write_npz(temporary, arrays)

    def refuse_missing(self, scene: str, frames: Sequence[str]) -> None:
        """Raise DataError, with both counts, where a frame of a scene has no file."""
        missing = [frame for frame in frames if not self.path(scene, frame).is_file()]
        if missing:
            counts = f"{len(frames) - len(missing)} of {len(frames)} frames of scene {scene} have a file"
            every = "detect in every frame (0 boxes are fine), or leave frames out with --keep-going"
            raise DataError(f"{self.path(scene, missing[0])}: missing; {counts}; {every}")

    def _checked(self, arrays: dict[str, npt.NDArray[Any]], path: Path) -> FrameBoxes:
        boxes = _table(arrays, "boxes", path)
        if boxes.shape[1] != len(BOX_COLUMNS):
            raise DataError(f"{path}: boxes of shape {boxes.shape}, expected (B, 7): {' '.join(BOX_COLUMNS)}")
        scores = _table(arrays, "scores", path, len(boxes))
        if scores.shape[1] != len(self.classes):
            raise DataError(
                f"{path}: {scores.shape[1]} score columns, but {HEADER_FILE} names {len(self.classes)} classes"
            )
        _refuse_rows(
            path, ~((scores >= 0) & (scores <= 1)).all(axis=1), scores, "scores outside 0 … 1; write probabilities"
        )
        _refuse_rows(path, ~(boxes[:, 3:6] > 0).all(axis=1), boxes[:, 3:6], "a size that is not above 0 m")
        return FrameBoxes(boxes, scores, _table(arrays, "features", path, len(boxes)) if "features" in arrays else None)


def _table(arrays: dict[str, npt.NDArray[Any]], name: str, path: Path, rows: int | None = None) -> Float32:
    """The finite float32 table `name`, of as many rows as there are boxes."""
    if name not in arrays:
        raise DataError(f"{path}: holds {', '.join(sorted(arrays)) or 'nothing'}, but no '{name}'")
    array = arrays[name]
    if array.dtype != np.float32 or array.ndim != 2:
        raise DataError(f"{path}: {name} are {array.dtype} of shape {array.shape}, expected float32 with 2 axes")
    if rows is not None and len(array) != rows:
        raise DataError(f"{path}: {len(array)} rows of {name} for {rows} boxes")
    _refuse_rows(path, ~np.isfinite(array).all(axis=1), array, f"{name} that are NaN or infinite")
    return array


def _refuse_rows(path: Path, bad: npt.NDArray[np.bool_], values: Float32, what: str) -> None:
    if bad.any():
        row = int(np.argmax(bad))
        shown = ", ".join(f"{value:.4g}" for value in values[row][:8])
        raise DataError(f"{path}: {int(bad.sum())} of {len(bad)} boxes have {what} (box {row}: {shown})")


def _view(value: Any, path: Path) -> tuple[float, float, float, float] | None:
    if value is None:
        return None
    numbers = isinstance(value, list) and len(value) == 4 and all(isinstance(x, int | float) for x in value)
    if not numbers or not (value[0] < value[2] and value[1] < value[3]):
        raise DataError(f"{path}: 'view_m: {value}' is not [x_min, y_min, x_max, y_max] in metres")
    x_min, y_min, x_max, y_max = map(float, value)
    return x_min, y_min, x_max, y_max
