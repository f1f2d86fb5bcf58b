# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""The two views of a region by two sensors: its points in a sweep, and the pixels that they fall into."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from lidal3d.config import Config
from lidal3d.errors import DataError
from lidal3d.learn.pretrain.encoders import EncoderNetwork, Tokenised, build_encoder
from lidal3d.learn.pretrain.frames import RegionFrames
from lidal3d.learn.pretrain.pairs import Pairs
from lidal3d.learn.pretrain.views import Regions, View, random_view
from lidal3d.scene.pixels import CAMERA, WIDTH, PixelSource, picture_shape
from lidal3d.scene.projection import visible_pixels
from lidal3d.scene.scene import CameraImage, Frame


class Fitted(EncoderNetwork):
    """Another sensor's encoder, its features brought to a length by a linear layer."""

    def __init__(self, encoder: EncoderNetwork, dimensions: int) -> None:
        super().__init__()
        self.encoder, self.kind, self.dimensions = encoder, encoder.kind, dimensions
        self.linear = nn.Linear(encoder.dimensions, dimensions)

    def tokenised(self, views: Sequence[npt.NDArray[np.float32]]) -> Tokenised:
        """As of the encoder."""
        return self.encoder.tokenised(views)

    def forward(self, tokenised: Tokenised) -> Tensor:
        """(P, dimensions)."""
        features: Tensor = self.linear(self.encoder(tokenised))
        return features


class CameraPairs(Pairs):
    """A sweep and one of its pictures. An encoder of the other sensor is trained along, and not kept.

    Raises:
        DataError: the first sweep has no camera images.
    """

    def __init__(self, frames: Sequence[Frame], config: Config) -> None:
        super().__init__(frames, config)
        # Regions are those of the sweep, whichever of the two is trained for.
        self.frames = RegionFrames([frame.sweep() for frame in frames], config)
        self._pictures = frames
        if not frames[0].images():
            raise DataError(
                f"scene {frames[0].scene.id} has no camera images; take pretrain.views=augment or neighbour"
            )

    def companion(self, encoder: EncoderNetwork) -> EncoderNetwork:
        """A new encoder of the other sensor."""
        other, settings = "image" if encoder.kind == "sparse" else "sparse", self.config.pretrain
        companion = Fitted(build_encoder(other, settings, settings.seed + 1), encoder.dimensions)
        return companion.to(encoder.device)

    def pair(self, index: int, rng: np.random.Generator) -> tuple[View, View]:
        """A random view of the encoder's own sensor, and one of the other's."""
        sweep = self.frames.view(index)
        views = (sweep, self._seen(index, sweep, rng))
        first, second = views if self._pictures[index].scene.sensor != CAMERA else views[::-1]
        return random_view(first, self.config.pretrain, rng), random_view(second, self.config.pretrain, rng)

    def _seen(self, index: int, sweep: View, rng: np.random.Generator) -> View:
        frame = self._pictures[index]
        image, pixels = picture_with(frame, rng)
        return View(pixels, pixel_regions(image, pixels, sweep))


def picture_with(frame: Frame, rng: np.random.Generator) -> tuple[CameraImage, npt.NDArray[np.float32]]:
    """One of the pictures of a sweep, or the picture that a frame is, and its pixels (N, 5).

    Raises:
        DataError: there is none, or it can't be read.
    """
    images = frame.images()
    if not images:
        raise DataError(f"{frame.scene.id}/{frame.name}: no camera images; leave the frame out")
    image = images[int(rng.integers(len(images)))]
    if isinstance(frame.scene.source, PixelSource):
        return image, frame.points()
    return image, PixelSource(frame.scene, (frame.index,), image.camera, WIDTH).read_points(0)


def pixel_regions(image: CameraImage, pixels: npt.NDArray[np.float32], sweep: View) -> Regions:
    """The region (N,) of each pixel of a reduced picture: that of the nearest visible point in it, −1 without one."""
    height, width = picture_shape(pixels)
    place, depth, seen = visible_pixels(image, sweep.elements[:, :3])
    scale = np.array([width / image.width, height / image.height])
    column, row = np.minimum((place[seen] * scale).astype(np.int64), [width - 1, height - 1]).T
    region = np.full(height * width, -1, np.int32)
    # The last one written stays: the nearest.
    order = np.argsort(-depth[seen], kind="stable")
    region[(row * width + column)[order]] = sweep.region[seen][order]
    return region
