# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Where and how a training computes, by Lightning Fabric: device, mixed precision, and the other processes.

Fabric holds the parts that differ: the device, autocast, DistributedDataParallel with its NCCL or gloo group. Alone,
nothing is exchanged, and all sums over processes are the own values.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision, Precision
from lightning_fabric.plugins.environments import ClusterEnvironment, LightningEnvironment, TorchElasticEnvironment
from lightning_fabric.strategies import DDPStrategy, SingleDeviceStrategy, Strategy
from torch import Tensor, distributed, nn

from lidal3d.errors import DataError, UsageError
from lidal3d.learn.processes import Processes
from lidal3d.learn.together import Together, training_together

ACCELERATORS = ("cpu", "cuda", "mps")
# Fabric tells of its devices and groups there; what went wrong comes as an exception.
logging.getLogger("lightning_fabric").setLevel(logging.ERROR)


@dataclass(frozen=True)
class Engine:
    """What carries out the steps of a training.

    Attributes:
        processes: which of the processes this is.
        device: where it computes.
        fabric: launched.
        together: the group of all processes, None alone.
        batches: the group in which samplers agree, apart from the steps' since batches are made beside them.
    """

    processes: Processes
    device: torch.device
    fabric: Fabric
    together: Together | None = None
    batches: distributed.ProcessGroup | None = None

    def wrapped(self, network: nn.Module, optimiser: torch.optim.Optimizer) -> tuple[nn.Module, torch.optim.Optimizer]:
        """The two as a step calls them: in the precision asked for, gradients averaged over all processes."""
        forward, stepper = self.fabric.setup(network, optimiser)
        return forward, stepper

    def sum(self, values: Tensor) -> Tensor:
        """The sum over all processes."""
        return values if self.together is None else self.together.sum(values)

    def agree(self, found: bool) -> bool:
        """Whether any process's sampler found it."""
        if self.batches is None:
            return found
        count = torch.tensor(int(found))
        distributed.all_reduce(count, group=self.batches)
        return bool(count)

    def refuse_unlike(self, step: int, training: str) -> None:
        """Raise DataError where processes would go on from different steps or train on different things."""
        if self.together is None:
            return
        own = torch.tensor([step, int(training[:12], 16)])
        every = [torch.empty_like(own) for _ in range(self.processes.size)]
        distributed.all_gather(every, own, group=self.batches)
        for rank, other in enumerate(every):
            if not torch.equal(other, every[0]):
                raise DataError(
                    f"process 0 goes on after step {int(every[0][0])}, process {rank} after {int(other[0])}, or their "
                    "frames and settings differ; give all machines the same drive, settings and --out folder"
                )


@contextlib.contextmanager
def engine(device: str, precision: str, processes: Processes) -> Iterator[Engine]:
    """Start computing on a device; several processes meet here.

    Args:
        device: where this process computes, "cpu", "cuda:1".
        precision: "float32" or "bfloat16" for mixed precision.
        processes: which of how many this is.

    Raises:
        UsageError: a kind of device that Fabric does not know.
    """
    place = torch.device(device)
    if place.type not in ACCELERATORS:
        raise UsageError(f"--device {device}: training runs on {', '.join(ACCELERATORS)}")
    if place.type != "cpu" and place.index is None:
        place = torch.device(place.type, 0)
    fabric = _fabric(place, precision, processes)
    fabric.launch()
    if processes.size == 1:
        yield Engine(processes, place, fabric)
        return
    group = Together()
    with training_together(group):
        yield Engine(processes, place, fabric, group, _batches_group())


@lru_cache(maxsize=1)
def _batches_group() -> distributed.ProcessGroup:
    """Kept for later trainings as Fabric keeps its own group, which it takes down when the process ends."""
    group: distributed.ProcessGroup = distributed.new_group(backend="gloo")
    return group


class _Mixed(MixedPrecision):
    """Fabric's autocast to bfloat16, with inputs left as they are: in 8 bits a point 50 m away moves by a decimetre."""

    def convert_input(self, data: Any) -> Any:
        return data


def _fabric(device: torch.device, precision: str, processes: Processes) -> Fabric:
    environment: ClusterEnvironment
    strategy: Strategy
    if processes.size == 1:
        # Named, or Fabric would look for clusters in the environment and want to start processes there.
        environment, strategy = LightningEnvironment(), SingleDeviceStrategy(device)
    else:
        environment, strategy = TorchElasticEnvironment(), DDPStrategy()
    return Fabric(
        accelerator=device.type,
        devices=processes.local_size if device.index is None or processes.size > 1 else [device.index],
        num_nodes=processes.size // processes.local_size,
        strategy=strategy,
        plugins=[environment, _Mixed("bf16-mixed", device.type) if precision == "bfloat16" else Precision()],
    )
