# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""`lidal3d pretrain`: an encoder trained on a drive without its labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lidal3d.config import Config
from lidal3d.errors import UsageError
from lidal3d.scene.scene import Scene


def pretrain_on(
    scenes: Sequence[Scene], out: Path, method: str, config: Config, seed: int, device: str = "cpu"
) -> Path:
    """Train an encoder and write `encoder.safetensors` into `out`, whole or not at all; one that lies there is kept.

    Args:
        scenes: sweeps, or pictures; no label is read.
        method: its name.
        config: `config.pretrain`.
        seed: of everything random.
        device: where torch computes.

    Raises:
        UsageError: no such method.
    """
    raise UsageError(f"no method '{method}' of pretraining")
