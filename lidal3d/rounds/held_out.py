# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""What is set aside of the labels people gave in the rounds, to choose between trainings: paid for, never trained on.

Neighbouring sweeps are near copies, so runs of frames are set aside together, and what has been decided of a run stays:
whatever people label in it later goes the same way. Otherwise a model would be judged on what it, or the model it
started from, has learnt. The initial set is always trained on, since all strategies share the model of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from lidal3d.rounds.config import TrainingSettings
from lidal3d.rounds.record import Record
from lidal3d.rounds.seeds import derived_rng

Group = tuple[str, int]


def held_out_records(records: Sequence[Record], settings: TrainingSettings, seed: int) -> list[Record]:
    """The records that are set aside: about `settings.held_out` of the points that people were asked for in rounds.

    Less where the next group would exceed it; more where even the smallest group does. None where that would take more
    than half of the points: then there are too few groups.

    Args:
        records: of a ledger, up to now. The answer for earlier rounds doesn't change with later ones.
        settings: share and length of a group.
        seed: of the experiment.
    """
    asked = [record for record in records if record.labeller == "human"]
    initial = {_group(record, settings) for record in records if record.labeller == "initial"}
    held: set[Group] = set()
    decided: set[Group] = set()
    for number in sorted({record.round for record in asked}):
        sizes = _points([record for record in asked if record.round <= number], settings)
        new = {group: points for group, points in sizes.items() if group not in decided}
        left = settings.held_out * sum(sizes.values()) - sum(sizes[group] for group in held)
        held |= _taken(new, left, initial, derived_rng("held out", seed, number))
        if not held:
            held |= _smallest(new, sum(sizes.values()) / 2, initial)
        decided |= set(new)
    return [record for record in asked if _group(record, settings) in held]


def _taken(new: dict[Group, int], left: float, initial: set[Group], rng: np.random.Generator) -> set[Group]:
    """Of the groups with labels for the first time those that fit in what is left, in random order."""
    names = sorted(_unlike(new, initial))
    taken = set()
    for place in rng.permutation(len(names)):
        group = names[place]
        if new[group] <= left:
            taken.add(group)
            left -= new[group]
    return taken


def _smallest(new: dict[Group, int], limit: float, initial: set[Group]) -> set[Group]:
    """The smallest group; none where it has more points than the limit."""
    order = sorted(_unlike(new, initial), key=lambda group: (new[group], group))
    return {order[0]} if order and new[order[0]] <= limit else set()


def _unlike(groups: Iterable[Group], initial: set[Group]) -> list[Group]:
    """The groups without initial labels, of which others would hold near copies; all where there are no such groups."""
    return [group for group in groups if group not in initial] or list(groups)


def _group(record: Record, settings: TrainingSettings) -> Group:
    return record.scene, record.frame // settings.group_frames


def _points(records: Sequence[Record], settings: TrainingSettings) -> dict[Group, int]:
    sizes: dict[Group, int] = {}
    for record in records:
        group = _group(record, settings)
        sizes[group] = sizes.get(group, 0) + record.points
    return sizes
