# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Opening an encoder, whatever its file holds."""

from __future__ import annotations

from pathlib import Path

from lidal3d.errors import DataError
from lidal3d.predictions.tokens import Encoder


def open_encoder(path: Path | str, device: str = "cpu") -> Encoder:
    """The encoder of a file or folder.

    Args:
        path: weights of a ViT, or a folder of `lidal3d pretrain`.
        device: where torch computes.

    Raises:
        DataError: nothing there, or no encoder.
    """
    from lidal3d.learn.pretrain.file import encoder_path, is_pretrained
    from lidal3d.learn.pretrain.tokens import PretrainedTokens

    if is_pretrained(path):
        return PretrainedTokens(encoder_path(path), device)
    raise DataError(f"{path}: no encoder; make one with `lidal3d pretrain`, or give the weights of a ViT")
