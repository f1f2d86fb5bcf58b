# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Annotator: in every sweep alike, the voxels whose points are given many classes.

Xie et al., "Annotator: A Generic Active Learning Baseline for LiDAR Semantic Segmentation", NeurIPS 2023. The score is
the voxel confusion degree. Every sweep gets as many labels as any other: no ranking over sweeps. Here a unit's score is
the mean over its points' voxels, units are bought where Annotator buys voxels, and of equal turns the higher comes first.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lidal3d.select.selection import Selection
from lidal3d.strategies.ranked import scored_candidates
from lidal3d.strategies.spend import Float64, Int64, buy_in_order, why_by_score
from lidal3d.strategies.strategy import Ask, Strategy

SCORE = "voxel_confusion"


def annotator(ask: Ask) -> Selection:
    """The most confused unit of every frame, then the second of every frame, and so on."""
    some, score = scored_candidates(ask, SCORE)
    order = np.lexsort((-score, turns(some.frame, score)))
    return buy_in_order(ask, some, order, why_by_score(ask, SCORE, score))


def turns(frame: npt.NDArray[np.integer], score: Float64) -> Int64:
    """(K,) how many units of its frame have a better score than each, the first of equals being better."""
    by_frame = np.lexsort((-score, frame))
    size = np.bincount(frame)
    result = np.empty(len(frame), np.int64)
    result[by_frame] = np.arange(len(frame)) - (size.cumsum() - size)[frame[by_frame]]
    return result


ANNOTATOR = Strategy(
    "annotator", "Xie et al., NeurIPS 2023", "in each frame in turn the largest voxel confusion degree",
    annotator, columns=(SCORE,),
)  # fmt: skip
