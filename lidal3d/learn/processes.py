# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Which of several processes this one is: what `torchrun` says in the environment. Imports no torch.

    torchrun --nproc_per_node 2 -m lidal3d train DRIVE --out MODEL --device cuda --set train.batch=8

Every process takes its share of each batch; `train.batch` stays the number of sweeps of a whole step.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from lidal3d.errors import UsageError

VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")


@dataclass(frozen=True)
class Processes:
    """One of `size` processes that train together.

    Attributes:
        rank: which, from 0; only 0 writes and prints.
        size: how many there are.
        local_rank: which of those on this machine, from 0; its GPU has the same number.
        local_size: how many there are on this machine.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1

    @property
    def writes(self) -> bool:
        """Whether this is the one that writes files and prints."""
        return self.rank == 0

    def share(self, parts: int) -> slice:
        """Which of `parts` things in a row are this process's; the shares of all follow each other."""
        return slice(self.rank * parts // self.size, (self.rank + 1) * parts // self.size)


ALONE = Processes()


def started_processes(environment: Mapping[str, str] | None = None) -> Processes:
    """What torchrun says of this process, or ALONE without it. Raises UsageError where the environment is damaged."""
    environment = os.environ if environment is None else environment
    # Other launchers set RANK and WORLD_SIZE too, but not for us: torchrun alone names the local rank beside them.
    if not {"LOCAL_RANK", "WORLD_SIZE"} <= environment.keys():
        return ALONE
    try:
        rank, size, local_rank, local_size = (int(environment[name]) for name in VARIABLES)
    except (KeyError, ValueError):
        said = " ".join(f"{name}={environment.get(name, '(none)')}" for name in VARIABLES)
        raise UsageError(f"the environment is not torchrun's ({said}); start with torchrun, or unset these") from None
    if not (0 <= rank < size and 0 <= local_rank < local_size and size % local_size == 0):
        raise UsageError(
            f"the environment is not torchrun's (RANK {rank} of WORLD_SIZE {size}, LOCAL_RANK {local_rank} of "
            f"LOCAL_WORLD_SIZE {local_size}); start as many processes on every machine"
        )
    return Processes(rank, size, local_rank, local_size)


def device_of(device: str, processes: Processes, gpus: int) -> str:
    """Where this process computes when `device` was asked for, "cuda:1" for "cuda" in the process of local rank 1.

    Args:
        device: "cpu", "cuda", …
        processes: how many share the work.
        gpus: how many this machine has.

    Raises:
        UsageError: one GPU was asked for by number, or there are fewer than processes.
    """
    if processes.size == 1 or device == "cpu":
        return device
    if device != "cuda":
        raise UsageError(
            f"--device {device}: torchrun started {processes.size} processes, each takes the GPU of its own number; "
            "use --device cuda, or start without torchrun"
        )
    if processes.local_size > gpus:
        raise UsageError(
            f"--device cuda: torchrun started {processes.local_size} processes here, but there are {gpus} GPUs; "
            f"use --nproc_per_node {max(1, gpus)}, or --device cpu"
        )
    return f"cuda:{processes.local_rank}"


def refuse_small_batch(batch: int, processes: Processes) -> None:
    """Raise UsageError where a batch has not a sweep for each process."""
    if batch < processes.size:
        raise UsageError(
            f"train.batch is {batch}, but torchrun started {processes.size} processes: each needs a sweep of every "
            f"step; --set train.batch={processes.size}, or start fewer"
        )
