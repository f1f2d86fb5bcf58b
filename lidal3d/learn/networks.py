# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""The networks by name. All give (logits, last features) a voxel or pixel; sparse ones take (features, keys)."""

from __future__ import annotations

import torch

from lidal3d.errors import UsageError
from lidal3d.learn.architecture import Architecture, Network
from lidal3d.learn.images.unet import UNet2d
from lidal3d.learn.minkunet import MinkUNet
from lidal3d.learn.spvcnn import SPVCNN

NETWORKS: dict[str, type[Network]] = {"minkunet": MinkUNet, "spvcnn": SPVCNN, "unet2d": UNet2d}


def build(architecture: Architecture, seed: int = 0) -> Network:
    """A network with random weights drawn from `seed`, whatever torch's global generator holds.

    Raises:
        UsageError: no network has the architecture's name.
    """
    if architecture.name not in NETWORKS:
        raise UsageError(f"no network '{architecture.name}' (known: {', '.join(NETWORKS)})")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return NETWORKS[architecture.name](architecture)
