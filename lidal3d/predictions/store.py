# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Predictions on disk: what any model writes so that lidal3d can score it.

    predictions.yaml                        classes: [car, …], model: my-net, views: 8
    probabilities/SCENE/FRAME.npy           (N, C) float16 or float32, rows sum to 1, one row a point of the sweep
    features/SCENE/FRAME.npy                (N, D) float16 or float32, optional

SCENE and FRAME are the names that the drive gives them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import yaml

from lidal3d.errors import DataError
from lidal3d.files import replacing, write_text
from lidal3d.scene.labels import IGNORE

HEADER_FILE = "predictions.yaml"


@dataclass(frozen=True)
class PredictionStore:
    """A folder of predictions, opened or being written.

    Attributes:
        root: the folder.
        classes: C class names, in the order of the probability columns.
        model: a name for people: which model predicted.
        views: how many augmented views or stochastic passes were averaged.
    """

    root: Path
    classes: tuple[str, ...]
    model: str = "unknown"
    views: int = 1

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

    def probabilities(self, scene: str, frame: str, points: int | None = None) -> npt.NDArray[np.floating]:
        """(N, C) float16 or float32 of one frame.

        Args:
            points: the sweep's number of points, checked when given.

        Raises:
            DataError: missing, not an .npy array, another number of rows or columns.
        """
        path = self.probabilities_path(scene, frame)
        array = _load(path)
        if array.shape[1] != len(self.classes):
            raise DataError(f"{path}: {array.shape[1]} columns, but {HEADER_FILE} names {len(self.classes)} classes")
        if points is not None and len(array) != points:
            raise DataError(f"{path}: {len(array)} rows, but the sweep has {points} points; predict every point")
        return array

    def features(self, scene: str, frame: str) -> npt.NDArray[np.floating]:
        """(N, D) float16 or float32 of one frame."""
        return _load(self.features_path(scene, frame))

    def write(
        self, scene: str, frame: str, probabilities: npt.NDArray[np.floating], features: npt.ArrayLike | None = None
    ) -> None:
        """Save one frame's probabilities (N, C) and, where given, features (N, D)."""
        arrays = {self.probabilities_path(scene, frame): probabilities}
        if features is not None:
            arrays[self.features_path(scene, frame)] = np.asarray(features)
        for path, array in arrays.items():
            with replacing(path) as temporary, open(temporary, "wb") as file:
                np.save(file, array, allow_pickle=False)


def _load(path: Path) -> npt.NDArray[np.floating]:
    try:
        array = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise DataError(f"{path}: missing; predict this frame, or leave it out with --keep-going") from None
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: not a whole .npy array ({error})") from None
    if array.ndim != 2 or array.dtype not in (np.float16, np.float32):
        raise DataError(f"{path}: {array.dtype} of shape {array.shape}, expected float16 or float32 of shape (N, C)")
    return array
