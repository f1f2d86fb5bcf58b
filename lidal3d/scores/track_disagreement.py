# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Disagreement within a track: the same thing, given other classes in other sweeps.

LiDAL asks where neighbouring frames contradict each other on the same place; here they do on the same thing, and nothing
has to stand still. A member is what one sweep shows of the track. Not of any paper: ODCT's tracks suggest it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lidal3d.scores.entropy import entropy

Float64 = npt.NDArray[np.float64]

# The columns of a table of tracks, in order. A member is what one sweep shows of a track.
SCORES = {
    "track_disagreement": "1 − share of the members that are predicted as their commonest class",
    "track_information": "entropy of the mean of the members' distributions − mean of their entropies, nats",
    "entropy": "entropy of the mean of the members' distributions, nats",
    "predicted_class": "the likeliest class of that mean",
    "confidence": "its probability",
    "sweeps": "how many sweeps show the track",
    "track_points": "points of the track in all of them",
    "speed_mps": "speed of its median velocity",
    "range_m": "distance of what is asked about from the sensor",
    "is_key_frame": "1 where the sweep that is asked about can be sent to labelling",
}


def track_disagreement(
    predicted: npt.NDArray[np.integer], track: npt.NDArray[np.integer], tracks: int, classes: int
) -> Float64:
    """1 − max_k n_k / n, with n_k of the n members of a track predicted as class k: (K,) members -> (tracks,).

    The largest is asked first. Members of classes 0, 0, 1 give 1/3; a track without members NaN.
    """
    place = track.astype(np.int64) * classes + predicted
    votes = np.bincount(place, minlength=tracks * classes).reshape(tracks, classes)
    members = votes.sum(axis=1)
    with np.errstate(invalid="ignore"):
        return np.asarray(1 - votes.max(axis=1) / members, np.float64)


def track_information(probabilities: npt.NDArray[np.floating], track: npt.NDArray[np.integer], tracks: int) -> Float64:
    """H(mean of the members' distributions) − mean of their entropies, nats: (K, C) members -> (tracks,).

    The soft version: 0 where all members say the same, however unsure, and ln 2 where halves are sure of two classes.
    The largest is asked first; a track without members is NaN.
    """
    members = np.bincount(track, minlength=tracks)
    total = np.zeros((tracks, probabilities.shape[1]))
    np.add.at(total, track, probabilities)
    with np.errstate(invalid="ignore"):
        mean = total / members[:, None]
        each = np.bincount(track, weights=entropy(probabilities.astype(np.float64)), minlength=tracks) / members
    # Rounding may leave some 1e-16 below 0.
    return np.where(members > 0, np.maximum(entropy(mean) - each, 0.0), np.nan)
