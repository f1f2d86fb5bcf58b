# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Charts as inline SVG and HTML; colours come from the page's style sheet."""

from __future__ import annotations

from html import escape

import numpy as np
import numpy.typing as npt

from lidal3d.report.breakdown import Comparison
from lidal3d.report.colors import UNMATCHED, hex_color, ramp

WIDTH, HEIGHT, FOOT, BINS = 340, 150, 22, 32


def histogram(title: str, unit: str, everything: npt.NDArray[np.floating], picked: npt.NDArray[np.bool_]) -> str:
    """Two distributions over each other, each summing to 1: all units and the picked ones; NaN is left out."""
    values, chosen = everything[np.isfinite(everything)], everything[picked & np.isfinite(everything)]
    unknown = int((~np.isfinite(everything)).sum())
    if not len(values):
        return (
            f'<figure class="chart"><figcaption>{escape(title)}</figcaption><p class="none">no known value</p></figure>'
        )
    low = min(0.0, float(values.min()))
    high = max(float(np.quantile(values, 0.995)), float(chosen.max()) if len(chosen) else low, low + 1e-9)
    edges = np.linspace(low, high, BINS + 1)
    shares = [np.histogram(np.clip(v, edges[0], high), edges)[0] / max(len(v), 1) for v in (values, chosen)]
    top = max(share.max() for share in shares)
    bars = "".join(
        f'<path class="{name}" d="{_steps(share / top)}"/>'
        for name, share in zip(("all", "picked"), shares, strict=True)
    )
    ticks = "".join(_tick(x, edges[0] + x * (high - edges[0])) for x in (0.0, 0.25, 0.5, 0.75, 1.0))
    note = f" · {unknown:,} unknown" if unknown else ""
    return (
        f'<figure class="chart"><figcaption>{escape(title)} <small>{escape(unit)}{note}</small></figcaption>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">{bars}'
        f'<line class="axis" x1="0" x2="{WIDTH}" y1="{HEIGHT - FOOT}" y2="{HEIGHT - FOOT}"/>{ticks}</svg></figure>'
    )


def _steps(heights: npt.NDArray[np.floating]) -> str:
    ground, step = HEIGHT - FOOT, WIDTH / len(heights)
    path = [f"M0 {ground}"]
    for place, height in enumerate(heights):
        path.append(f"V{ground - height * (ground - 6):.1f}H{(place + 1) * step:.1f}")
    return "".join(path) + f"V{ground}Z"


def _tick(share: float, value: float) -> str:
    anchor = "start" if share == 0 else "end" if share == 1 else "middle"
    return f'<text class="tick" x="{share * WIDTH:.0f}" y="{HEIGHT - 6}" text-anchor="{anchor}">{value:.2g}</text>'


def paired_bars(comparison: Comparison, colors: npt.NDArray[np.uint8] | None = None) -> str:
    """A row a name: share of the picked points over the drive's, and by how much it is over-represented."""
    top = max(float(comparison.picked.max(initial=0)), float(comparison.drive.max(initial=0)), 1e-9)
    rows = []
    for place, name in enumerate(comparison.names):
        picked, drive = float(comparison.picked[place]), float(comparison.drive[place])
        if picked == drive == 0:
            continue
        chip = "" if colors is None else f'<i class="chip" style="background:{hex_color(colors[place])}"></i>'
        factor = f"×{picked / drive:.1f}" if drive and picked else "–"
        rows.append(
            f'<tr><th scope="row">{chip}{escape(name)}</th>'
            f'<td class="bars"><b class="picked" style="width:{100 * picked / top:.1f}%"></b>'
            f'<b class="all" style="width:{100 * drive / top:.1f}%"></b></td>'
            f"<td>{percent(picked)}</td><td>{percent(drive)}</td><td>{factor}</td></tr>"
        )
    head = "<tr><th></th><th></th><th>picked</th><th>drive</th><th></th></tr>"
    return f'<table class="paired"><thead>{head}</thead><tbody>{"".join(rows)}</tbody></table>' + (
        f'<p class="note">{escape(comparison.note)}</p>'
    )


def percent(share: float) -> str:
    """A share as a percentage with as many digits as help.

    >>> percent(0.5), percent(0.0123), percent(0.00012)
    ('50 %', '1.2 %', '0.01 %')
    """
    value = 100 * share
    return f"{value:.0f} %" if value >= 10 or value == 0 else f"{value:.1f} %" if value >= 0.1 else f"{value:.2f} %"


def color_bar(largest: float) -> str:
    """The legend of the divergence ramp."""
    stops = ",".join(hex_color(color) for color in ramp(12))
    unmatched = f'<i class="chip rim" style="background:{hex_color(UNMATCHED)}"></i>'
    return (
        '<div class="colorbar"><span>divergence 0</span>'
        f'<i style="background:linear-gradient(90deg,{stops})"></i><span>≥ {largest:.2g} nats</span>'
        f"<span>{unmatched}no neighbour frame sees it</span></div>"
    )


def depth_bar() -> str:
    """The legend of the LiDAR points in pictures."""
    stops = ",".join(hex_color(color) for color in ramp(12)[::-1])
    return (
        '<div class="colorbar"><span>depth ≤ 4 m</span>'
        f'<i style="background:linear-gradient(90deg,{stops})"></i><span>≥ 60 m</span></div>'
    )
