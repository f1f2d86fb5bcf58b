# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""The score columns that strategies read, for the units of one sweep, and the units' mean features and probabilities."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from lidal3d.errors import DataError, UsageError
from lidal3d.scores import mc_dropout
from lidal3d.scores.entropy import entropy
from lidal3d.scores.hierarchical_margin import hierarchical_margin
from lidal3d.scores.least_confidence import least_confidence
from lidal3d.scores.margin import margin
from lidal3d.scores.redal import redal_score
from lidal3d.scores.segment_entropy import histogram_entropy
from lidal3d.scores.surface_variation import surface_variation
from lidal3d.scores.temporal_discrepancy import distance_to_uniform
from lidal3d.scores.true_loss import true_loss
from lidal3d.scores.vote_entropy import vote_entropy
from lidal3d.scores.voxel_confusion import voxel_confusion
from lidal3d.units.regions import region_means

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class UnitColumns:
    """The R units of one sweep.

    Attributes:
        scores: name -> (R,) float64.
        features: (R, D) float32, or None where there are no point features.
        probabilities: (R, C) float32, or None where nobody keeps them.
    """

    scores: dict[str, Float64]
    features: npt.NDArray[np.float32] | None
    probabilities: npt.NDArray[np.float32] | None


@dataclass(frozen=True)
class _Sweep:
    points: npt.NDArray[np.float32]
    probabilities: npt.NDArray[np.float32]
    members: mc_dropout.Members | None
    labels: npt.NDArray[np.uint8] | None
    unit: npt.NDArray[np.int32]
    units: int

    @cached_property
    def predicted(self) -> npt.NDArray[np.int64]:
        return self.probabilities.argmax(axis=1)

    @cached_property
    def variation(self) -> Float64:
        return surface_variation(self.points[:, :3])

    @property
    def votes(self) -> mc_dropout.Members:
        if self.members is None or not len(self.members):
            raise UsageError("bald, vote_entropy and the other scores of members need members; predict several views")
        return self.members

    @property
    def truth(self) -> npt.NDArray[np.uint8]:
        if self.labels is None:
            raise UsageError("true_loss needs the true labels; it is an upper reference for drives that have them")
        return self.labels


# The mean of these over a unit's points is its score.
_OF_POINTS: dict[str, Callable[[_Sweep], npt.NDArray[np.floating]]] = {
    "least_confidence": lambda sweep: least_confidence(sweep.probabilities),
    "margin": lambda sweep: margin(sweep.probabilities),
    "distance_to_uniform": lambda sweep: distance_to_uniform(sweep.probabilities),
    "softmax_entropy": lambda sweep: entropy(sweep.probabilities),
    "consensus_entropy": lambda sweep: mc_dropout.consensus_entropy(sweep.votes),
    "expected_entropy": lambda sweep: mc_dropout.expected_entropy(sweep.votes),
    "bald": lambda sweep: mc_dropout.bald(sweep.votes),
    "vote_entropy": lambda sweep: vote_entropy(sweep.votes),
    "surface_variation": lambda sweep: sweep.variation,
    "redal": lambda sweep: redal_score(sweep.probabilities, sweep.variation),
    "voxel_confusion": lambda sweep: voxel_confusion(
        sweep.points[:, :3], sweep.predicted, sweep.probabilities.shape[1]
    ),
    "hierarchical_margin": lambda sweep: hierarchical_margin(sweep.points[:, :3], sweep.probabilities),
}
# These are scores of whole units.
_OF_UNITS: dict[str, Callable[[_Sweep], Float64]] = {
    "segment_entropy": lambda sweep: histogram_entropy(
        sweep.predicted, sweep.unit, sweep.units, sweep.probabilities.shape[1]
    ),
    "true_loss": lambda sweep: _mean_of_known(true_loss(sweep.probabilities, sweep.truth), sweep),
}
NAMES = (*_OF_POINTS, *_OF_UNITS)
# Of these, the ones that look at where points lie in space: a picture's pixels have none.
OF_SURFACES = ("surface_variation", "redal", "voxel_confusion", "hierarchical_margin")


def frame_unit_scores(
    points: npt.NDArray[np.float32],
    probabilities: npt.NDArray[np.floating],
    features: npt.NDArray[np.floating] | None,
    members: mc_dropout.Members | None,
    unit: npt.NDArray[np.int32],
    units: int,
    names: Iterable[str],
    labels: npt.NDArray[np.uint8] | None = None,
) -> UnitColumns:
    """Score columns by name, and means, of the units of one sweep.

    Args:
        points: (N, 3 or more) metres, in the sensor's frame.
        probabilities: (N, C).
        features: (N, D), or None.
        members: (M, N, C), or M maps (N, C), or None.
        unit: (N,) unit of each point, 0 … units − 1, each used.
        units: R.
        names: of NAMES; no other score is computed.
        labels: (N,) train ids, 255 for none; only for `true_loss`.

    Raises:
        UsageError: an unknown name, or a score whose members or labels are not given.
        DataError: arrays of different numbers of points.
    """
    names = tuple(names)
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        raise UsageError(f"no score named '{unknown[0]}' (known: {', '.join(NAMES)})")
    _refuse_lengths(
        len(points), probabilities=probabilities, features=features, labels=labels, unit=unit,
        **{f"member {i}": member for i, member in enumerate(() if members is None else members)},
    )  # fmt: skip
    narrow = np.ascontiguousarray(probabilities, np.float32)
    sweep = _Sweep(points, narrow, members, labels, unit, units)
    scores = {
        name: _OF_UNITS[name](sweep) if name in _OF_UNITS else region_means(unit, units, _OF_POINTS[name](sweep))
        for name in names
    }
    means = None if features is None else region_means(unit, units, np.ascontiguousarray(features, np.float32))
    return UnitColumns(
        scores,
        None if means is None else means.astype(np.float32),
        region_means(unit, units, narrow).astype(np.float32),
    )


def _mean_of_known(values: Float64, sweep: _Sweep) -> Float64:
    """The mean over each unit's finite values; NaN where it has none."""
    known = np.isfinite(values)
    return region_means(sweep.unit[known], sweep.units, values[known])


def _refuse_lengths(points: int, **arrays: npt.NDArray | None) -> None:
    for name, array in arrays.items():
        if array is not None and len(array) != points:
            raise DataError(f"{name}: {len(array)} rows, but the sweep has {points} points; predict every point")
