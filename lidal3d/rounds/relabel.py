# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Pseudo-labels of the same units anew, as another model than the one that chose them sees them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lidal3d.config import Config
from lidal3d.predictions.live import LivePredictions
from lidal3d.rounds.links import Link
from lidal3d.rounds.masks import Assumed
from lidal3d.rounds.record import Record
from lidal3d.rounds.seeds import derived_seed
from lidal3d.rounds.world import World
from lidal3d.scene.scene import Frame
from lidal3d.select.members import FrameTask, read_frame
from lidal3d.select.selection import UnitKey
from lidal3d.units.base import Partition


def relabelled(
    records: Sequence[Record],
    folder: Path,
    world: World,
    config: Config,
    partition: Partition,
    link: Link,
    number: int,
) -> dict[UnitKey, Assumed]:
    """The pseudo-labels that the model in a folder gives to units, by the rule of `PseudoConfig`: as when they were chosen.

    Args:
        records: the units, all of one kind.
        folder: the model's.
        config: views, least confidence and weight.
        partition: what cut the sweeps.
        link, number: whose and which round's; they seed the views.

    Raises:
        DataError: a unit of another size than in its record.
    """
    from lidal3d.learn.model import load_model

    model = load_model(folder, world.classes.classes)
    predict = config.predict.model_copy(update={"seed": derived_seed("predict", link.seed, number)})
    sizes: dict[tuple[str, int], dict[int, int]] = {}
    for record in records:
        sizes.setdefault((record.scene, record.frame), {})[record.unit] = record.points
    live = LivePredictions.of(model, predict, link.device)
    found = {}
    for (scene_id, frame), units in sorted(sizes.items()):
        scene = world.train_by_id[scene_id]
        rules, labeller = config.pseudo, _Labeller(live, scene[frame])
        task = FrameTask(
            scene, frame, partition, units, frozenset(units), labeller, rules.min_confidence, rules.weight, False
        )
        answer = read_frame(task)
        for unit in units:
            found[UnitKey(scene_id, frame, unit)] = Assumed(answer.labels[unit], answer.weights[unit])
    return found


@dataclass(frozen=True)
class _Labeller:
    """What a model says of one frame."""

    live: LivePredictions
    frame: Frame

    def probabilities(self, scene: str, frame: str, points: int | None = None) -> npt.NDArray[np.floating]:
        return self.live.maps(self.frame, self.frame.points()).probabilities
