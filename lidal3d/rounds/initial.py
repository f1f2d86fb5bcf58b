# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""The initial set: what is labelled before anything is asked. One for each seed, shared by all strategies."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lidal3d.errors import DataError
from lidal3d.rounds.config import InitialSettings
from lidal3d.rounds.record import WHOLE_FRAME, Record
from lidal3d.rounds.seeds import derived_rng
from lidal3d.scene.scene import Frame
from lidal3d.units.base import Partition


def initial_records(
    frames: Sequence[Frame], settings: InitialSettings, partition: Partition, seed: int
) -> list[Record]:
    """Records of the initial set, in order of (scene, frame, unit); none with kind "none".

    Raises:
        DataError: a share of the points in which not one unit fits.
    """
    if settings.kind == "none":
        return []
    rng = derived_rng("initial", seed)
    chosen = _frames(frames, settings, rng) if settings.kind == "frames" else _units(frames, settings, partition, rng)
    return sorted(chosen, key=lambda record: (record.scene, record.frame, record.unit))


def _frames(frames: Sequence[Frame], settings: InitialSettings, rng: np.random.Generator) -> list[Record]:
    """round(share · frames) whole frames, at least one, drawn without replacement (LiDAL draws with)."""
    groups: dict[str, list[Frame]] = {}
    for frame in frames:
        groups.setdefault(frame.scene.id if settings.per_scene else "", []).append(frame)
    chosen = []
    for _, group in sorted(groups.items()):
        count = max(1, round(settings.share * len(group)))
        chosen += [group[place] for place in rng.permutation(len(group))[:count]]
    return [_record(frame, np.zeros(len(frame.points()), np.int32), 0, WHOLE_FRAME) for frame in chosen]


def _units(
    frames: Sequence[Frame], settings: InitialSettings, partition: Partition, rng: np.random.Generator
) -> list[Record]:
    """Units in random order as long as the share of the points lasts; what doesn't fit is passed over."""
    sizes = [np.bincount(partition(frame.points())) for frame in frames]
    owner = np.repeat(np.arange(len(frames)), [len(size) for size in sizes])
    unit = np.concatenate([np.arange(len(size)) for size in sizes])
    size = np.concatenate(sizes)
    left = int(settings.share * size.sum())
    chosen = []
    for row in rng.permutation(len(size)):
        if size[row] <= left:
            left -= int(size[row])
            chosen.append(row)
    if not chosen:
        raise DataError(
            f"initial.share {settings.share:g}: {left} points, the smallest unit has {size.min()}; raise it"
        )
    cut = {int(frame): partition(frames[frame].points()) for frame in np.unique(owner[chosen])}
    return [_record(frames[owner[r]], cut[int(owner[r])], int(unit[r]), partition.kind) for r in chosen]


def _record(frame: Frame, ids: np.ndarray, unit: int, kind: str) -> Record:
    points = frame.points()
    xyz_scene = frame.positions(points)[ids == unit]
    x_m, y_m, z_m = xyz_scene.mean(axis=0).tolist() if len(xyz_scene) else (0.0, 0.0, 0.0)
    return Record(
        scene=frame.scene.id,
        frame=frame.index,
        unit=unit,
        kind=kind,
        points=len(xyz_scene),
        labeller="initial",
        round=0,
        model="",
        strategy="initial",
        cost=float(len(xyz_scene)),
        currency="points",
        center_m=(x_m, y_m, z_m),
    )
