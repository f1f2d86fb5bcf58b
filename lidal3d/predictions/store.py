# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Predictions on disk: what any model writes so that lidal3d can score it.

    predictions.yaml                        classes: [car, …], model: my-net, views: 8
    probabilities/SCENE/FRAME.npy           (N, C) float16 or float32, rows sum to 1, one row a point of the sweep
    features/SCENE/FRAME.npy                (N, D) float16 or float32, optional
    members/SCENE/FRAME.npy                 (M, N, C) the views or stochastic passes that were averaged, optional

SCENE and FRAME are the names that the drive gives them.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import yaml

from lidal3d.errors import DataError
from lidal3d.files import replacing, write_text
from lidal3d.predictions.maps import FrameMaps
from lidal3d.scene.labels import IGNORE
from lidal3d.scene.scene import Frame

HEADER_FILE = "predictions.yaml"
RUN_FILE = "run.json"


@dataclass(frozen=True)
class PredictionStore:
    """A folder of predictions, opened or being written.

    Attributes:
        root: the folder.
        classes: C class names, in the order of the probability columns.
        model: a name for people: which model predicted.
        views: how many augmented views or stochastic passes were averaged.
        extras: of "features" and "members": what `maps` reads beside the probabilities.
    """

    root: Path
    classes: tuple[str, ...]
    model: str = "unknown"
    views: int = 1
    extras: frozenset[str] = frozenset()

    @classmethod
    def open(cls, root: Path | str) -> PredictionStore:
        """Open a folder with `predictions.yaml`. Raises DataError when it is missing or says no classes."""
        path = Path(root) / HEADER_FILE
        try:
            header = yaml.safe_load(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise DataError(
                f"{path}: no predictions there ({error.strerror}); make them with `lidal3d predict`"
            ) from None
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise DataError(f"{path}: not YAML ({str(error).splitlines()[0]})") from None
        classes = header.get("classes") if isinstance(header, dict) else None
        if not isinstance(classes, list) or not classes:
            raise DataError(f"{path}: needs 'classes:', the list of class names in the order of the columns")
        if len(classes) >= IGNORE:
            raise DataError(f"{path}: {len(classes)} classes, at most {IGNORE - 1} fit beside 'ignored' in a byte")
        views = header.get("views", 1)
        if not isinstance(views, int) or views < 1:
            raise DataError(f"{path}: 'views: {views}' is not a whole number from 1 on")
        return cls(Path(root), tuple(map(str, classes)), str(header.get("model", "unknown")), views)

    def write_header(self) -> None:
        """Write `predictions.yaml`; last, so that a folder with a header is a whole one."""
        header = {"classes": list(self.classes), "model": self.model, "views": self.views}
        write_text(self.root / HEADER_FILE, yaml.safe_dump(header, sort_keys=False))

    def probabilities_path(self, scene: str, frame: str) -> Path:
        """Where the probabilities of a frame lie."""
        return self.root / "probabilities" / scene / f"{frame}.npy"

    def features_path(self, scene: str, frame: str) -> Path:
        """Where the features of a frame lie."""
        return self.root / "features" / scene / f"{frame}.npy"

    def members_path(self, scene: str, frame: str) -> Path:
        """Where the members of a frame lie."""
        return self.root / "members" / scene / f"{frame}.npy"

    def probabilities(self, scene: str, frame: str, points: int | None = None) -> npt.NDArray[np.floating]:
        """(N, C) float16 or float32 of one frame.

        Args:
            points: the sweep's number of points, checked when given.

        Raises:
            DataError: missing, not an .npy array, another number of rows or columns.
        """
        path = self.probabilities_path(scene, frame)
        array = _load(path)
        self._refuse_columns(path, array.shape[1])
        _refuse_rows(path, len(array), points)
        return array

    def features(self, scene: str, frame: str, points: int | None = None) -> npt.NDArray[np.floating]:
        """(N, D) float16 or float32 of one frame. Raises DataError as `probabilities`."""
        path = self.features_path(scene, frame)
        array = _load(path)
        _refuse_rows(path, len(array), points)
        return array

    def members(self, scene: str, frame: str, points: int | None = None) -> npt.NDArray[np.floating]:
        """(M, N, C) float16 or float32 of one frame. Raises DataError as `probabilities`."""
        path = self.members_path(scene, frame)
        array = _load(path, "(M, N, C)")
        self._refuse_columns(path, array.shape[2])
        _refuse_rows(path, array.shape[1], points)
        if not len(array):
            raise DataError(f"{path}: 0 members; save at least two views or passes")
        return array

    @property
    def run(self) -> str | None:
        """What `lidal3d predict` noted of its run; None for predictions of another program."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            return str(json.loads((self.root / RUN_FILE).read_text(encoding="utf-8"))["run"])
        return None

    @property
    def origin(self) -> dict[str, Path]:
        """As `MapSource`."""
        return {"predictions": self.root}

    def lacks(self, extra: str) -> str:
        """As `MapSource`."""
        return "" if (self.root / extra).is_dir() else f"{self.root} has no folder '{extra}'"

    def reading(self, extras: Collection[str]) -> PredictionStore:
        """As `MapSource`."""
        return replace(self, extras=frozenset(extras))

    def maps(self, frame: Frame, points: npt.NDArray[np.float32]) -> FrameMaps:
        """As `MapSource`."""
        asked = (frame.scene.id, frame.name, len(points))
        return FrameMaps(
            self.probabilities(*asked),
            self.features(*asked) if "features" in self.extras else None,
            list(self.members(*asked)) if "members" in self.extras else None,
        )

    def place(self, frame: Frame) -> Path:
        """As `MapSource`."""
        return self.probabilities_path(frame.scene.id, frame.name)

    def write(
        self,
        scene: str,
        frame: str,
        probabilities: npt.NDArray[np.floating],
        features: npt.ArrayLike | None = None,
        members: npt.ArrayLike | None = None,
    ) -> None:
        """Save one frame's probabilities (N, C) and, where given, features (N, D) and members (M, N, C)."""
        arrays = {self.probabilities_path(scene, frame): probabilities}
        if features is not None:
            arrays[self.features_path(scene, frame)] = np.asarray(features)
        if members is not None:
            arrays[self.members_path(scene, frame)] = np.asarray(members)
        for path, array in arrays.items():
            with replacing(path) as temporary, open(temporary, "wb") as file:
                np.save(file, array, allow_pickle=False)

    def _refuse_columns(self, path: Path, columns: int) -> None:
        if columns != len(self.classes):
            raise DataError(f"{path}: {columns} columns, but {HEADER_FILE} names {len(self.classes)} classes")


def _refuse_rows(path: Path, rows: int, points: int | None) -> None:
    if points is not None and rows != points:
        raise DataError(f"{path}: {rows} rows, but the sweep has {points} points; predict every point")


def _load(path: Path, shape: str = "(N, C)") -> npt.NDArray[np.floating]:
    try:
        array = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise DataError(f"{path}: missing; predict this frame, or leave it out with --keep-going") from None
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: not a whole .npy array ({error})") from None
    if array.ndim != shape.count(",") + 1 or array.dtype not in (np.float16, np.float32):
        raise DataError(f"{path}: {array.dtype} of shape {array.shape}, expected float16 or float32 of shape {shape}")
    return array
