# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""An encoder trained without labels, and its file: weights of encoder and head, and a JSON header with all settings."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor, nn

from lidal3d.config import Config
from lidal3d.errors import DataError, UsageError
from lidal3d.learn.model import HEADER_KEY
from lidal3d.learn.pretrain.encoders import ENCODERS, EncoderNetwork, build_encoder
from lidal3d.learn.tensor_file import read_header, read_tensors, write_tensors

ENCODER_FILE = "encoder.safetensors"
WHAT = "encoder"
FORMAT = 1
HINT = "make an encoder with `lidal3d pretrain`"


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
        tensors = {f"{part}.{name}": t for part, module in parts for name, t in module.state_dict().items()}
        write_tensors(path, HEADER_KEY, header, tensors)
        return path


def is_pretrained(path: Path | str) -> bool:
    """Whether a folder or a safetensors file is of `lidal3d pretrain`, told from its header."""
    place = encoder_path(path)
    try:
        return read_header(place, HEADER_KEY, HINT).get("what") == WHAT
    except DataError:
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
    if not place.is_file():
        raise DataError(f"{place}: no encoder there; make one with `lidal3d pretrain`")
    header, tensors = read_tensors(place, HEADER_KEY, HINT)
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
