# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Opening an encoder, whatever its file holds."""

from __future__ import annotations

from pathlib import Path

from lidal3d.errors import DataError
from lidal3d.predictions.tokens import Encoder

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")  # of weights of a ViT


def open_encoder(path: Path | str, device: str = "cpu", cut: str = "tiles") -> Encoder:
    """The encoder of a file or folder.

    Args:
        path: weights of a ViT, or a folder of `lidal3d pretrain`.
        device: where torch computes.
        cut: how pictures are shown to a ViT, as `ViTTokens` says.

    Raises:
        DataError: nothing there, no encoder, or a ViT of another shape.
    """
    from lidal3d.learn.pretrain.file import encoder_path, is_pretrained
    from lidal3d.learn.pretrain.tokens import PretrainedTokens
    from lidal3d.learn.vit_tokens import ViTTokens

    if is_pretrained(path):
        return PretrainedTokens(encoder_path(path), device)
    if Path(path).is_file() or Path(path).suffix in SUFFIXES:
        return ViTTokens(Path(path), device, cut)
    raise DataError(f"{path}: no encoder; make one with `lidal3d pretrain`, or give the weights of a ViT")
