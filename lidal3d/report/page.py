# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""The report as one HTML page that needs no network. All text that comes from outside is escaped here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from lidal3d.report.card import Card, Panel
from lidal3d.report.charts import color_bar, depth_bar, percent
from lidal3d.report.colors import Rgb, hex_color, readable
from lidal3d.report.precision import PseudoPrecision
from lidal3d.report.style import CSS, SCRIPT
from lidal3d.scene.labels import LabelMap
from lidal3d.select.selection import Selection, UnitKey

SHOWN_SUPPRESSED = 4
KEY = (
    '<div class="note">Bird\'s-eye views: forward is up; dashed, the region asked about; bright, what lies in it; '
    "faint, the rest; orange, the ego vehicle. Neighbour frames are moved into the pick's frame by the poses. "
    "Click to enlarge.</div>"
)
KEY_OF_PICTURES = (
    '<div class="note">Outlined, the part of the picture asked about; faint, the rest. LiDAR points are those that the '
    "camera sees: nothing nearer stands before them. Click to enlarge.</div>"
)
NOT_SCORES = ("predicted_class", "is_key_frame", "range_m")  # said elsewhere on the card


@dataclass(frozen=True)
class Tile:
    """A number that matters: its value, what it is, and a share to draw as a meter, or None."""

    value: str
    name: str
    meter: float | None = None


def page(title: str, lead: str, sections: Sequence[str]) -> str:
    """The whole document."""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{CSS}</style></head><body><main>"
        f'<h1>{escape(title)}</h1><p class="lead">{escape(lead)}</p>{"".join(sections)}'
        "<footer>Written by lidal3d. This file is complete in itself: it loads nothing from anywhere.</footer></main>"
        f"<dialog></dialog><script>{SCRIPT}</script></body></html>\n"
    )


def tiles(entries: Sequence[Tile]) -> str:
    """The row of big numbers."""
    return f'<div class="grid tiles">{"".join(map(_tile, entries))}</div>'


def _tile(tile: Tile) -> str:
    meter = "" if tile.meter is None else f'<div class="meter"><i style="width:{100 * tile.meter:.1f}%"></i></div>'
    return f'<div class="panel tile"><b>{escape(tile.value)}</b><span>{escape(tile.name)}</span>{meter}</div>'


def facts(values: Mapping[str, str]) -> str:
    """A list of names and values."""
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in values.items())
    return f"<dl>{rows}</dl>"


def section(title: str, body: str) -> str:
    """A titled part of the page; `body` is HTML."""
    return f"<section><h2>{escape(title)}</h2>{body}</section>"


def panels(bodies: Sequence[str], columns: str) -> str:
    """Boxes side by side; `columns` is the style's "two" or "three"."""
    return f'<div class="grid {columns}">{"".join(f"""<div class="panel">{body}</div>""" for body in bodies)}</div>'


def budget_table(selections: Sequence[Selection], elements: str = "points") -> str:
    """Budget, used and left of each selection, in its currency; `elements`: what units are made of."""
    rows = "".join(
        f'<tr><th scope="row">{escape(s.strategy)}</th><td>{s.budget:,.6g} {escape(s.currency)}</td>'
        f"<td>{s.used:,.6g}</td><td>{s.budget - s.used:,.6g}</td><td>{len(s.picks):,}</td>"
        f"<td>{sum(p.points for p in s.picks):,}</td><td>{_frames(s):,}</td></tr>"
        for s in selections
    )
    names = ("selection", "budget", "used", "left", "units", elements, "frames")
    head = "".join(f"<th>{name}</th>" for name in names)
    return f'<table class="plain"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'


def _frames(selection: Selection) -> int:
    return len({(pick.key.scene, pick.key.frame) for pick in selection.picks})


