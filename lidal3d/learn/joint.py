# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Joint training after DALBT (Mandivarapu, Camp and Estrada, 2022): cross-entropy, and Barlow Twins beside it.

    L = CE(labelled) + μ · L_BT(two views of any frames) / D

The paper says so in words; that L_BT is divided by D, with μ = 1, is this package's. The twins are regions: means of the
network's last features over a region's points or pixels in two views of a frame.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from lidal3d.config import Config
from lidal3d.errors import UsageError
from lidal3d.learn.beside import Part, Term
from lidal3d.learn.feed import Feed
from lidal3d.learn.loss_prediction.taps import Tap
from lidal3d.learn.pretrain.encoders import pooled
from lidal3d.learn.pretrain.heads import projector
from lidal3d.learn.pretrain.losses import barlow_twins_loss
from lidal3d.learn.pretrain.two_views import LEAST_REGIONS, PAIRS, regions_on, shared_regions
from lidal3d.learn.pretrain.views import View
from lidal3d.learn.sampler import Batch
from lidal3d.scene.scene import Frame

FRUITLESS = 8  # frames that are tried in place of one without regions


class JointPart(Part):
    """Barlow Twins on the regions of `joint.frames` frames a step.

    What a step sees depends on its number alone, so that a training that is resumed goes on alike.

    Args:
        features: of the network's last layer.
        frames: all there are, labelled or not; their labels are never read.
        feed: makes the network's input.
        config: joint, barlow, pretrain, units.
        seed: of everything random.

    Raises:
        UsageError: views of two sensors, which one network can't read.
        DataError: the frames give no pairs.
    """

    def __init__(self, features: int, frames: Sequence[Frame], feed: Feed, config: Config, seed: int) -> None:
        super().__init__()
        if config.pretrain.views == "camera":
            raise UsageError("pretrain.views=camera: joint training reads one sensor; take augment or neighbour")
        self._config, self._feed, self._seed = config, feed, seed
        self._pairs = PAIRS[config.pretrain.views](frames, config)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.projector = projector(features, config.barlow.hidden, config.barlow.dimensions)

    def forward(self, network: nn.Module, batch: Batch, logits: Tensor, taps: Sequence[Tap], number: int) -> Tensor:
        """L_BT / D of the step, 0 where no frame that was tried has two regions in both its views."""
        rng = np.random.default_rng([self._seed, number, 2])
        for _ in range(FRUITLESS):
            drawn = rng.integers(len(self._pairs), size=self._config.joint.frames).tolist()
            sides = list(zip(*(self._pairs.pair(index, rng) for index in drawn), strict=True))
            first, second, regions = shared_regions(sides[0], sides[1], self._config.pretrain.min_points)
            if regions >= LEAST_REGIONS:
                twins = [self.projector(self._embedded(network, side, regions, rng, logits.device))
                         for side in (first, second)]  # fmt: skip
                loss = barlow_twins_loss(twins[0], twins[1], self._config.barlow.off_weight)
                return loss / self._config.barlow.dimensions
        return logits.new_zeros((), dtype=torch.float32)

    def _embedded(
        self, network: nn.Module, views: Sequence[View], regions: int, rng: np.random.Generator, device: torch.device
    ) -> Tensor:
        """Embeddings (R, E) of the regions of some views."""
        each = []
        for view in views:
            inputs, back = self._feed.view(torch.from_numpy(view.elements).to(device), self._feed.draw(rng))
            each.append(back(network(*inputs)[1]).float())
        features = torch.cat(each)
        return pooled(features, torch.arange(len(features), device=device), regions_on(views, device), regions)

    def term(self, output: Tensor, logits: Tensor, batch: Batch, number: int) -> Term:
        """μ L_BT / D."""
        return Term(output, output.new_ones(()), self._config.joint.weight)
