# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Tensors with a JSON header in one safetensors file: models, encoders, checkpoints. Nothing in it is executed."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from lidal3d.errors import DataError
from lidal3d.files import replacing


def write_tensors(path: Path, key: str, header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Write a file, whole or not at all, with the header under `key`. Raises DataError where it can't be written."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with replacing(path) as temporary:
        try:
            save_file(plain, os.fspath(temporary), metadata={key: json.dumps(header, sort_keys=True)})
        except SafetensorError as error:
            raise DataError(f"{path}: cannot write ({error}); free space or choose another --out") from None


def read_header(path: Path, key: str, hint: str) -> dict[str, Any]:
    """The header under `key`. Raises DataError, with `hint` at its end, where the file is damaged or has none."""
    try:
        with safe_open(os.fspath(path), framework="pt") as file:
            header = json.loads((file.metadata() or {})[key])
    except KeyError:
        raise DataError(f"{path}: safetensors without a lidal3d header; {hint}") from None
    except (SafetensorError, OSError, ValueError) as error:
        raise DataError(f"{path}: not a whole safetensors file ({str(error).splitlines()[0]}); {hint}") from None
    if not isinstance(header, dict):
        raise DataError(f"{path}: its lidal3d header is no object; {hint}")
    return header


def read_tensors(path: Path, key: str, hint: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Header and tensors; raises as `read_header`."""
    header = read_header(path, key, hint)
    with safe_open(os.fspath(path), framework="pt") as file:
        return header, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
