# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Labels that people gave, on disk beside the drive, which is never written to.

labels.yaml          classes: [car, …]
SCENE/FRAME.npy      (N,) uint8 train ids of a sweep's points, 255 where nobody has labelled
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import yaml

from lidal3d.errors import DataError
from lidal3d.files import TEMPORARY_PREFIX, replacing, write_text
from lidal3d.scene.labels import IGNORE
from lidal3d.scene.scene import Frame

HEADER_FILE = "labels.yaml"


@dataclass(frozen=True)
class LabelStore:
    """A folder of labels.

    Attributes:
        root: the folder.
        classes: C class names; a label is a place here.
    """

    root: Path
    classes: tuple[str, ...]

    @classmethod
    def open(cls, root: Path | str) -> LabelStore:
        """Open a folder with `labels.yaml`. Raises DataError when it is missing or names no classes."""
        path = Path(root) / HEADER_FILE
        try:
            classes = yaml.safe_load(path.read_text(encoding="utf-8"))["classes"]
        except OSError as error:
            raise DataError(f"{path}: no labels there ({error.strerror}); make them with `lidal3d ingest`") from None
        except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError):
            raise DataError(f"{path}: names no classes; make it with `lidal3d ingest`") from None
        return cls(Path(root), tuple(map(str, classes)))

    @classmethod
    def open_or_create(cls, root: Path | str, classes: tuple[str, ...]) -> LabelStore:
        """The store of some classes, made where there is none. Raises DataError where it has other classes."""
        path = Path(root) / HEADER_FILE
        if not path.exists():
            write_text(path, yaml.safe_dump({"classes": list(classes)}))
        store = cls.open(root)
        if store.classes != classes:
            mine, theirs = len(store.classes), len(classes)
            raise DataError(
                f"{path}: {mine} classes {list(store.classes)[:3]}…, the queue has {theirs}; choose another --out"
            )
        return store

    def path(self, scene: str, frame: str) -> Path:
        """Where a frame's labels lie."""
        return self.root / scene / f"{frame}.npy"

    def frames(self) -> list[tuple[str, str]]:
        """(scene, frame name) of every file, in order; a scene's id may have slashes."""
        files = [path for path in self.root.rglob("*.npy") if not path.name.startswith(TEMPORARY_PREFIX)]
        return sorted((path.parent.relative_to(self.root).as_posix(), path.stem) for path in files)

    def labels(self, scene: str, frame: str, points: int) -> npt.NDArray[np.uint8]:
        """(N,) train ids, all 255 where the frame has no file.

        Raises:
            DataError: damaged, of another length than `points`, or a label that is no class.
        """
        path = self.path(scene, frame)
        try:
            labels = np.load(path, allow_pickle=False)
        except FileNotFoundError:
            return np.full(points, IGNORE, np.uint8)
        except (OSError, ValueError, EOFError) as error:
            raise DataError(f"{path}: not a whole .npy array ({error})") from None
        if labels.dtype != np.uint8 or labels.shape != (points,):
            raise DataError(f"{path}: {labels.dtype} of shape {labels.shape}, the sweep has {points} points")
        strange = labels[(labels >= len(self.classes)) & (labels != IGNORE)]
        if len(strange):
            raise DataError(f"{path}: label {int(strange.max())}, but there are {len(self.classes)} classes")
        return labels

    def training_labels(self, frame: Frame) -> tuple[npt.NDArray[np.uint8], None]:
        """All labels of a frame and no weights: a label source for `lidal3d.learn.train.train`."""
        return self.labels(frame.scene.id, frame.name, len(frame.points())), None

    def write(self, scene: str, frame: str, labels: npt.NDArray[np.uint8]) -> None:
        """Save a frame's labels (N,) uint8; what lay there is replaced."""
        with replacing(self.path(scene, frame)) as temporary, open(temporary, "wb") as file:
            np.save(file, np.ascontiguousarray(labels, np.uint8), allow_pickle=False)
