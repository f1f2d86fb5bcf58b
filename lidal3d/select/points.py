# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""The points of every pick, beside the manifest: an uncompressed .npz with the same bytes for the same points."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lidal3d.errors import DataError
from lidal3d.files import write_npz


@dataclass(frozen=True)
class PointSets:
    """P sets of points, one a pick, in the order of the picks.

    Attributes:
        offsets: (P + 1,) int64, set i is [offsets[i], offsets[i + 1]) of the other arrays.
        indices: (K,) int32 places in the sweep, ascending in each set.
        labels: (K,) uint8 train ids, 255 for no label; None where a person is to give them.
        weights: (K,) float32, 0 where there is no label; None as `labels`.
    """

    offsets: npt.NDArray[np.int64]
    indices: npt.NDArray[np.int32]
    labels: npt.NDArray[np.uint8] | None = None
    weights: npt.NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, pick: int) -> npt.NDArray[np.int32]:
        """The point indices of pick number `pick`, which is its rank − 1."""
        return self.indices[self.span(pick)]

    def labels_of(self, pick: int) -> npt.NDArray[np.uint8]:
        """The pseudo-labels of a pick's points, as long as `self[pick]`."""
        if self.labels is None:
            raise DataError("these points have no pseudo-labels: they are a person's to label")
        return self.labels[self.span(pick)]

    def weights_of(self, pick: int) -> npt.NDArray[np.float32]:
        """The training weights of a pick's points, as long as `self[pick]`."""
        if self.weights is None:
            raise DataError("these points have no weights: they are a person's to label")
        return self.weights[self.span(pick)]

    def span(self, pick: int) -> slice:
        """Where pick number `pick` lies in the arrays."""
        if not 0 <= pick < len(self):
            raise IndexError(f"there are {len(self)} picks, number {pick} was asked for")
        return slice(int(self.offsets[pick]), int(self.offsets[pick + 1]))


def point_sets(
    indices: Sequence[npt.NDArray[np.integer]],
    labels: Sequence[npt.NDArray[np.uint8]] | None = None,
    weights: Sequence[npt.NDArray[np.float32]] | None = None,
) -> PointSets:
    """Point sets from one array a pick."""
    offsets = np.concatenate([[0], np.cumsum([len(i) for i in indices], dtype=np.int64)]).astype(np.int64)
    return PointSets(
        offsets,
        _joined(indices, np.int32),
        None if labels is None else _joined(labels, np.uint8),
        None if weights is None else _joined(weights, np.float32),
    )


def _joined(arrays: Sequence[npt.NDArray], dtype: type[np.generic]) -> npt.NDArray:
    return np.concatenate([np.empty(0, dtype), *arrays]).astype(dtype)


def write_points(points: PointSets, path: Path) -> None:
    """Write to an .npz that `numpy.load` opens."""
    arrays = {name: getattr(points, name) for name in ("offsets", "indices", "labels", "weights")}
    write_npz(path, {name: array for name, array in arrays.items() if array is not None})


def read_points(path: Path, picks: int) -> PointSets:
    """Read what `write_points` wrote for `picks` picks. Raises DataError when it is missing, damaged or of others."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            points = PointSets(**{name: archive[name] for name in archive.files})
    except FileNotFoundError:
        raise DataError(f"{path}: missing; make it with `lidal3d select`") from None
    except (OSError, ValueError, EOFError, TypeError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: not the points of a manifest ({str(error).splitlines()[0]})") from None
    if len(points) != picks or points.offsets[-1] != len(points.indices):
        raise DataError(f"{path}: points of {len(points)} picks, but the manifest has {picks}; select again")
    return points
