# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""What a way of cutting a sweep into units looks like."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt


class Partition(Protocol):
    """Cuts one sweep into units; deterministic: the same points give the same units on any machine."""

    @property
    def kind(self) -> str:
        """The units' kind ("supervoxels", "kmeans", "grid", "frame"), as it stands in the score table."""

    def __call__(self, points: npt.NDArray[np.float32]) -> npt.NDArray[np.int32]:
        """Unit ids (N,) of points (N, 4): 0 … R−1, each used, every point in exactly one; empty for no points."""


class FramePartition(Protocol):
    """Units that depend on more than a sweep's points: another partition in every frame."""

    @property
    def kind(self) -> str:
        """As of a Partition."""

    def at(self, scene: str, frame: int) -> Partition:
        """What cuts frame number `frame` of a scene; a point outside every unit gets −1."""


def partition_at(partition: Partition | FramePartition, scene: str, frame: int) -> Partition:
    """What cuts one frame, whichever of the two was given."""
    return partition.at(scene, frame) if hasattr(partition, "at") else partition
