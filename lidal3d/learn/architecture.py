# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""What a model's weights must agree on to fit a network, and what every network is."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from torch import nn

SWEEP_CHANNELS = (32, 32, 64, 128, 256, 256, 128, 96, 96)
# A picture has more elements than a sweep has voxels: most channels where the resolution is low.
PICTURE_CHANNELS = (32, 64, 128, 256, 384, 256, 128, 64, 64)
CHANNELS = {"minkunet": SWEEP_CHANNELS, "spvcnn": SWEEP_CHANNELS, "unet2d": PICTURE_CHANNELS}


@dataclass(frozen=True)
class Architecture:
    """What a checkpoint must agree on to fit a network.

    Attributes:
        classes: C outputs.
        channels_in: input features a voxel or pixel.
        width: factor on CHANNELS.
        blocks: residual blocks a level.
        name: the kind of network.
    """

    classes: int
    channels_in: int
    width: float
    blocks: int
    name: str = "minkunet"

    @property
    def channels(self) -> tuple[int, ...]:
        """Widths of stem, four levels down, four levels up."""
        return tuple(max(1, round(c * self.width)) for c in CHANNELS[self.name])

    @property
    def of_pictures(self) -> bool:
        """Whether it reads pictures, not sweeps."""
        return self.name == "unet2d"

    def to_dict(self) -> dict[str, object]:
        """As plain values, for a file's header."""
        return asdict(self)


class Network(nn.Module):
    """Gives logits (E, C) and last features (E, D) of the E voxels or pixels that it is called with."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
