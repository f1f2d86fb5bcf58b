# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""From point scores to region scores: means over a region's points, one row a region."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lidal3d.interframe.measure import PointScores

# The columns of a LiDAL score table, in order, and what each says.
COLUMNS = {
    "divergence": "mean inter-frame divergence of the points with enough matches; NaN where there is none",
    "divergence_paper": "mean divergence of all points, those without a match counted as 0, as LiDAL's code does",
    "entropy": "mean inter-frame entropy of all points, nats",
    "entropy_unmatched": "mean inter-frame entropy of the points without enough matches; NaN where there is none",
    "coverage": "share of the points with enough matches",
    "matches": "mean number of neighbour frames that a point is seen in",
    "confidence": "mean largest probability of the points' consensus",
    "predicted_class": "the class that most points' consensus names",
    "range_m": "mean distance from the sensor",
    "is_key_frame": "1 where the sweep can be sent to labelling",
}


def region_scores(
    scores: PointScores,
    unit: npt.NDArray[np.int32],
    units: int,
    range_m: npt.NDArray[np.floating],
    is_key_frame: bool,
    min_matches: int,
    classes: int,
) -> dict[str, npt.NDArray[np.float64]]:
    """Score columns of the regions of one sweep (LiDAL, section 3.3: a region's score is the mean of its points').

    Args:
        scores: N point scores.
        unit: (N,) region of each point, 0 … units−1, each used.
        units: R.
        range_m: (N,) distances from the sensor.
        is_key_frame: whether the sweep can be labelled.
        min_matches: a point with fewer matches is unknown.
        classes: C.

    Returns:
        name -> (R,) float64, the names of COLUMNS.
    """
    size = np.bincount(unit, minlength=units).astype(np.float64)
    matched = scores.matches >= min_matches
    seen = np.bincount(unit, weights=matched, minlength=units)

    def total(values: npt.NDArray) -> npt.NDArray[np.float64]:
        return np.asarray(np.bincount(unit, weights=values, minlength=units), dtype=np.float64)

    votes = np.bincount(unit.astype(np.int64) * classes + scores.predicted, minlength=units * classes)
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "divergence": total(np.where(matched, scores.divergence, 0)) / seen,
            "divergence_paper": total(scores.divergence) / size,
            "entropy": total(scores.entropy) / size,
            "entropy_unmatched": total(np.where(matched, 0, scores.entropy)) / (size - seen),
            "coverage": seen / size,
            "matches": total(scores.matches) / size,
            "confidence": total(scores.confidence) / size,
            "predicted_class": votes.reshape(units, classes).argmax(axis=1).astype(np.float64),
            "range_m": total(range_m) / size,
            "is_key_frame": np.full(units, float(is_key_frame)),
        }
