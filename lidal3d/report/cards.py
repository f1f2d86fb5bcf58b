# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""One card a pick: everything a person needs to see why it was picked."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from lidal3d.export.queue import LabelQueue, QueuedUnit
from lidal3d.predictions.store import PredictionStore
from lidal3d.report.card import Card, CardSettings
from lidal3d.report.pictures import PictureDrawer
from lidal3d.report.sweeps import PointDivergence, SweepDrawer
from lidal3d.scene.labels import LabelMap
from lidal3d.scene.pixels import CAMERA
from lidal3d.scene.scene import Scene


def draw_cards(queue: LabelQueue, scenes: Mapping[str, Scene], classes: LabelMap, predictions: PredictionStore | None,
               divergence: PointDivergence | None, settings: CardSettings,
               progress: Callable[[int, int], None] = lambda done, total: None) -> list[Card]:  # fmt: skip
    """The cards of the first picks, in order of rank; frame by frame inside, so that every sweep is scored once.

    Args:
        divergence: per-point divergence of a frame, or None to draw the regions in one colour.
        progress: called with the number of cards drawn and their total.

    Raises:
        DataError: the selection or the predictions do not fit the drive.
    """
    units = sorted(queue.asked, key=lambda unit: unit.pick.rank)[: settings.picks]
    sweeps = SweepDrawer(scenes, classes, predictions, divergence, settings)
    pictures = PictureDrawer(scenes, classes, predictions)
    cards = []
    for unit in sorted(units, key=_order):
        drawer = pictures if _of_picture(scenes, unit) else sweeps
        cards.append(drawer.card(unit))
        progress(len(cards), len(units))
    return sorted(cards, key=lambda card: card.pick.rank)


def _order(unit: QueuedUnit) -> tuple[str, int, int]:
    return unit.pick.key.scene, unit.pick.key.frame, unit.pick.key.unit


def _of_picture(scenes: Mapping[str, Scene], unit: QueuedUnit) -> bool:
    scene = scenes.get(unit.pick.key.scene)
    return scene is not None and scene.sensor == CAMERA
