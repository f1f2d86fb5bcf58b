# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""What TWIST and Barlow Twins share: two views of a few frames, and the regions that are in both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from lidal3d.config import Config
from lidal3d.errors import DataError
from lidal3d.learn.pretrain.camera_pairs import CameraPairs
from lidal3d.learn.pretrain.encoders import EncoderNetwork, Tokenised, pooled
from lidal3d.learn.pretrain.frames import FrameOrder
from lidal3d.learn.pretrain.method import Ask, Objective
from lidal3d.learn.pretrain.pairs import AugmentPairs, NeighbourPairs, Pairs
from lidal3d.learn.pretrain.views import View
from lidal3d.scene.scene import Frame

Compare = Callable[[Tensor, Tensor], Tensor]
LEAST_REGIONS = 2  # fewer have no variance
PAIRS: dict[str, Callable[[Sequence[Frame], Config], Pairs]] = {
    "augment": AugmentPairs,
    "neighbour": NeighbourPairs,
    "camera": CameraPairs,
}


@dataclass(frozen=True)
class DrawnPairs:
    """One step's input.

    Attributes:
        tokenised: the first views of all frames, then the second ones; or each by itself where the encoders differ.
        region: for either side (N,) int64 the region of each element, −1 for none.
        regions: B regions that both sides show.
    """

    tokenised: tuple[Tokenised, Tokenised]
    region: tuple[Tensor, Tensor]
    regions: int


class TwoViews(Objective):
    """Draws pairs of views and hands the embeddings (B, E) of their regions to `compare`.

    Args:
        ask: what the method is given.
        compare: (first, second) -> loss.
    """

    def __init__(self, ask: Ask, compare: Compare) -> None:
        self._config, self._compare = ask.config, compare
        self._pairs = PAIRS[ask.config.pretrain.views](ask.frames, ask.config)
        self._encoders = (ask.encoder, self._pairs.companion(ask.encoder))
        self._order = FrameOrder(len(ask.frames))
        self.regions = 0
        self.draws = 0

    def draw(self, rng: np.random.Generator) -> DrawnPairs:
        """`pretrain.batch` frames in two views. Raises DataError where no two of all frames share two regions."""
        tried = 0
        while tried <= 2 * len(self._pairs) + self._config.pretrain.batch:
            drawn = self._order.next(self._config.pretrain.batch, rng)
            sides = tuple(zip(*(self._pairs.pair(index, rng) for index in drawn), strict=True))
            first, second, regions = shared_regions(sides[0], sides[1], self._config.pretrain.min_points)
            if regions >= LEAST_REGIONS:
                self.regions, self.draws = self.regions + regions, self.draws + 1
                tokenised = _tokenised(self._encoders[0], first), _tokenised(self._encoders[1], second)
                device = self._encoders[0].device
                return DrawnPairs(tokenised, (regions_on(first, device), regions_on(second, device)), regions)
            tried += len(drawn)
        raise DataError(
            f"no two views of {len(self._pairs)} frames share two regions of {self._config.pretrain.min_points} points; "
            "lower pretrain.min_points, or take other pretrain.views"
        )

    def loss(self, drawn: DrawnPairs) -> Tensor:
        """`compare` of the regions' mean features in the two views."""
        first, second = (
            pooled(encoder(tokenised), tokenised.of, region, drawn.regions)
            for encoder, tokenised, region in zip(self._encoders, drawn.tokenised, drawn.region, strict=True)
        )
        return self._compare(first, second)

    def others(self) -> list[nn.Module]:
        """The camera's encoder beside the LiDAR's, or the other way round."""
        return [encoder for encoder in self._encoders[1:] if encoder is not self._encoders[0]]

    @property
    def mean_regions(self) -> int:
        """Regions a step, on average."""
        return round(self.regions / max(1, self.draws))


def shared_regions(
    first: Sequence[View], second: Sequence[View], min_points: int
) -> tuple[list[View], list[View], int]:
    """The views of F frames with regions numbered through all frames; those too small in either view are left out."""
    numbered: tuple[list[View], list[View]] = ([], [])
    regions = 0
    for a, b in zip(first, second, strict=True):
        count = max(int(a.region.max(initial=-1)), int(b.region.max(initial=-1))) + 1
        kept = np.minimum(a.sizes(count), b.sizes(count)) >= min_points
        # The entry beyond the last is what −1, no region, looks up.
        number = np.append(np.where(kept, regions + np.cumsum(kept) - 1, -1), -1).astype(np.int32)
        for side, view in zip(numbered, (a, b), strict=True):
            side.append(View(view.elements, number[view.region]))
        regions += int(kept.sum())
    return *numbered, regions


def _tokenised(encoder: EncoderNetwork, views: Sequence[View]) -> Tokenised:
    return encoder.tokenised([view.elements for view in views])


def regions_on(views: Sequence[View], device: torch.device) -> Tensor:
    """(N,) int64 the regions of all views, one after the other."""
    return torch.from_numpy(np.concatenate([view.region for view in views]).astype(np.int64)).to(device)
