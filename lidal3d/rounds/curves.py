# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Learning curves as one SVG: mIoU against points, frames, units and time of labelling, mean and band over seeds.

The band is the mean's 95 % interval. Of two seeds that interval is 13 standard errors wide and would hide all else: there
the band goes from the lower seed to the higher one, and the title says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from lidal3d.rounds.results import Measured
from lidal3d.rounds.statistics import mean_and_band
from lidal3d.rounds.table import Curves
from lidal3d.rounds.ticks import SECONDS_A_UNIT, round_ticks, tick_label, time_unit

# Okabe and Ito's colours, told apart by people with any kind of colour vision; then dashes tell further ones apart.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
DASHES = ("", "7 3", "2 3")
Axis = tuple[str, Callable[[Measured], float]]
PANEL_WIDTH, PANEL_HEIGHT, LEFT, TOP, GAP = 430, 250, 58, 46, 62
LINE = 14
SEEDS_FOR_INTERVAL = 3


@dataclass(frozen=True)
class Panel:
    """One plot's place and scales.

    Attributes:
        x, y: of its upper left corner, pixels.
        x_range, y_range: data at its edges.
    """

    x: float
    y: float
    x_range: tuple[float, float]
    y_range: tuple[float, float]

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Pixels of a data point."""
        across = (x - self.x_range[0]) / (self.x_range[1] - self.x_range[0])
        up = (y - self.y_range[0]) / (self.y_range[1] - self.y_range[0])
        return self.x + across * PANEL_WIDTH, self.y + (1 - up) * PANEL_HEIGHT


def axes_of(rows: Sequence[Measured]) -> tuple[Axis, ...]:
    """What the four plots run along, each with its label."""
    unit = time_unit(max(row.seconds for row in rows))
    return (
        ("points labelled, % of the pool", lambda row: 100 * row.labelled_fraction),
        ("frames touched", lambda row: row.frames),
        ("units labelled (regions, frames or boxes)", lambda row: row.units),
        (f"labelling time, {unit}", lambda row: row.seconds / SECONDS_A_UNIT[unit]),
    )


def curves_svg(name: str, rows: Sequence[Measured], warnings: Sequence[str] = ()) -> str:
    """The four plots and the legend under the warnings; the same rows give the same text."""
    curves = Curves.of(rows)
    y_range = _y_range(curves)
    width = LEFT + 2 * PANEL_WIDTH + GAP + 30
    top = TOP + LINE * max(0, len(warnings) - 1)
    legend_top = top + 2 * (PANEL_HEIGHT + GAP) + 10
    entries = [*curves.strategies, *([] if np.isnan(curves.full_miou()).any() else ["full supervision"])]
    height = legend_top + 20 * (-(-len(entries) // 4)) + 16
    title = escape(f"{name}: mIoU on the validation scenes, {_what_is_drawn(len(curves.seeds))}")
    body = [f'<text x="{LEFT}" y="22" font-size="15">{title}</text>']
    for number, warning in enumerate(warnings):
        body.append(f'<text x="{LEFT}" y="{38 + LINE * number}" fill="#b00">{escape(warning)}</text>')
    for number, (label, value) in enumerate(axes_of(rows)):
        x = LEFT + (number % 2) * (PANEL_WIDTH + GAP)
        panel = Panel(x, top + (number // 2) * (PANEL_HEIGHT + GAP), _x_range(rows, value), y_range)
        body += _plot(panel, label, value, curves)
    body += [part for place, entry in enumerate(entries) for part in _entry(place, entry, curves, legend_top)]
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    return (
        "\n".join([f'{head} font-family="sans-serif" font-size="11">', _background(width, height), *body, "</svg>"])
        + "\n"
    )


def _what_is_drawn(seeds: int) -> str:
    if seeds < 2:
        return "one seed"
    band = "95 % band" if seeds >= SEEDS_FOR_INTERVAL else "range"
    return f"mean and {band} over {seeds} seeds"


def _background(width: float, height: float) -> str:
    return f'<rect width="{width}" height="{height}" fill="#fff"/>'


def _y_range(curves: Curves) -> tuple[float, float]:
    values = [100 * row.miou for rows in curves.rows.values() for row in rows]
    values += [100 * value for value in curves.full_miou() if not np.isnan(value)]
    low, high = min(values), max(values)
    margin = max(1.0, 0.08 * (high - low))
    return low - margin, high + margin


def _x_range(rows: Sequence[Measured], value: Callable[[Measured], float]) -> tuple[float, float]:
    highest = max(value(row) for row in rows)
    return 0.0, highest * 1.03 if highest > 0 else 1.0


def _plot(panel: Panel, label: str, value: Callable[[Measured], float], curves: Curves) -> list[str]:
    parts = _frame(panel, label)
    full = curves.full_miou()
    if not np.isnan(full).any():
        x0, y = panel.place(panel.x_range[0], 100 * float(np.mean(full)))
        parts.append(
            f'<line x1="{x0:.1f}" y1="{y:.1f}" x2="{x0 + PANEL_WIDTH:.1f}" y2="{y:.1f}" stroke="#666" '
            'stroke-dasharray="2 2"/>'
        )
    for place, name in enumerate(curves.strategies):
        parts += _curve(panel, value, curves, place, name)
    return parts


def _frame(panel: Panel, label: str) -> list[str]:
    parts = [
        f'<rect x="{panel.x}" y="{panel.y}" width="{PANEL_WIDTH}" height="{PANEL_HEIGHT}" fill="none" stroke="#999"/>',
        f'<text x="{panel.x + PANEL_WIDTH / 2}" y="{panel.y + PANEL_HEIGHT + 32}" text-anchor="middle">{escape(label)}</text>',
    ]
    for value, text in _labelled_ticks(panel.x_range):
        x, bottom = panel.place(value, panel.y_range[0])
        parts.append(f'<text x="{x:.1f}" y="{bottom + 15:.1f}" text-anchor="middle">{text}</text>')
    for value, text in _labelled_ticks(panel.y_range):
        x, y = panel.place(panel.x_range[0], value)
        parts += [
            f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{x + PANEL_WIDTH:.1f}" y2="{y:.1f}" stroke="#eee"/>',
            f'<text x="{x - 6:.1f}" y="{y + 4:.1f}" text-anchor="end">{text}</text>',
        ]
    return parts


def _labelled_ticks(ends: tuple[float, float]) -> list[tuple[float, str]]:
    values = round_ticks(*ends)
    return [(value, tick_label(value, values[1] - values[0])) for value in values]


def _curve(panel: Panel, value: Callable[[Measured], float], curves: Curves, place: int, name: str) -> list[str]:
    rounds = range(curves.rounds + 1)
    xs = [float(np.mean(curves.over_seeds(name, lambda rows, k=k: value(rows[k])))) for k in rounds]  # type: ignore[misc]
    mious = [curves.over_seeds(name, lambda rows, k=k: 100 * rows[k].miou) for k in rounds]  # type: ignore[misc]
    color, dash = style_of(place)
    parts = []
    if len(curves.seeds) > 1:
        bands = [_band(values) for values in mious]
        edge = [(x, high) for x, (_, high) in zip(xs, bands, strict=True)]
        edge += [(x, low) for x, (low, _) in reversed(list(zip(xs, bands, strict=True)))]
        corners = _points([panel.place(x, float(np.clip(y, *panel.y_range))) for x, y in edge])
        parts.append(f'<polygon points="{corners}" fill="{color}" fill-opacity="0.13"/>')
    line = [panel.place(x, float(np.mean(values))) for x, values in zip(xs, mious, strict=True)]
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    parts.append(f'<polyline points="{_points(line)}" fill="none" stroke="{color}" stroke-width="2"{dashes}/>')
    parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.6" fill="{color}"/>' for x, y in line]
    return parts


def _band(values: Sequence[float]) -> tuple[float, float]:
    """Lower and upper edge of what is drawn round the mean of some seeds' values."""
    if len(values) < SEEDS_FOR_INTERVAL:
        return min(values), max(values)
    mean, half = mean_and_band(values)
    return mean - half, mean + half


def _entry(place: int, name: str, curves: Curves, top: float) -> list[str]:
    full = name not in curves.strategies
    color, dash = ("#666", "2 2") if full else style_of(place)
    x, y = LEFT + (place % 4) * 230, top + 20 * (place // 4)
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    return [
        f'<line x1="{x}" y1="{y}" x2="{x + 26}" y2="{y}" stroke="{color}" stroke-width="2"{dashes}/>',
        f'<text x="{x + 32}" y="{y + 4}">{escape(name)}</text>',
    ]


def style_of(place: int) -> tuple[str, str]:
    """Colour and dashes of the strategy at a place of the list."""
    return COLORS[place % len(COLORS)], DASHES[place // len(COLORS) % len(DASHES)]


def _points(places: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
