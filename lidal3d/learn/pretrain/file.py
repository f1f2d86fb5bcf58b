# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""An encoder trained without labels, and its file: weights of encoder and head, and a JSON header with all settings."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from lidal3d.config import Config
from lidal3d.errors import DataError, UsageError
from lidal3d.files import replacing
from lidal3d.learn.model import HEADER_KEY
from lidal3d.learn.pretrain.encoders import ENCODERS, EncoderNetwork, build_encoder

ENCODER_FILE = "encoder.safetensors"
WHAT = "encoder"
FORMAT = 1


@dataclass
class Pretrained:
    """What a self-supervised training gave.

    Attributes:
        encoder: the network, in evaluation mode.
        head: what was trained with it, for methods whose scores read it.
        method: its name.
        config: the settings that it was trained with.
        notes: what people should know of the training.
    """

    encoder: EncoderNetwork
    head: nn.Module
    method: str
    config: Config
    notes: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """For people: kind, method and size."""
        parameters = sum(p.numel() for p in self.encoder.parameters())
        return (
            f"{self.encoder.kind} encoder by {self.method}, {parameters / 1e6:.2f}M, {self.encoder.dimensions} features"
        )

    def save(self, folder: Path | str) -> Path:
        """Write `encoder.safetensors` into `folder`, whole or not at all; returns its path."""
        path = Path(folder) / ENCODER_FILE
        header = {
            "format": FORMAT, "what": WHAT, "kind": self.encoder.kind, "method": self.method,
            "settings": self.config.model_dump(), "notes": self.notes,
        }  # fmt: skip
        parts = (("encoder", self.encoder), ("head", self.head))
        tensors = {
            f"{part}.{name}": t.detach().cpu().contiguous() for part, m in parts for name, t in m.state_dict().items()
        }
        with replacing(path) as temporary:
            try:
                save_file(tensors, os.fspath(temporary), metadata={HEADER_KEY: json.dumps(header, sort_keys=True)})
            except SafetensorError as error:
                raise DataError(f"{path}: cannot write ({error}); free space or choose another --out") from None
        return path


def is_pretrained(path: Path | str) -> bool:
    """Whether a folder or a safetensors file is of `lidal3d pretrain`, told from its header."""
    place = encoder_path(path)
    try:
        return _header(place).get("what") == WHAT
    except (DataError, OSError):
        return False


def encoder_path(path: Path | str) -> Path:
    """The file of an encoder's folder, or the file itself."""
    return Path(path) if Path(path).suffix == ".safetensors" or Path(path).is_file() else Path(path) / ENCODER_FILE


def file_fingerprint(path: Path | str) -> str:
    """A short digest of the whole file."""
    digest = hashlib.sha256()
    with open(encoder_path(path), "rb") as file:
        while part := file.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()[:16]


def load_pretrained(path: Path | str) -> Pretrained:
    """Read an encoder from its folder or file.

    Raises:
        DataError: missing, damaged, not an encoder of `lidal3d pretrain`, or of another lidal3d.
    """
    from lidal3d.learn.pretrain.methods import method_named

    place = encoder_path(path)
    header = _header(place)
    if header.get("what") != WHAT or header.get("format") != FORMAT:
        raise DataError(
            f"{place}: {header.get('what', 'a model')} of format {header.get('format')}, an encoder of format {FORMAT} is "
            "needed; make one with `lidal3d pretrain`"
        )
    try:
        config = Config().updated(header["settings"], str(place))
        method, kind = method_named(str(header["method"])), str(header["kind"])
        encoder = build_encoder(kind if kind in ENCODERS else "", config.pretrain)
        notes = [str(note) for note in header["notes"]]
    except (KeyError, TypeError, AttributeError, UsageError) as error:
        raise DataError(f"{place}: its header is not an encoder's ({error}); train it again") from None
    head = method.head(encoder.dimensions, config)
    tensors = _tensors(place)
    for part, module in (("encoder", encoder), ("head", head)):
        _load(
            place,
            module,
            {name.removeprefix(f"{part}."): t for name, t in tensors.items() if name.startswith(f"{part}.")},
        )
        module.eval()
    return Pretrained(encoder, head, method.name, config, notes)


def _load(path: Path, module: nn.Module, tensors: dict[str, Tensor]) -> None:
    wanted = module.state_dict()
    for name in sorted(tensors.keys() | wanted.keys()):
        found, needed = (tuple(t[name].shape) if name in t else None for t in (tensors, wanted))
        if found != needed:
            raise DataError(f"{path}: '{name}' has shape {found}, its header needs {needed}; train it again")
    module.load_state_dict(tensors)


def _header(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise DataError(f"{path}: no encoder there; make one with `lidal3d pretrain`")
    try:
        with safe_open(os.fspath(path), framework="pt") as file:
            header = json.loads((file.metadata() or {})[HEADER_KEY])
    except KeyError:
        raise DataError(
            f"{path}: safetensors without a lidal3d header; make an encoder with `lidal3d pretrain`"
        ) from None
    except (SafetensorError, OSError, ValueError) as error:
        raise DataError(f"{path}: not a whole safetensors file ({str(error).splitlines()[0]})") from None
    if not isinstance(header, dict):
        raise DataError(f"{path}: its lidal3d header is no object; train it again")
    return header


def _tensors(path: Path) -> dict[str, Tensor]:
    with safe_open(os.fspath(path), framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
