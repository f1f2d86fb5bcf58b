# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""SPVCNN (Tang et al., ECCV 2020, in the shape that LiDAL uses): MinkUNet with a point branch beside it.

    z0 = P0(stem)    z1 = P4(x4) + T1(z0)    z2 = P2(y2) + T2(z1)    z3 = P0(y4) + T3(z2)

P interpolates voxels at points, T is linear, batch norm and ReLU (32 → 256 → 128 → 96 × width); after z1 and z2 the
voxels go on with the mean of their points, with dropout 0.3.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lidal3d.learn.architecture import Architecture
from lidal3d.learn.minkunet import Trunk
from lidal3d.learn.points import to_points, to_voxels
from lidal3d.learn.sparse import Level, SparseTensor, VoxelNorm, as_level
from lidal3d.learn.together import together

DROPOUT = 0.3


class SeededDropout(nn.Module):
    """Dropout whose draws come from its own generator, so that a training can be repeated and resumed."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share
        self.reseed(0)

    def reseed(self, seed: int) -> None:
        """Start the draws anew; the trainer does so at every step."""
        self.generator = torch.Generator().manual_seed(seed)

    def forward(self, features: Tensor) -> Tensor:
        """(V, C) to (V, C); in training a share of the values is 0 and the rest larger by as much."""
        if not self.training:
            return features
        others = together()
        before, rows = (0, len(features)) if others is None else others.rows(features)
        kept = torch.rand(rows, features.shape[1], generator=self.generator)[before:][: len(features)] >= self.share
        return features * kept.to(features.device) / (1 - self.share)


class PointTransform(nn.Sequential):
    """relu(norm(linear x)) on points."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__(nn.Linear(channels_in, channels_out), VoxelNorm(channels_out), nn.ReLU())


class SPVCNN(Trunk):
    """Sparse point-voxel U-Net: a stem, four levels down, four levels up, three point branches, a linear head.

    The first three input features are the point's offset from its voxel's centre, in voxels.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__(architecture)
        c = architecture.channels
        branches = ((c[0], c[4]), (c[4], c[6]), (c[6], c[8]))
        self.point_transforms = nn.ModuleList([PointTransform(*b) for b in branches])
        self.dropouts = nn.ModuleList([SeededDropout(DROPOUT), SeededDropout(DROPOUT)])

    def forward(self, features: Tensor, keys: Tensor | Level) -> tuple[Tensor, Tensor]:
        """Logits (V, C) and last features (V, D).

        Args:
            features: (V, channels_in).
            keys: (V,) int64 voxel keys, sorted and unique, or the level that they make.
        """
        level = as_level(keys)
        offset = features[:, :3]
        finest = to_points(level, 0, offset)
        x = self.enter(features, level)
        z = finest(x.features)
        x, skips = self.descend(SparseTensor(to_voxels(level, 0)(z), level))
        z = to_points(level, 4, offset)(x.features) + self.point_transforms[0](z)
        y = self._up_from_points(z, level, 4, skips)
        z = to_points(level, 2, offset)(y.features) + self.point_transforms[1](z)
        y = self._up_from_points(z, level, 2, skips)
        z = finest(y.features) + self.point_transforms[2](z)
        return self.head(z), z

    def _up_from_points(self, z: Tensor, fine: Level, levels: int, skips: list[SparseTensor]) -> SparseTensor:
        """Points to voxels of a level, dropout, and two levels up."""
        mean = to_voxels(fine, levels)(z)
        coarse = fine
        for _ in range(levels):
            coarse = coarse.coarser
        y = SparseTensor(self.dropouts[0 if levels == 4 else 1](mean), coarse)
        for up in self.ups[4 - levels : 6 - levels]:
            y = up(y, skips.pop())
        return y
