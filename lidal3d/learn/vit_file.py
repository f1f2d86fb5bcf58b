# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Weights of a ViT from a local file: safetensors, or .pth read with weights_only. Nothing in it is executed."""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from lidal3d.errors import DataError
from lidal3d.learn.vit import ViT, vit_of

PICKLES = (".pth", ".pt", ".bin")
# A training's checkpoint keeps the weights in one of these; DINO's teacher is the one that people use.
INSIDE = ("teacher", "state_dict", "model")
BEFORE = ("module.", "backbone.", "model.", "encoder.")


def load_vit(path: Path | str) -> ViT:
    """Read a ViT.

    Raises:
        DataError: missing, damaged, no state dict, or that of another network; the message names key and both shapes.
    """
    return vit_of(clean_names(_read(Path(path)), path), path)


def clean_names(state: Mapping[Any, Any], path: Path | str) -> dict[str, Tensor]:
    """The tensors of a state dict or of the checkpoint around one, without what a training puts before their names.

    Raises:
        DataError: there are none.
    """
    for key in INSIDE:
        inner = state.get(key)
        if isinstance(inner, Mapping):
            return clean_names(inner, path)
    tensors = {_clean(str(name)): value for name, value in state.items() if isinstance(value, Tensor)}
    if not tensors:
        raise DataError(f"{path}: holds no tensors; give the state dict of a ViT")
    return tensors


def _clean(name: str) -> str:
    for prefix in BEFORE:
        name = name.removeprefix(prefix)
    return name


def _read(path: Path) -> Mapping[Any, Any]:
    if not path.is_file():
        raise DataError(f"{path}: no such file; give the weights of a ViT as .safetensors or .pth")
    try:
        if path.suffix not in PICKLES:
            return load_file(os.fspath(path))
        found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise DataError(
            f"{path}: not tensors alone, or no pickle ({str(error).splitlines()[0][:120]}); save its state dict"
        ) from None
    except (SafetensorError, OSError, RuntimeError, ValueError, EOFError, KeyError) as error:
        raise DataError(f"{path}: not a whole weights file ({str(error).splitlines()[0][:120]})") from None
    if not isinstance(found, Mapping):
        raise DataError(f"{path}: holds a {type(found).__name__}, not the state dict of a ViT")
    return found