def pseudo_table(precision: PseudoPrecision, classes: LabelMap, elements: str = "points") -> str:
    """Pseudo-labelled points (or pixels: `elements`) and how right they are, class by class."""
    colors = readable(classes.colors)
    rows = "".join(
        f'<tr><th scope="row">{_chip(colors[c])}{escape(name)}</th><td>{precision.assumed[c]:,}</td>'
        f"<td>{precision.judged[c]:,}</td><td>{_precision(precision.of_class(c))}</td></tr>"
        for c, name in enumerate(classes.classes)
        if precision.assumed[c]
    )
    total = (
        f'<tr><th scope="row"><b>all classes</b></th><td><b>{precision.assumed.sum():,}</b></td>'
        f"<td><b>{precision.judged.sum():,}</b></td><td><b>{_precision(precision.overall)}</b></td></tr>"
    )
    note = (
        f"{precision.labelled_frames} of {precision.frames} frames with pseudo-labels have labels to judge them by; "
        f"{elements} whose true class is not evaluated are not judged"
    )
    head = "<th>class</th><th>assumed</th><th>judged</th><th>precision</th>"
    table = f"<thead><tr>{head}</tr></thead><tbody>{rows}{total}</tbody>"
    return f'<table class="paired">{table}</table><p class="note">{note}</p>'


def _precision(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f} %"


def _chip(color: Rgb) -> str:
    return f'<i class="chip" style="background:{hex_color(color)}"></i>'


def legend(classes: LabelMap, shown: Sequence[int], largest_divergence: float | None, of_pictures: bool = False) -> str:
    """The bar over the cards: ramp of divergence or depth, filter, and the classes that occur in them."""
    colors = readable(classes.colors)
    chips = "".join(f"<span>{_chip(colors[c])}{escape(classes.classes[c])}</span>" for c in shown)
    ramp = depth_bar() if of_pictures else "" if largest_divergence is None else color_bar(largest_divergence)
    key = KEY_OF_PICTURES if of_pictures else KEY
    field = (
        '<input class="filter" type="search" placeholder="filter: car frame 000004 …" aria-label="filter the cards">'
    )
    return f'<div class="bar"><div class="row">{ramp}{field}</div><div class="legend">{chips}</div>{key}</div>'


def card_html(card: Card, classes: LabelMap) -> str:
    """One pick."""
    pick = card.pick
    shots = "".join(map(_shot, card.panels))
    said = ", ".join(f"{classes.classes[c]} {percent(share)}" for c, share in card.predicted[:4])
    unit = "" if pick.kind == "frame" else f" · {pick.kind} {pick.key.unit}"
    title = f"scene {pick.key.scene} · frame {pick.frame_name}{unit}"
    search = f"{title} {said} {pick.reason}".lower()
    return (
        f'<article class="panel card" id="pick-{pick.rank}" data-text="{escape(search)}">'
        f'<header><span class="rank">{pick.rank}</span><h3>{escape(title)}</h3>'
        f'<span class="soft">{pick.points:,} {card.elements} · {card.range_m:.0f} m away</span></header>'
        f'<p class="reason">{escape(pick.reason)}</p><div class="shots">{shots}</div>'
        f'<div class="facts">{_scores(card)}{_wide("predicted", said)}'
        f"{_wide('suppressed', suppressed(pick.suppressed))}</div></article>"
    )


def _scores(card: Card) -> str:
    shown = {n: v for n, v in card.pick.scores.items() if n not in NOT_SCORES and v is not None and np.isfinite(v)}
    return "".join(f"<span>{escape(name)} <b>{value:.3g}</b></span>" for name, value in shown.items())


def _wide(name: str, text: str) -> str:
    return f'<span class="wide">{name} <b>{escape(text)}</b></span>' if text else ""


def suppressed(keys: Sequence[UnitKey]) -> str:
    """What a pick kept out of the queue, in words; empty where nothing."""
    if not keys:
        return ""
    named = ", ".join(f"{key.scene} frame {key.frame} unit {key.unit}" for key in keys[:SHOWN_SUPPRESSED])
    rest = len(keys) - SHOWN_SUPPRESSED
    return f"{len(keys)} near-duplicate{'' if len(keys) == 1 else 's'}: {named}" + (
        f" and {rest} more" if rest > 0 else ""
    )


def _shot(panel: Panel) -> str:
    caption = f"<b>{escape(panel.title)}</b> {escape(panel.caption)}"
    wide = f" wide{panel.columns}" if panel.columns > 1 else ""
    return f'<figure class="shot{wide}">{panel.html}<figcaption>{caption}</figcaption></figure>'
