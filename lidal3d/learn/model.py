# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""A trained model: the network and everything needed to feed it and to name its outputs; one safetensors file on disk.

The header (architecture, classes, voxel size, settings) is JSON in the file's own metadata, so weights and header can
never be of different trainings. Nothing in the file is executed on loading.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from lidal3d.errors import DataError, UsageError
from lidal3d.learn.architecture import Architecture, Network
from lidal3d.learn.loss_prediction.trained import TrainedHead
from lidal3d.learn.networks import build
from lidal3d.learn.tensor_file import read_tensors, write_tensors

MODEL_FILE = "model.safetensors"
HEADER_KEY = "lidal3d"
FORMAT = 1
LOSS_HEAD = "loss_head/"  # before the names of its tensors


@dataclass
class Model:
    """A network with what it was trained for.

    Attributes:
        network: the weights.
        classes: C class names, in the order of the outputs.
        label_map: name of the label map that the classes come from ("semantickitti").
        voxel_m: edge of a voxel, metres; nothing where it reads pictures.
        augmentation: name of the augmentation it was trained with, and which its views are drawn from.
        settings: the training's settings, for the record.
        loss_head: what predicts the losses of units, where one was trained.
    """

    network: Network
    classes: tuple[str, ...]
    label_map: str
    voxel_m: float
    augmentation: str = "default"
    settings: dict[str, Any] = field(default_factory=dict)
    loss_head: TrainedHead | None = None

    @property
    def name(self) -> str:
        """For people: kind of network and its size."""
        parameters = sum(p.numel() for p in self.network.parameters())
        architecture = self.network.architecture
        voxel = "" if architecture.of_pictures else f" voxel {self.voxel_m:g} m"
        return f"{architecture.name} {parameters / 1e6:.2f}M{voxel}"

    def save(self, folder: Path | str) -> Path:
        """Write `model.safetensors` into `folder`, whole or not at all; returns its path."""
        path = Path(folder) / MODEL_FILE
        header = {
            "format": FORMAT,
            "architecture": self.network.architecture.to_dict(),
            "classes": list(self.classes),
            "label_map": self.label_map,
            "voxel_m": self.voxel_m,
            "augmentation": self.augmentation,
            "settings": self.settings,
        }
        if self.loss_head is not None:
            header["loss_head"] = self.loss_head.to_dict()
        write_tensors(path, HEADER_KEY, header, self._tensors())
        return path

    def _tensors(self) -> dict[str, Tensor]:
        """All of the file."""
        head = {} if self.loss_head is None else self.loss_head.head.state_dict()
        return {**self.network.state_dict(), **{LOSS_HEAD + name: tensor for name, tensor in head.items()}}

    def _load(self, tensors: dict[str, Tensor]) -> None:
        """The inverse of `_tensors`; in evaluation mode afterwards."""
        own = {name: tensor for name, tensor in tensors.items() if not name.startswith(LOSS_HEAD)}
        self.network.load_state_dict(own)
        self.network.eval()
        if self.loss_head is not None:
            head = {k.removeprefix(LOSS_HEAD): v for k, v in tensors.items() if k.startswith(LOSS_HEAD)}
            self.loss_head.head.load_state_dict(head)
            self.loss_head.head.eval()


def load_model(
    folder: Path | str, classes: tuple[str, ...] | None = None, architecture: Architecture | None = None
) -> Model:
    """Read a model from its folder or file.

    Args:
        folder: the folder that `Model.save` wrote into, or the .safetensors file.
        classes: the class list that it must have, or None for any.
        architecture: the architecture that it must have, or None for any.

    Raises:
        DataError: missing, damaged, not a lidal3d model, other classes or another architecture than asked for.
    """
    path = Path(folder) / MODEL_FILE if Path(folder).suffix != ".safetensors" else Path(folder)
    header, tensors = _read(path)
    try:
        found = Architecture(**header["architecture"])
        network = build(found)
        model = Model(
            network,
            tuple(map(str, header["classes"])),
            str(header["label_map"]),
            float(header["voxel_m"]),
            str(header["augmentation"]),
            dict(header["settings"]),
            None if "loss_head" not in header else TrainedHead.from_dict(header["loss_head"], network),
        )
    except (KeyError, TypeError, ValueError, UsageError) as error:
        raise DataError(f"{path}: its header is not a lidal3d model's ({error}); train it again") from None
    if classes is not None:
        _refuse_other_classes(path, model.classes, classes)
    if architecture is not None:
        _refuse_other_architecture(path, found, architecture)
    _refuse_other_tensors(path, tensors, model._tensors())
    model._load(tensors)
    return model


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    if not path.is_file():
        raise DataError(f"{path}: no model there; make one with `lidal3d train`")
    header, tensors = read_tensors(path, HEADER_KEY, "only models of `lidal3d train` open")
    if header.get("format") != FORMAT:
        raise DataError(f"{path}: model format {header.get('format')}, this lidal3d reads {FORMAT}; train it again")
    return header, tensors


def _refuse_other_architecture(path: Path, found: Architecture, wanted: Architecture) -> None:
    for key, value in wanted.to_dict().items():
        if found.to_dict()[key] != value:
            raise DataError(
                f"{path}: has {key} {found.to_dict()[key]}, but {key} {value} was asked for; "
                "change the setting or train a new model"
            )


def _refuse_other_classes(path: Path, found: tuple[str, ...], wanted: tuple[str, ...]) -> None:
    if len(found) != len(wanted):
        raise DataError(f"{path}: a model of {len(found)} classes, but the drive has {len(wanted)}; use one of its own")
    for number, (mine, theirs) in enumerate(zip(found, wanted, strict=True)):
        if mine != theirs:
            raise DataError(f"{path}: its class {number} is '{mine}', the drive's is '{theirs}'; use one of its own")


def _refuse_other_tensors(path: Path, found: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    for name in sorted(found.keys() ^ wanted.keys()):
        place = "has" if name in found else "lacks"
        raise DataError(f"{path}: {place} the tensor '{name}', unlike the architecture in its header; train it again")
    for name, tensor in wanted.items():
        if found[name].shape != tensor.shape:
            raise DataError(
                f"{path}: '{name}' has shape {tuple(found[name].shape)}, the architecture in its header needs "
                f"{tuple(tensor.shape)}; train it again"
            )
