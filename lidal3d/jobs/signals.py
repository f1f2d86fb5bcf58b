# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Signals: what something other than the model's probabilities says of the units of a frame."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from lidal3d.config import Config
from lidal3d.predictions.maps import FrameMaps
from lidal3d.scene.scene import Frame
from lidal3d.strategies.strategy import OF_ENCODER


@dataclass(frozen=True)
class SignalValues:
    """Of the R units of one frame.

    Attributes:
        columns: name -> (R,) float64, for the score table.
        arrays: name -> (R, …) float32, kept row for row beside it.
    """

    columns: dict[str, npt.NDArray[np.float64]] = field(default_factory=dict)
    arrays: dict[str, npt.NDArray[np.float32]] = field(default_factory=dict)


class Signal(Protocol):
    """One source of such values. Survives pickling; loads its weights when first asked, once a process."""

    @property
    def name(self) -> str:
        """What it is called in messages."""

    @property
    def fingerprint(self) -> str:
        """A digest of all that its values depend on beside the frame."""

    def of_units(
        self,
        frame: Frame,
        points: npt.NDArray[np.float32],
        maps: FrameMaps,
        unit: npt.NDArray[np.int32],
        units: int,
    ) -> SignalValues:
        """The values of a frame with points or pixels (N, …), cut into `units` units, unit (N,) of each point.

        Also asked of a frame with no points at all, for the shapes.

        Raises:
            DataError: the frame cannot be read, or nothing can be said of it; the message names its file.
        """


def facts_of(signals: Iterable[Signal]) -> dict[str, Any]:
    """What signals tell in the metadata of a table: their `facts`, of those that have any."""
    return {name: fact for signal in signals for name, fact in getattr(signal, "facts", {}).items()}


@dataclass(frozen=True)
class SignalSources:
    """What signals are made from.

    Attributes:
        model: the model whose probabilities are scored, or None where they come from files.
        encoder: its file or folder, or None.
        earlier: an earlier model's folder, or None.
        device: where torch computes.
    """

    model: Path | None = None
    encoder: Path | None = None
    earlier: Path | None = None
    device: str = "cpu"

    @property
    def absent(self) -> tuple[str, ...]:
        """The signals that there is no source of."""
        of_encoder = OF_ENCODER if self.encoder is None else ()
        return (
            *of_encoder,
            *(("earlier",) if self.earlier is None else ()),
            *(("loss_head",) if self.model is None else ()),
        )


def make_signals(needs: Collection[str], sources: SignalSources, config: Config) -> tuple[Signal, ...]:
    """The signals that some strategies need.

    Args:
        needs: of Strategy.needs: "embeddings", "patterns", "pretext", "earlier", "loss_head"; other words are passed over.
        sources: what they are made from; whoever calls has refused what is missing (`refuse_lacking`).
        config: settings of the methods.

    Raises:
        DataError: an encoder or a model that is missing, damaged or of another kind.
    """
    signals: list[Signal] = []
    arrays = tuple(name for name in ("embeddings", "patterns") if name in needs)
    if arrays and sources.encoder is not None:
        from lidal3d.jobs.signal_encoder import EncoderSignal

        signals.append(EncoderSignal.open(sources.encoder, arrays, config.geal, config.units.kind, sources.device))
    if "pretext" in needs and sources.encoder is not None:
        from lidal3d.jobs.signal_pretext import PretextSignal

        signals.append(PretextSignal.open(sources.encoder, config.pt4al.masks, sources.device))
    if "earlier" in needs:
        from lidal3d.jobs.signal_earlier import EarlierSignal

        top_share = config.tod.top_share
        signals.append(EarlierSignal.open(sources.earlier, sources.model, config.predict, top_share, sources.device))
    if "loss_head" in needs and sources.model is not None:
        from lidal3d.jobs.signal_loss import LossSignal

        signals.append(LossSignal.open(sources.model, config.units.kind, config.learning_loss, sources.device))
    return tuple(signals)
