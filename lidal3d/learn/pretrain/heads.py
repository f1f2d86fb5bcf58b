# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""The projector that TWIST and Barlow Twins put on an encoder."""

from __future__ import annotations

from torch import nn

from lidal3d.learn.sparse import VoxelNorm


def projector(features: int, hidden: int, outputs: int) -> nn.Sequential:
    """Two hidden layers with batch normalisation and ReLU, then a linear layer; no biases."""
    return nn.Sequential(
        nn.Linear(features, hidden, bias=False), VoxelNorm(hidden), nn.ReLU(),
        nn.Linear(hidden, hidden, bias=False), VoxelNorm(hidden), nn.ReLU(),
        nn.Linear(hidden, outputs, bias=False),
    )  # fmt: skip
