# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""ODCT: things are clustered while the encoder learns their clusters, and all sightings of a track are one cluster.

Alfani et al., "Online Deep Clustering with Video Track Consistency", ICPR 2022, on top of Zhan et al., CVPR 2020. A
sighting is the points of a track in a sweep, or the crop round it in a picture. Each step teaches a linear classifier and
the encoder the memory's labels, weighted against large clusters; then the memory takes in the features and relabels.
How a track is made one is this package's reading (`lidal3d.learn.pretrain.track_vote`); AdamW takes the place of SGD.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from lidal3d.config import Config
from lidal3d.errors import DataError
from lidal3d.learn.pretrain.encoders import Tokenised, pooled
from lidal3d.learn.pretrain.frames import FrameOrder
from lidal3d.learn.pretrain.method import Ask, Method, Objective
from lidal3d.learn.pretrain.odc_memory import Int64, OdcMemory, unit
from lidal3d.learn.pretrain.pairs import neighbours
from lidal3d.learn.pretrain.sightings import Sightings
from lidal3d.learn.pretrain.track_vote import HardVote, swapped_targets
from lidal3d.learn.pretrain.views import View, random_view
from lidal3d.learn.sparse import VoxelNorm

TRACKS_A_CLUSTER = 50
LEAST = 2  # sightings a step: fewer have no variance
COLLAPSED = 0.5


@dataclass(frozen=True)
class DrawnSightings:
    """One step's input.

    Attributes:
        tokenised: the views.
        place: (N,) int64 of each element of all views its row in `samples`, −1 for none.
        samples: (B,) the sightings, ascending.
    """

    tokenised: Tokenised
    place: Tensor
    samples: Int64


class Odct(Objective):
    """The weighted cross-entropy of sightings' pseudo-labels."""

    def __init__(self, ask: Ask) -> None:
        self._ask, self._settings = ask, ask.config.odct
        self._seen = Sightings(ask.frames, ask.config)
        self._order = FrameOrder(len(ask.frames))
        self._near = neighbours(ask.frames, ask.config.pretrain.neighbour_most, 0.0)
        by_track = self._settings.by == "track"
        self._entry = self._seen.track if by_track else np.arange(len(self._seen), dtype=np.int64)
        clusters = self._settings.clusters or max(2, self._seen.tracks // TRACKS_A_CLUSTER)
        self.memory = OdcMemory(
            self._joined(np.arange(len(self._seen)), self._features())[1], clusters,
            np.random.default_rng([ask.config.pretrain.seed, 1]), self._settings.min_cluster, self._settings.momentum,
            self._settings.refresh_every, self._vote(),
        )  # fmt: skip
        self._classifier = nn.Linear(self._settings.dimensions, clusters).to(ask.encoder.device)
        self._last: tuple[Int64, np.ndarray] | None = None

    def _vote(self) -> HardVote | None:
        if self._settings.by != "vote":
            return None
        return HardVote(self._seen.track, self._settings.least_likeness, self._settings.min_sightings)

    def _features(self) -> np.ndarray:
        """(N, D) of all sightings before the first step, frame by frame."""
        found = np.zeros((len(self._seen), self._settings.dimensions), np.float32)
        with torch.no_grad():
            for number in np.unique(self._seen.frame).tolist():
                drawn = self._drawn(self._seen.views(number))
                found[drawn.samples] = self._embedded(drawn).cpu().numpy()
        return found

    def _drawn(self, views: list[View]) -> DrawnSightings:
        tokenised = self._ask.encoder.tokenised([view.elements for view in views])
        region = np.concatenate([view.region for view in views]).astype(np.int64)
        samples, place = np.unique(region[region >= 0], return_inverse=True)
        of_element = np.full(len(region), -1, np.int64)
        of_element[region >= 0] = place
        return DrawnSightings(tokenised, torch.from_numpy(of_element).to(self._ask.encoder.device), samples)

    def _embedded(self, drawn: DrawnSightings) -> Tensor:
        """(B, D) the neck's outputs."""
        features = self._ask.encoder(drawn.tokenised)
        embedded: Tensor = self._ask.head(pooled(features, drawn.tokenised.of, drawn.place, len(drawn.samples)))
        return embedded

    def draw(self, rng: np.random.Generator) -> DrawnSightings:
        """Sightings of `pretrain.batch` frames; by=swap in pairs of neighbouring ones. Raises DataError for too few."""
        tried, batch = 0, self._ask.config.pretrain.batch
        while tried <= 2 * len(self._ask.frames) + batch:
            numbers = self._order.next(batch, rng)
            if self._settings.by == "swap":
                partners = [int(rng.choice(self._near[n])) for n in numbers if len(self._near[n])]
                numbers = list(dict.fromkeys(numbers + partners))
            views = [view for number in numbers for view in self._seen.views(number)]
            views = [random_view(view, self._ask.config.pretrain, rng) for view in views]
            if sum(len(np.unique(view.region[view.region >= 0])) for view in views) >= LEAST:
                return self._drawn(views)
            tried += len(numbers)
        raise DataError(f"no {batch} of {len(self._ask.frames)} frames show {LEAST} things; raise pretrain.batch")

    def loss(self, drawn: DrawnSightings) -> Tensor:
        """Cross-entropy with the labels from before this step."""
        embedded = self._embedded(drawn)
        entries = self._entry[drawn.samples]
        taught = self.memory.labels[entries]
        if self._settings.by == "swap":
            taught = swapped_targets(self.memory.labels, entries, self._seen.track[drawn.samples])
        self._last = (drawn.samples, embedded.detach().cpu().numpy())
        weights = torch.from_numpy(self.memory.weights().astype(np.float32)).to(embedded.device)
        return functional.cross_entropy(
            self._classifier(embedded), torch.from_numpy(taught).to(embedded.device), weights
        )

    def after(self) -> None:
        """The memory takes in what the step saw."""
        if self._last is not None:
            self.memory.update(*self._joined(*self._last))

    def _joined(self, samples: Int64, features: np.ndarray) -> tuple[Int64, np.ndarray]:
        """Entries of the memory, each once, and their features: the mean direction where several sightings share one."""
        entries, place = np.unique(self._entry[samples], return_inverse=True)
        if len(entries) == len(samples):
            return self._entry[samples], features
        total = np.zeros((len(entries), features.shape[1]))
        np.add.at(total, place, unit(features))
        return entries, total

    def others(self) -> list[nn.Module]:
        """The classifier, which is of use to nobody else."""
        return [self._classifier]

    def notes(self) -> list[str]:
        """A collapse: most sightings in one cluster."""
        count = np.bincount(self.memory.labels)
        if count.max() <= COLLAPSED * count.sum() or len(count) <= 2:
            return []
        return [
            f"collapsed: {100 * count.max() / count.sum():.0f} % of {len(self.memory)} sightings are in one of "
            f"{len(count)} clusters; lower odct.clusters, or learn from more drives"
        ]


def neck(features: int, config: Config) -> nn.Sequential:
    """One hidden layer, then a linear one, as ODC's."""
    return nn.Sequential(
        nn.Linear(features, config.odct.hidden, bias=False), VoxelNorm(config.odct.hidden), nn.ReLU(),
        nn.Linear(config.odct.hidden, config.odct.dimensions),
    )  # fmt: skip


ODCT = Method(
    "odct", "Alfani et al., ICPR 2022", "which cluster of things a thing is of, the same in all sweeps that show it",
    neck, Odct,
)  # fmt: skip
