# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""The report: what was picked out of a drive, why, and how far to trust what was assumed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from lidal3d.config import Config
from lidal3d.export.classes import class_list
from lidal3d.export.queue import LabelQueue
from lidal3d.predictions.store import PredictionStore
from lidal3d.report.breakdown import class_breakdown, elements_of, picked_rows, range_breakdown
from lidal3d.report.card import Card, CardSettings
from lidal3d.report.cards import draw_cards
from lidal3d.report.charts import histogram, paired_bars
from lidal3d.report.colors import readable
from lidal3d.report.page import (
    Tile,
    budget_table,
    card_html,
    facts,
    legend,
    page,
    panels,
    pseudo_table,
    section,
    tiles,
)
from lidal3d.report.precision import PseudoPrecision, pseudo_precision
from lidal3d.report.sweeps import PointDivergence
from lidal3d.scene.labels import LabelMap
from lidal3d.scene.scene import Scene
from lidal3d.scores.table import ScoreTable

BOX_HISTOGRAMS = {
    "objectness": "the detector's largest class score",
    "softmax_entropy": "nats; of the box's own distribution",
    "divergence": "nats; how much the boxes matched in neighbour frames contradict",
    "missed": "share of the neighbour frames in view without a matching box",
}
HISTOGRAMS = {
    "divergence": "nats; how much neighbour frames contradict",
    "entropy": "nats; of the mean over neighbour frames",
    "coverage": "share of the unit's points seen in a neighbour frame",
}
PICTURE_HISTOGRAMS = {
    "softmax_entropy": "nats; mean over the unit's pixels",
    "margin": "least of the two likeliest classes' difference; mean over the unit's pixels",
    "confidence": "mean largest probability of the unit's pixels",
    "predicted_loss": "what the loss head expects",
    "pretext_loss": "how hard the self-supervised task was",
    "temporal_discrepancy": "how far two checkpoints are apart",
}
LEAD = "Each card shows where the model contradicts itself when the car moves on."
LEAD_OF_PICTURES = "Each card shows the part of a picture that is asked about, what the model says of it, and what the LiDAR saw there."


@dataclass(frozen=True)
class ReportInput:
    """Everything the report is made from.

    Attributes:
        queue: picks and pseudo-labels with their points.
        scenes: scene id -> scene.
        table: the scores of all units.
        predictions: the model's, or None to leave out what needs them.
        divergence: per-point divergence of a frame, or None.
        config: the settings.
        facts: what and when, for the top of the page ("drive", "model", "created", …).
    """

    queue: LabelQueue
    scenes: Mapping[str, Scene]
    table: ScoreTable
    predictions: PredictionStore | None
    divergence: PointDivergence | None
    config: Config
    facts: Mapping[str, str]

    @property
    def elements(self) -> str:
        """What units are made of: "points" or "pixels"."""
        return elements_of(self.scenes)

    @property
    def of_pictures(self) -> bool:
        """Whether the drive's frames are pictures."""
        return self.elements == "pixels"


def render_report(given: ReportInput, progress: Callable[[int, int], None] = lambda done, total: None) -> str:
    """The report as HTML text.

    Args:
        progress: called with the number of cards drawn and their total.

    Raises:
        DataError: selection, scores, predictions and drive do not fit each other.
    """
    label_map = next((scene.label_map for scene in given.scenes.values()), None)
    classes = class_list(label_map, () if given.predictions is None else given.predictions.classes)
    largest = divergence_scale(given.table, picked_rows(given.queue, given.table))
    precision = pseudo_precision(given.queue, given.scenes, classes)
    settings = CardSettings(given.config.report.picks, given.config.report.crop_m, given.config.interframe.half_window,
                            largest, given.config.report.cameras)  # fmt: skip
    cards = draw_cards(given.queue, given.scenes, classes, given.predictions, given.divergence, settings, progress)
    sections = [
        tiles(_headline(given, precision)),
        section(
            "Drive, settings, budget",
            panels([facts(given.facts), budget_table(_selections(given.queue), given.elements)], "two"),
        ),
        section(
            "What was picked, next to the whole drive", _histograms(given) + _class_panels(given, precision, classes)
        ),
        section(f"The first {len(cards)} picks" if cards else "Picks", _cards(given, cards, classes, largest)),
    ]
    scenes = ", ".join(given.queue.scene_ids()[:3]) or "none"
    title = f"What to label next: {len(given.queue.asked):,} picks"
    more = " …" if len(given.queue.scene_ids()) > 3 else ""
    lead = f"Strategy {given.queue.selection.strategy}; scenes {scenes}{more}. "
    return page(title, lead + (LEAD_OF_PICTURES if given.of_pictures else LEAD), sections)


