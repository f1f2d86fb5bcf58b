# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Segment entropy: whether the points of one segment are given one class or many."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lidal3d.scores.entropy import entropy


def histogram_entropy(
    predicted: npt.NDArray[np.integer], group: npt.NDArray[np.integer], groups: int, classes: int
) -> npt.NDArray[np.float64]:
    """H of the shares of predicted classes in each group, nats: (N,) classes and (N,) groups -> (groups,).

    A group without points has 0. ReDAL's and LiDAL's baseline "segment entropy" with the segments as groups (they
    divide by C or take log2, which orders alike), and Annotator's voxel confusion degree with voxels.
    """
    places = group.astype(np.int64) * classes + predicted
    counts = np.bincount(places, minlength=groups * classes).reshape(groups, classes)
    return entropy(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))
