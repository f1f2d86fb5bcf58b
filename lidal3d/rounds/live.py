# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""A model in place of a predictions folder: a frame is predicted when it is asked for, and its map is dropped.

The scoring window asks for every frame once, so nothing is predicted twice and no probability map touches the disk.
What else is wanted of a frame (its units' mean features, the most probable class of its points) is taken on the way.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from lidal3d.config import PredictConfig
from lidal3d.errors import DataError
from lidal3d.files import replacing
from lidal3d.scene.scene import Frame, Scene

if TYPE_CHECKING:
    from lidal3d.learn.model import Model

Float32 = npt.NDArray[np.float32]
Seen = Callable[[Frame, Float32, Float32, Float32 | None, Float32 | None], None]


class LivePredictions:
    """Looks like a PredictionStore of one scene.

    Attributes:
        classes: C class names.
        model: the model's name.
    """

    def __init__(
        self,
        scene: Scene,
        model: Model,
        config: PredictConfig,
        seen: Seen,
        *,
        features: bool = False,
        members: bool = False,
        device: str = "cpu",
    ) -> None:
        """
        Args:
            scene: whose frames are predicted.
            config: views and seed.
            seen: told of every predicted frame: (frame, points (N, 4), probabilities (N, C), features (N, D) or None,
                members (M, N, C) or None).
            features: also compute the network's point features.
            members: also keep the views apart.
            device: where torch computes.
        """
        self.classes = model.classes
        self.model = model.name
        self._scene, self._network, self._config, self._seen = scene, model, config, seen
        self._features, self._members, self._device = features, members, device
        self._index = {name: index for index, name in enumerate(scene.frame_names)}
        model.network.to(device)

    def probabilities(self, scene: str, frame: str, points: int | None = None) -> npt.NDArray[np.floating]:
        """(N, C) float16 or float32 of one frame, as `PredictConfig.dtype` says, as if read from disk."""
        from lidal3d.learn.predict import frame_rng, predict_points

        asked = self._scene[self._index[frame]]
        xyzi = asked.points()
        rng = frame_rng(self._config.seed, scene, frame)
        try:
            if self._members:
                members = self._views(xyzi, rng)
                probabilities, features = members.mean(axis=0), None
                if self._features:
                    features = predict_points(self._network, xyzi, 1, rng, True)[1]
            else:
                members = None
                probabilities, features = predict_points(self._network, xyzi, self._config.views, rng, self._features)
        except DataError as error:
            raise DataError(f"{self._scene.source.points_path(asked.index)}: {error}") from None
        rounded = probabilities.astype(np.dtype(self._config.dtype))
        self._seen(asked, xyzi, rounded.astype(np.float32), features, members)
        return rounded

    def probabilities_path(self, scene: str, frame: str) -> Path:
        """What a message names in place of a file: the sweep that was predicted."""
        return self._scene.source.points_path(self._index[frame])

    def _views(self, xyzi: Float32, rng: np.random.Generator) -> Float32:
        """The softmax of every view on its own (M, N, C)."""
        from lidal3d.learn.predict import predict_points

        turned = [np.array(xyzi) for _ in range(self._config.views)]
        for view in turned:
            view[:, :3] = xyzi[:, :3] @ _augmentation(self._network).draw(rng).T
        return np.stack([predict_points(self._network, view, 1, rng)[0] for view in turned]).astype(np.float32)


def _augmentation(model: Model):  # type: ignore[no-untyped-def]
    from lidal3d.learn.augment import AUGMENTATIONS

    return AUGMENTATIONS[model.augmentation]


class BestGuesses:
    """The most probable class and its probability for every point of some frames: three bytes a point on disk.

    Pseudo-labels need no more. It answers like a PredictionStore, with zeros for all other classes.
    """

    def __init__(self, folder: Path, classes: tuple[str, ...]) -> None:
        """Use `folder`; the classes name the columns."""
        self.folder, self.classes = folder, classes

    def write(self, scene: str, frame: str, probabilities: npt.NDArray[np.floating]) -> None:
        """Keep a frame's best guesses of its probabilities (N, C)."""
        best = probabilities.argmax(axis=1)
        confidence = np.take_along_axis(probabilities, best[:, None], axis=1)[:, 0]
        with replacing(self._path(scene, frame)) as temporary, open(temporary, "wb") as file:
            np.savez(file, best=best.astype(np.uint8), confidence=confidence.astype(np.float16))

    def probabilities(self, scene: str, frame: str, points: int | None = None) -> npt.NDArray[np.floating]:
        """(N, C) float16: the confidence in the column of the most probable class, 0 elsewhere."""
        path = self._path(scene, frame)
        with np.load(path, allow_pickle=False) as archive:
            best, confidence = archive["best"], archive["confidence"]
        if points is not None and len(best) != points:
            raise DataError(f"{path}: {len(best)} rows, but the sweep has {points} points; score again")
        result = np.zeros((len(best), len(self.classes)), np.float16)
        result[np.arange(len(best)), best] = confidence
        return result

    def _path(self, scene: str, frame: str) -> Path:
        return self.folder / scene / f"{frame}.npz"
