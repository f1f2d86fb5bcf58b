# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""A model in place of files: a sweep is predicted when it is asked for, and no map touches the disk.

The arrays are those that `lidal3d predict` would have written, rounding included: whatever is made of them is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from lidal3d.errors import DataError
from lidal3d.parallel.memory import scratch_memory
from lidal3d.predictions.maps import FrameMaps
from lidal3d.scene.scene import Frame
from lidal3d.settings.predict import PredictConfig

if TYPE_CHECKING:
    from lidal3d.learn.model import Model


@dataclass(frozen=True)
class LivePredictions:
    """A MapSource that asks a model.

    Attributes:
        load: gives the model, on its device and in evaluation mode; survives pickling where workers are to ask.
        classes: C class names.
        model: the model's name.
        config: views, seed, type of the numbers.
        run: see MapSource.
        folder: the model's, or None for one that lies nowhere.
        extras: of "features" and "members": what there is beside the probabilities.
    """

    load: Callable[[], Model]
    classes: tuple[str, ...]
    model: str
    config: PredictConfig
    run: str | None = None
    folder: Path | None = None
    extras: frozenset[str] = frozenset()

    @classmethod
    def of(cls, model: Model, config: PredictConfig, device: str = "cpu") -> LivePredictions:
        """Of a model in memory."""
        model.network.to(device)
        return cls(lambda: model, model.classes, model.name, config)

    @classmethod
    def open(
        cls, folder: Path | str, config: PredictConfig, classes: tuple[str, ...] | None = None, device: str = "cpu"
    ) -> LivePredictions:
        """Of a model of `lidal3d train`.

        Args:
            folder: where `model.safetensors` lies.
            config: views, seed, type of the numbers.
            classes: the class list that it must have, or None for any.
            device: where torch computes.

        Raises:
            DataError: no model, a damaged one, or one of other classes.
        """
        from lidal3d.learn.model import load_model
        from lidal3d.learn.run import run_fingerprint

        model = load_model(folder, classes)
        run = run_fingerprint(model, config)
        load = partial(loaded, Path(folder), device, run)
        return cls(load, model.classes, model.name, config, run, Path(folder))

    @property
    def origin(self) -> dict[str, Path]:
        """As `MapSource`."""
        return {} if self.folder is None else {"model": self.folder}

    def lacks(self, extra: str) -> str:
        """As `MapSource`."""
        one = extra == "members" and self.config.views < 2
        return "members are views, and predict.views is 1" if one else ""

    def reading(self, extras: Collection[str]) -> LivePredictions:
        """As `MapSource`."""
        return replace(self, extras=frozenset(extras))

    def maps(self, frame: Frame, points: npt.NDArray[np.float32]) -> FrameMaps:
        """As `MapSource`, in the type that `PredictConfig.dtype` says."""
        from lidal3d.learn.predict import frame_rng, predict_maps
        from lidal3d.learn.threads import one_thread

        rng = frame_rng(self.config.seed, frame.scene.id, frame.name)
        try:
            # Sums depend on how many threads share them: with one, the bytes are the same for any number of workers.
            with one_thread(), scratch_memory():
                exact = predict_maps(
                    self.load(), points, self.config.views, rng, "features" in self.extras, "members" in self.extras
                )
        except DataError as error:
            raise DataError(f"{self.place(frame)}: {error}") from None
        return _rounded(exact, np.dtype(self.config.dtype))

    def place(self, frame: Frame) -> Path:
        """What a message names in place of a file: the sweep that was predicted."""
        return frame.scene.source.points_path(frame.index)


def _rounded(maps: FrameMaps, dtype: np.dtype) -> FrameMaps:
    return FrameMaps(
        maps.probabilities.astype(dtype),
        None if maps.features is None else maps.features.astype(dtype),
        None if maps.members is None else [member.astype(dtype) for member in maps.members],
    )


@lru_cache(maxsize=1)
def loaded(folder: Path, device: str, run: str) -> Model:
    """The model of a run, loaded once a process; `run` tells apart models that took each other's place on disk."""
    from lidal3d.learn.model import load_model

    model = load_model(folder)
    model.network.to(device)
    return model
