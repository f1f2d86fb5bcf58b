# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""A training's whole state in one safetensors file: weights, optimiser, sampler, step. Nothing in it is executed.

A training that is cut off anywhere and goes on from its last checkpoint ends with the same bytes as one that ran
through.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lidal3d.errors import DataError
from lidal3d.files import remove_abandoned
from lidal3d.learn.tensor_file import read_tensors, write_tensors

CHECKPOINT_FILE = "checkpoint.safetensors"
HEADER_KEY = "lidal3d-checkpoint"
FORMAT = 1


@dataclass(frozen=True)
class Checkpoint:
    """A training after some steps.

    Attributes:
        step: how many steps were taken.
        sampler: the sampler's state after them.
        tensors: "network/…", "optimiser/…" and "beside/…".
    """

    step: int
    sampler: dict[str, Any]
    tensors: dict[str, Tensor]

    def restore(self, network: nn.Module, optimiser: torch.optim.Optimizer) -> None:
        """Put weights and the optimiser's moments back."""
        own = {k.removeprefix("network/"): v for k, v in self.tensors.items() if k.startswith("network/")}
        network.load_state_dict(own)
        for name, parameter in network.named_parameters():
            prefix = f"optimiser/{name}/"
            moments = {k.removeprefix(prefix): v for k, v in self.tensors.items() if k.startswith(prefix)}
            optimiser.state[parameter] = {
                key: value.to(parameter.device) if parameter.dim() and value.dim() else value
                for key, value in moments.items()
            }

    def beside(self) -> dict[str, Tensor]:
        """What was saved beside weights and moments."""
        return {k.removeprefix("beside/"): v for k, v in self.tensors.items() if k.startswith("beside/")}


def save_checkpoint(
    folder: Path,
    step: int,
    sampler: dict[str, Any],
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    training: str,
    beside: Mapping[str, Tensor] | None = None,
) -> None:
    """Write the checkpoint into `folder`, whole or not at all; `training` is a digest of all that it depends on.

    Args:
        network: whatever holds all parameters of `optimiser`.
        beside: other tensors to go on from.
    """
    tensors = {f"network/{name}": tensor for name, tensor in network.state_dict().items()}
    for name, parameter in network.named_parameters():
        tensors |= {f"optimiser/{name}/{key}": value for key, value in optimiser.state[parameter].items()}
    tensors |= {f"beside/{name}": tensor for name, tensor in (beside or {}).items()}
    header = {"format": FORMAT, "training": training, "step": step, "sampler": sampler}
    write_tensors(folder / CHECKPOINT_FILE, HEADER_KEY, header, tensors)


def load_checkpoint(folder: Path, training: str) -> Checkpoint | None:
    """The checkpoint in `folder`, or None where there is none.

    Raises:
        DataError: it is damaged, or of another training than the one with the digest `training`.
    """
    path = folder / CHECKPOINT_FILE
    if folder.is_dir():
        remove_abandoned(folder)
    if not path.is_file():
        return None
    header, tensors = read_tensors(path, HEADER_KEY, "remove it")
    try:
        found, number = header["training"], header["format"]
        checkpoint = Checkpoint(int(header["step"]), dict(header["sampler"]), tensors)
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: its header is not a checkpoint's ({error}); remove it") from None
    if number != FORMAT or found != training:
        raise DataError(
            f"{path}: of another training ({found}, format {number}) than this one ({training}, format {FORMAT}); "
            "other settings, frames, labels or first weights: remove it or train elsewhere"
        )
    return checkpoint
