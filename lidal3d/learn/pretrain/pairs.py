# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Where the two views of a region come from: one frame drawn twice, or two sweeps of the same place."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from lidal3d.config import Config
from lidal3d.errors import DataError
from lidal3d.learn.pretrain.encoders import EncoderNetwork
from lidal3d.learn.pretrain.frames import RegionFrames
from lidal3d.learn.pretrain.views import Regions, View, carried_regions, random_view
from lidal3d.scene.scene import Frame


class Pairs:
    """Pairs of views by the number of the first one's frame."""

    def __init__(self, frames: Sequence[Frame], config: Config) -> None:
        self.config = config
        self.frames = RegionFrames(frames, config)

    def __len__(self) -> int:
        return len(self.frames)

    def pair(self, index: int, rng: np.random.Generator) -> tuple[View, View]:
        """Two views whose regions have the same numbers."""
        raise NotImplementedError

    def companion(self, encoder: EncoderNetwork) -> EncoderNetwork:
        """What reads the second view where `encoder` reads the first: the same, where both are of one sensor."""
        return encoder


class AugmentPairs(Pairs):
    """The same frame, drawn twice."""

    def pair(self, index: int, rng: np.random.Generator) -> tuple[View, View]:
        """Two random views."""
        whole, settings = self.frames.view(index), self.config.pretrain
        return random_view(whole, settings, rng), random_view(whole, settings, rng)


class NeighbourPairs(Pairs):
    """A frame and a neighbouring one that the car took from another place; the poses tell which point is of which region.

    Raises:
        DataError: no frame has a neighbour.
    """

    def __init__(self, frames: Sequence[Frame], config: Config) -> None:
        super().__init__(frames, config)
        near = neighbours(frames, config.pretrain.neighbour_most, config.pretrain.neighbour_m)
        self._having = [index for index in range(len(frames)) if len(near[index])]
        self._near = near
        if not self._having:
            raise DataError(
                f"none of {len(frames)} frames has another one within {config.pretrain.neighbour_most} frames of its scene; "
                "raise pretrain.neighbour_most, or take pretrain.views=augment"
            )

    def __len__(self) -> int:
        return len(self._having)

    def pair(self, index: int, rng: np.random.Generator) -> tuple[View, View]:
        """A random view of the frame, and one of a neighbour drawn from those there are."""
        here = self._having[index]
        there = int(rng.choice(self._near[here]))
        first, settings = self.frames.view(here), self.config.pretrain
        second = self.frames.view(there)
        region = self._carried(here, there, first, second)
        return random_view(first, settings, rng), random_view(View(second.elements, region), settings, rng)

    def _carried(self, here: int, there: int, first: View, second: View) -> Regions:
        places = [self.frames.frames[i].positions(view.elements) for i, view in ((here, first), (there, second))]
        return carried_regions(first.region, places[0], places[1], self.config.pretrain.match_m)


def neighbours(frames: Sequence[Frame], most: int, least_m: float) -> list[npt.NDArray[np.int64]]:
    """For each frame the numbers of those of its scene within `most` frames and from `least_m` away on.

    A car that stands still has none so far away: all others within `most` frames are taken then.
    """
    places: dict[str, dict[int, int]] = {}
    for number, frame in enumerate(frames):
        places.setdefault(frame.scene.id, {})[frame.index] = number
    result = []
    for frame in frames:
        of_scene, center_m = places[frame.scene.id], frame.scene.world_SE3_lidar[:, :3, 3]
        near = [i for i in range(frame.index - most, frame.index + most + 1) if i in of_scene and i != frame.index]
        far = [i for i in near if np.linalg.norm(center_m[i] - center_m[frame.index]) >= least_m]
        result.append(np.array([of_scene[i] for i in far or near], np.int64))
    return result
