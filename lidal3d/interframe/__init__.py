# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""LiDAL's inter-frame divergence and entropy: exact, streaming."""

from lidal3d.interframe.measure import PointScores, divergence, entropy
from lidal3d.interframe.stream import ScoredFrame, point_scores, score_frames

__all__ = ["PointScores", "ScoredFrame", "divergence", "entropy", "point_scores", "score_frames"]
