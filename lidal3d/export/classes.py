# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Class names, colours and ids as a labelling tool wants them, whatever the drive and the model bring."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from lidal3d.errors import DataError
from lidal3d.export.queue import check_indices
from lidal3d.export.windows import Window
from lidal3d.scene.labels import IGNORE, LabelMap

UNLABELED = 0
MAX_ID = 1023  # point_labeler keeps its label colours in a texture of 1024 texels
DO_NOT_LABEL_NAME = "do-not-label"


def class_list(label_map: LabelMap | None, predicted: Sequence[str] = ()) -> LabelMap:
    """The classes of the queue: the model's where there are predictions, else the drive's.

    A predicted class that the drive knows by name keeps the drive's id and colour; others get the smallest free ids.
    """
    if label_map is not None and (not predicted or tuple(predicted) == label_map.classes):
        return label_map
    known = {} if label_map is None else {n: (r, c) for n, r, c in _entries(label_map)}
    taken = {raw for raw, _ in known.values()}
    fresh = iter(sorted(set(range(1, MAX_ID)) - taken))
    raw_ids, colors = [], []
    for place, name in enumerate(predicted):
        raw, color = known.get(name) or (next(fresh), _distinct_color(place))
        raw_ids.append(raw)
        colors.append(color)
    raw_to_train = {raw: train for train, raw in enumerate(raw_ids)}
    return LabelMap("predictions", tuple(predicted), tuple(colors), raw_to_train or {0: IGNORE}, tuple(raw_ids))


def tool_ids(classes: LabelMap) -> tuple[int, ...]:
    """The id a labelling tool shows for each class: the data set's own where that works, else train id + 1.

    They do not work where two classes share one, where one is 0 (means unlabeled) or above what the tools can colour.
    """
    raw = classes.train_to_raw
    usable = len(set(raw)) == len(raw) and all(UNLABELED < i < MAX_ID for i in raw)
    return raw if usable else tuple(range(1, len(classes.classes) + 1))


def do_not_label_id(ids: Sequence[int]) -> int:
    """The largest id below 1000 that no class uses; everything that nobody is asked for carries it.

    >>> do_not_label_id([10, 999])
    998
    """
    free = [i for i in range(999, 0, -1) if i not in ids]
    if not free:
        raise DataError(f"{len(ids)} classes leave no id below 1000 for '{DO_NOT_LABEL_NAME}'")
    return free[0]


def queue_labels(window: Window, index: int, points: int, ids: Sequence[int], reserved: int) -> npt.NDArray[np.uint32]:
    """(N,) tool ids of one frame: 0 where a label is asked, the class where it is assumed, `reserved` elsewhere."""
    labels = np.full(points, reserved, dtype=np.uint32)
    table = np.full(IGNORE + 1, reserved, dtype=np.uint32)
    table[: len(ids)] = ids
    for unit in window.assumed:
        if unit.pick.key.frame == index and unit.labels is not None:
            check_indices(unit, points, window.scene[index])
            labels[unit.indices] = table[unit.labels]
    for unit in window.asked:
        if unit.pick.key.frame == index:
            check_indices(unit, points, window.scene[index])
            labels[unit.indices] = UNLABELED
    return labels


def _entries(label_map: LabelMap) -> zip[tuple[str, int, tuple[int, int, int]]]:
    return zip(label_map.classes, label_map.train_to_raw, label_map.colors, strict=True)


def _distinct_color(place: int) -> tuple[int, int, int]:
    # Steps of the golden angle keep neighbouring classes far apart in hue.
    r, g, b = colorsys.hsv_to_rgb(place * 0.6180339887 % 1, 0.55 + 0.35 * (place % 2), 1.0 - 0.25 * (place % 3 == 2))
    return round(255 * r), round(255 * g), round(255 * b)
