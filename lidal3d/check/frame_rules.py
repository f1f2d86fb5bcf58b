# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Rules on the contents of one frame: each gives a message where it is broken, None otherwise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lidal3d.scene.labels import LabelMap

# float16 keeps 11 bits: a row of them that sums to 1 exactly before rounding is off by 2^-11 at most, twice that is
# let pass. Softmax computed in half precision and saved as float32 has the same error.
SUM_TOLERANCE = 1e-3


@dataclass(frozen=True)
class FrameContents:
    """One frame, read: None for what is absent or could not be read.

    Attributes:
        points: (N, 4).
        raw_labels: (N,) raw ids.
        label_map: the drive's.
        probabilities: (N, C).
        features: (N, D).
    """

    points: npt.NDArray[np.floating] | None
    raw_labels: npt.NDArray[np.integer] | None
    label_map: LabelMap | None
    probabilities: npt.NDArray[np.floating] | None
    features: npt.NDArray[np.floating] | None


FrameRule = Callable[[FrameContents], "str | None"]


def points_empty(frame: FrameContents) -> str | None:
    """POINTS-EMPTY."""
    return "0 points, at least 1 needed" if frame.points is not None and not len(frame.points) else None


def points_not_finite(frame: FrameContents) -> str | None:
    """POINTS-NOT-FINITE."""
    return _not_finite(frame.points, "points")


def labels_count(frame: FrameContents) -> str | None:
    """LABELS-COUNT."""
    return _other_count(frame.raw_labels, frame.points, "labels")


def labels_unknown(frame: FrameContents) -> str | None:
    """LABELS-UNKNOWN-ID."""
    if frame.raw_labels is None or frame.label_map is None:
        return None
    unknown = frame.label_map.unknown_ids(frame.raw_labels)
    if not unknown:
        return None
    some = ", ".join(map(str, unknown[:5])) + (", …" if len(unknown) > 5 else "")
    points = int(np.isin(frame.raw_labels, unknown).sum())
    return f"{points} of {len(frame.raw_labels)} points have ids that card '{frame.label_map.name}' lacks ({some})"


def probabilities_count(frame: FrameContents) -> str | None:
    """PROBABILITIES-COUNT."""
    return _other_count(frame.probabilities, frame.points, "rows of probabilities")


def probabilities_not_finite(frame: FrameContents) -> str | None:
    """PROBABILITIES-NOT-FINITE."""
    return _not_finite(frame.probabilities, "rows")


def probabilities_negative(frame: FrameContents) -> str | None:
    """PROBABILITIES-NEGATIVE."""
    if frame.probabilities is None or not frame.probabilities.size:
        return None
    bad = int((frame.probabilities < 0).any(axis=1).sum())
    lowest = float(np.nanmin(frame.probabilities)) if bad else 0.0
    return f"{bad} of {len(frame.probabilities)} rows go below 0, down to {lowest:.4g}" if bad else None


def probabilities_sum(frame: FrameContents) -> str | None:
    """PROBABILITIES-SUM."""
    if frame.probabilities is None or not frame.probabilities.size:
        return None
    sums = frame.probabilities.sum(axis=1, dtype=np.float64)
    off = np.abs(sums - 1)
    bad = int((off > SUM_TOLERANCE).sum())  # NaN compares false: it has a rule of its own
    if not bad:
        return None
    worst = sums[np.nanargmax(off)]
    return f"{bad} of {len(sums)} rows do not sum to 1 within {SUM_TOLERANCE:g}, the worst to {worst:.4g}"


def features_count(frame: FrameContents) -> str | None:
    """FEATURES-COUNT."""
    return _other_count(frame.features, frame.points, "rows of features")


def features_not_finite(frame: FrameContents) -> str | None:
    """FEATURES-NOT-FINITE."""
    return _not_finite(frame.features, "rows")


def _other_count(
    array: npt.NDArray[np.generic] | None, points: npt.NDArray[np.generic] | None, what: str
) -> str | None:
    if array is None or points is None or len(array) == len(points):
        return None
    return f"{len(array)} {what}, but the sweep has {len(points)} points"


def _not_finite(array: npt.NDArray[np.floating] | None, what: str) -> str | None:
    if array is None:
        return None
    bad = int((~np.isfinite(array)).any(axis=1).sum())
    return f"{bad} of {len(array)} {what} hold NaN or infinite numbers" if bad else None


# In the order of asking.
FRAME_RULES: dict[str, FrameRule] = {
    "POINTS-EMPTY": points_empty,
    "POINTS-NOT-FINITE": points_not_finite,
    "LABELS-COUNT": labels_count,
    "LABELS-UNKNOWN-ID": labels_unknown,
    "PROBABILITIES-COUNT": probabilities_count,
    "PROBABILITIES-NOT-FINITE": probabilities_not_finite,
    "PROBABILITIES-NEGATIVE": probabilities_negative,
    "PROBABILITIES-SUM": probabilities_sum,
    "FEATURES-COUNT": features_count,
    "FEATURES-NOT-FINITE": features_not_finite,
}
