# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""The earlier signal: how much a model's predictions differ from those of the model of the round before (TOD)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from lidal3d.errors import DataError
from lidal3d.jobs.signals import SignalValues
from lidal3d.predictions.live import LivePredictions
from lidal3d.predictions.maps import FrameMaps
from lidal3d.scene.scene import Frame
from lidal3d.scores.temporal_discrepancy import distance_to_uniform, means_of_top, temporal_discrepancy
from lidal3d.settings.predict import PredictConfig

if TYPE_CHECKING:
    from lidal3d.learn.model import Model

COLUMN = "temporal_discrepancy"


@dataclass(frozen=True)
class EarlierSignal:
    """A Signal that gives the column `temporal_discrepancy`.

    Attributes:
        earlier: the earlier model, asked in the same views; None in a first round, where what is nearest to uniform
            counts as most changed.
        top_share: the mean is over this share of a unit's points.
    """

    earlier: LivePredictions | None
    top_share: float = 1.0
    name: str = "earlier"

    @classmethod
    def open(
        cls, folder: Path | None, model: Path | None, config: PredictConfig, top_share: float = 1.0, device: str = "cpu"
    ) -> EarlierSignal:
        """The signal of an earlier model's folder.

        Args:
            folder: where it lies; None in a first round.
            model: the model that it is compared with, where it is known. Its views are those of both.
            config: views, seed, type of the numbers: as for the model.
            top_share: see above.
            device: where torch computes.

        Raises:
            DataError: no model there, a damaged one, or one of other classes.
        """
        if folder is None:
            return cls(None, top_share)
        from lidal3d.learn.model import load_model
        from lidal3d.learn.run import run_fingerprint

        earlier = load_model(folder)
        if model is not None:
            now = load_model(model)
            refuse_other_classes(folder, earlier.classes, model, now.classes)
            earlier.augmentation = now.augmentation
        run = run_fingerprint(earlier, config)
        load = partial(_loaded, Path(folder), device, earlier.augmentation, run)
        return cls(LivePredictions(load, earlier.classes, earlier.name, config, run, Path(folder)), top_share)

    @property
    def fingerprint(self) -> str:
        """As `Signal`."""
        of = "uniform" if self.earlier is None else str(self.earlier.run)
        return f"{of}, top {self.top_share:g}"

    def of_units(
        self, frame: Frame, points: npt.NDArray[np.float32], maps: FrameMaps, unit: npt.NDArray[np.int32], units: int
    ) -> SignalValues:
        """As `Signal`."""
        if not units:
            return SignalValues({COLUMN: np.empty(0)})
        return SignalValues({COLUMN: means_of_top(self._changes(frame, points, maps), unit, units, self.top_share)})

    def _changes(self, frame: Frame, points: npt.NDArray[np.float32], maps: FrameMaps) -> npt.NDArray[np.float64]:
        """(N,) of the points."""
        classes = maps.probabilities.shape[1]
        if self.earlier is None:
            # What it lacks of the distance that a sure model has: the largest is nearest to uniform.
            return 0.5 * (1 - 1 / classes) - distance_to_uniform(maps.probabilities)
        if len(self.earlier.classes) != classes:
            raise DataError(
                f"{frame.scene.source.points_path(frame.index)}: predictions of {classes} classes, the earlier model "
                f"{self.earlier.folder} has {len(self.earlier.classes)}; give one of the same classes"
            )
        return temporal_discrepancy(maps.probabilities, self.earlier.maps(frame, points).probabilities)


def refuse_other_classes(folder: Path, earlier: tuple[str, ...], model: Path, now: tuple[str, ...]) -> None:
    """Raise DataError where two models name their classes differently; their networks may differ."""
    if len(earlier) != len(now):
        raise DataError(
            f"{folder}: a model of {len(earlier)} classes, {model} has {len(now)}; give an earlier model of the same"
        )
    for number, (its, ours) in enumerate(zip(earlier, now, strict=True)):
        if its != ours:
            raise DataError(
                f"{folder}: its class {number} is '{its}', that of {model} is '{ours}'; give an earlier model of the same"
            )


@lru_cache(maxsize=1)
def _loaded(folder: Path, device: str, augmentation: str, run: str) -> Model:
    """The earlier model, once a process; not in the cache of `live`, which would take turns with the other."""
    from lidal3d.learn.model import load_model

    model = load_model(folder)
    model.augmentation = augmentation
    model.network.to(device)
    return model
