# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""The most probable class of every point and how probable it is: all that pseudo-labels need of a probability map."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lidal3d.errors import DataError
from lidal3d.files import replacing


@dataclass(frozen=True)
class BestGuesses:
    """Three bytes a point on disk. It answers like a PredictionStore, with zeros for all other classes.

    Attributes:
        folder: SCENE/FRAME.npz lie in it.
        classes: C class names.
    """

    folder: Path
    classes: tuple[str, ...]

    def write(self, scene: str, frame: str, probabilities: npt.NDArray[np.floating]) -> None:
        """Keep a frame's best guesses of its probabilities (N, C), the confidence in their type."""
        best = probabilities.argmax(axis=1)
        confidence = np.take_along_axis(probabilities, best[:, None], axis=1)[:, 0]
        with replacing(self.path(scene, frame)) as temporary, open(temporary, "wb") as file:
            np.savez(file, best=best.astype(np.uint8), confidence=confidence)

    def probabilities(self, scene: str, frame: str, points: int | None = None) -> npt.NDArray[np.floating]:
        """(N, C): the confidence in the column of the most probable class, 0 elsewhere.

        Raises:
            DataError: missing, damaged, of another number of points or of classes that there are not.
        """
        path = self.path(scene, frame)
        try:
            with np.load(path, allow_pickle=False) as archive:
                best, confidence = archive["best"], archive["confidence"]
        except FileNotFoundError:
            raise DataError(f"{path}: missing; score again, or give --predictions") from None
        except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
            raise DataError(f"{path}: not the guesses of a sweep ({str(error).splitlines()[0]}); score again") from None
        if points is not None and len(best) != points:
            raise DataError(f"{path}: {len(best)} rows, but the sweep has {points} points; score again")
        if int(best.max(initial=0)) >= len(self.classes):
            raise DataError(f"{path}: class {best.max()}, but there are {len(self.classes)}; score again")
        result = np.zeros((len(best), len(self.classes)), confidence.dtype)
        result[np.arange(len(best)), best] = confidence
        return result

    def path(self, scene: str, frame: str) -> Path:
        """Where the guesses of a frame lie."""
        return self.folder / scene / f"{frame}.npz"