def divergence_scale(table: ScoreTable, picked: np.ndarray) -> float:
    """The divergence drawn in the brightest colour: twice the picks' median, between 0.1 and 11.5 nats.

    11.5 is about the largest that KL with ε = 1e-5 can reach. Without such a column 1.
    """
    values = table.scores.get("divergence", np.full(len(table), np.nan))[picked]
    values = values[np.isfinite(values)]
    return float(np.clip(2 * np.median(values), 0.1, 11.5)) if len(values) else 1.0


def _selections(queue: LabelQueue) -> list:
    return [queue.selection] if queue.pseudo_selection is None else [queue.selection, queue.pseudo_selection]


def _headline(given: ReportInput, precision: PseudoPrecision) -> list[Tile]:
    selection = given.queue.selection
    points = sum(pick.points for pick in selection.picks)
    total = int(given.table.points.sum())
    used = selection.used / selection.budget if selection.budget else 0.0
    entries = [
        Tile(f"{len(selection.picks):,}", f"units to label, of {len(given.table):,}"),
        Tile(f"{points:,}", f"{given.elements} to label, {100 * points / max(total, 1):.2g} % of {total:,}"),
        Tile(f"{100 * used:.1f} %", f"of {selection.budget:,.6g} {selection.currency} used", used),
    ]
    if given.queue.assumed:
        entries.append(
            Tile(
                f"{precision.assumed.sum():,}",
                f"pseudo-labelled {given.elements} in {len(given.queue.assumed):,} units",
            )
        )
    if precision.overall is not None:
        name = f"pseudo-label precision on {precision.judged.sum():,} labelled {given.elements}"
        entries.append(Tile(f"{100 * precision.overall:.1f} %", name, precision.overall))
    return entries


def _histograms(given: ReportInput) -> str:
    picked = picked_rows(given.queue, given.table)
    wanted = PICTURE_HISTOGRAMS if given.of_pictures else HISTOGRAMS if given.table.boxes is None else BOX_HISTOGRAMS
    charts = [
        histogram(name, unit, given.table.scores[name], picked)
        for name, unit in wanted.items()
        if name in given.table.scores
    ]
    charts.append("<h3>range</h3>" + paired_bars(range_breakdown(given.queue, given.table, given.scenes)))
    key = '<p class="note key"><i class="chip" style="background:var(--picked)"></i>picked units&emsp;' + (
        '<i class="chip" style="background:var(--all)"></i>all units; each distribution sums to 1</p>'
    )
    return key + panels(charts, "four")


def _class_panels(given: ReportInput, precision: PseudoPrecision, classes: LabelMap) -> str:
    parts = []
    if given.predictions is not None:
        comparison = class_breakdown(given.queue, given.scenes, given.predictions)
        parts.append("<h3>predicted class</h3>" + paired_bars(comparison, readable(classes.colors)))
    if given.queue.assumed:
        parts.append("<h3>pseudo-labels</h3>" + pseudo_table(precision, classes, given.elements))
    return panels(parts, "two") if parts else ""


def _cards(given: ReportInput, cards: list[Card], classes: LabelMap, largest: float) -> str:
    if not cards:
        return '<p class="none">no picks to show</p>'
    shown = sorted({train_id for card in cards for train_id, _ in card.predicted})
    bar = legend(classes, shown, None if given.divergence is None else largest, given.of_pictures)
    return bar + "".join(card_html(card, classes) for card in cards)
