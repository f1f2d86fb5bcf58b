# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""One training of an experiment: which frames how often, skipped where the model lies, then evaluated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from lidal3d.config import Config
from lidal3d.files import remove_abandoned, write_json
from lidal3d.learn.options import beside
from lidal3d.rounds.evaluation import evaluate
from lidal3d.rounds.links import EVALUATION_FILE, MODEL_FILE, Link
from lidal3d.rounds.seeds import derived_seed
from lidal3d.rounds.world import World
from lidal3d.scene.pixels import CAMERA
from lidal3d.scene.scene import Frame, Scene
from lidal3d.settings.train import TrainConfig

if TYPE_CHECKING:
    from lidal3d.learn.sampler import Portion
    from lidal3d.learn.train import LabelSource

FRAMES_REMEMBERED = 512


class CountedLabels(Protocol):
    """A label source that knows its frames and how many points of each have a label."""

    def frames(self, scenes: Mapping[str, Scene]) -> list[Frame]:
        """The frames with a label, in order."""

    def points(self, frame: Frame) -> int:
        """How many points of a frame have one."""


def training_frames(labels: CountedLabels, world: World, config: TrainConfig, sampling: str | None) -> list[Frame]:
    """The frames with labels, each as often as its share of the labelled points asks for, or all once (sampling "frames").

    The loss of a step is a mean over its labelled points. Where whole frames and frames with one small region are
    drawn alike, a region's points weigh a hundred times those of a frame, and the whole frames are hardly seen. Not so
    with `context_m` or `window_px`: there a step is filled with labels of as many frames as it takes, and each is drawn
    as often.
    """
    frames = labels.frames(world.train_by_id)
    if sampling == "frames" or config.fills(any(frame.scene.sensor == CAMERA for frame in frames)):
        return frames
    points = np.array([labels.points(frame) for frame in frames], np.float64)
    times = np.maximum(1, np.rint(points / points.sum() * config.steps * config.batch)).astype(int)
    return [frame for frame, count in zip(frames, times.tolist(), strict=True) for _ in range(count)]


def _remembered(labels: LabelSource) -> LabelSource:
    """The same answers; those of the last frames aren't worked out again."""
    known: dict[tuple[str, int], Any] = {}

    def answer(frame: Frame) -> Any:
        key = (frame.scene.id, frame.index)
        if key not in known:
            if len(known) >= FRAMES_REMEMBERED:
                known.pop(next(iter(known)))
            known[key] = labels(frame)
        return known[key]

    return answer


def train_model(
    link: Link,
    folder: Path,
    world: World,
    config: Config,
    labels: LabelSource,
    frames: Sequence[Frame],
    number: int,
    start: Path | None,
    portions: Sequence[Portion] = (),
) -> None:
    """Train where there is no model yet, from the weights of the model in `start` or from fresh ones.

    What the settings ask to be learnt beside the labels is learnt on all training frames, whatever is labelled in them.
    """
    from lidal3d.learn.feeds import architecture_for
    from lidal3d.learn.model import load_model
    from lidal3d.learn.train import train

    remove_abandoned(folder)
    if (folder / MODEL_FILE).is_file():
        return
    # Neither row nor stage is in it: with the same labels two strategies get the same model.
    settings = config.train.model_copy(update={"seed": derived_seed("train", link.seed, number)})
    other = beside(config, [frame for scene in world.train for frame in scene])
    architecture = architecture_for(world.classes, settings, frames)
    initial = None if start is None else load_model(start, world.classes.classes, architecture)
    # A checkpoint goes on where a kill cut a long training off; short ones start again.
    kept = folder if settings.checkpoint_every else None
    trained = train(
        frames,
        world.classes,
        settings,
        _remembered(labels),
        initial,
        device=link.device,
        folder=kept,
        beside=other,
        portions=portions,
    )
    trained.save(folder)


def evaluate_model(link: Link, folder: Path, world: World) -> None:
    """Evaluate on the validation scenes where there is no evaluation yet."""
    if not (folder / EVALUATION_FILE).is_file():
        write_json(folder / EVALUATION_FILE, evaluate(folder, world, link.device))
