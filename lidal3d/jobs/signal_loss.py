# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""The loss signal: what the loss head in a model's file predicts of units (Learning Loss)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from lidal3d.errors import DataError, UsageError
from lidal3d.jobs.signals import SignalValues
from lidal3d.parallel.memory import scratch_memory
from lidal3d.predictions.maps import FrameMaps
from lidal3d.scene.scene import Frame
from lidal3d.settings.learning_loss import LearningLossConfig
from lidal3d.strategies.learning_loss import COLUMN, VERDICT
from lidal3d.strategies.strategy import HOW_TO_GET

if TYPE_CHECKING:
    from lidal3d.learn.model import Model


@dataclass(frozen=True)
class LossSignal:
    """A Signal that gives the column `predicted_loss`, by one view of each frame as it is.

    Attributes:
        model: its folder.
        of_file: a digest of its weights, those of the head included; "" where it has no head, and all losses are 0.
        device: where torch computes.
        facts: for the table's metadata: what held-out units say of the head.
    """

    model: Path
    of_file: str
    device: str = "cpu"
    facts: Mapping[str, Any] = field(default_factory=dict)
    name: str = "loss head"

    @classmethod
    def open(cls, folder: Path, kind: str, settings: LearningLossConfig, device: str = "cpu") -> LossSignal:
        """The signal of a model.

        Args:
            folder: where it lies.
            kind: of the units that are scored.
            settings: a model without a head is taken where units are to be drawn at random then.
            device: where torch computes.

        Raises:
            UsageError: it has no loss head.
            DataError: it is missing or damaged, or its head is for units of another kind.
        """
        from lidal3d.learn.model import load_model

        model = load_model(folder)
        if model.loss_head is None:
            if settings.below_gate != "random":
                raise UsageError(f"{folder}: the model has no loss head; {HOW_TO_GET['loss_head']}")
            return cls(folder, "", device, {VERDICT: {}})
        if model.loss_head.kind != kind:
            raise DataError(
                f"{folder}: its loss head is for units of kind {model.loss_head.kind}, not {kind}; "
                f"train it again with --set units.kind={kind}"
            )
        return cls(folder, _digest(model), device, {VERDICT: dict(model.loss_head.held_out)})

    @property
    def fingerprint(self) -> str:
        """As `Signal`."""
        return self.of_file or "none"

    def of_units(
        self, frame: Frame, points: npt.NDArray[np.float32], maps: FrameMaps, unit: npt.NDArray[np.int32], units: int
    ) -> SignalValues:
        """As `Signal`."""
        if not units or not self.of_file:
            return SignalValues({COLUMN: np.zeros(units)})
        from lidal3d.learn.feeds import model_feed, refuse_other_columns
        from lidal3d.learn.loss_prediction.ask import Asked, ask
        from lidal3d.learn.loss_prediction.pooling import FrameUnits
        from lidal3d.learn.threads import one_thread

        model = _loaded(self.model, self.of_file, self.device)
        head, feed = model.loss_head, model_feed(model, views=1)
        assert head is not None
        try:
            refuse_other_columns(points, feed)
            with one_thread(), scratch_memory():
                # Some label for every point: all units count as labelled, and the losses are not looked at.
                everything = FrameUnits(unit, np.zeros(len(points), np.uint8))
                predicted, _ = ask(model.network, head.head, feed, Asked(points, everything), head.whole)
        except DataError as error:
            raise DataError(f"{frame.scene.source.points_path(frame.index)}: {error}") from None
        return SignalValues({COLUMN: predicted.astype(np.float64)})


def _digest(model: Model) -> str:
    """Of all that predicted losses depend on beside the frame."""
    assert model.loss_head is not None
    digest = hashlib.sha256(repr((model.network.architecture, model.voxel_m, model.loss_head.kind)).encode())
    for module in (model.network, model.loss_head.head):
        for name, tensor in module.state_dict().items():
            digest.update(name.encode())
            digest.update(tensor.cpu().numpy().tobytes())
    return digest.hexdigest()[:16]


@lru_cache(maxsize=1)
def _loaded(folder: Path, of_file: str, device: str) -> Model:
    """The model with its head, once a process."""
    from lidal3d.learn.model import load_model

    model = load_model(folder)
    model.network.to(device)
    assert model.loss_head is not None
    model.loss_head.head.to(device)
    return model
