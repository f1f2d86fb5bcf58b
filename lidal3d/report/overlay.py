# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""What is drawn over a bird's-eye picture in SVG: the region's outline, a scale bar, and the sensor."""

from __future__ import annotations

from html import escape

import numpy as np
import numpy.typing as npt

from lidal3d.report.raster import Crop, hull

BAR_LENGTHS_M = (1, 2, 5, 10, 20, 50)
EDGE = 16


def birdseye_svg(
    png: str,
    crop: Crop,
    label: str,
    sensor_xy: npt.NDArray[np.floating],
    forward_xy: npt.NDArray[np.floating],
    outline: npt.NDArray[np.floating] | None = None,
) -> str:
    """An inline SVG of one picture.

    Args:
        png: the picture as a data URI.
        label: what it shows, for people who cannot see it.
        sensor_xy, forward_xy: the sensor's place and its forward direction (2,) in the crop's frame.
        outline: (N, 2 or 3) points whose hull is outlined.
    """
    size = crop.pixels
    parts = [f'<image href="{png}" width="{size}" height="{size}"/>']
    if outline is not None and len(outline) > 2:
        corners = " ".join(f"{x:.0f},{y:.0f}" for x, y in hull(crop.to_pixels(outline)))
        parts.append(f'<polygon class="outline" points="{corners}"/>')
    parts += [_sensor(crop, sensor_xy, forward_xy), _scale_bar(crop)]
    return f'<svg viewBox="0 0 {size} {size}" role="img" aria-label="{escape(label)}">{"".join(parts)}</svg>'


def _scale_bar(crop: Crop) -> str:
    length = max((m for m in BAR_LENGTHS_M if m <= crop.edge_m / 3), default=BAR_LENGTHS_M[0])
    width, y = length * crop.pixels_per_m, crop.pixels - EDGE
    return (
        f'<path class="ink" d="M{EDGE} {y - 8}v8h{width:.1f}v-8"/>'
        f'<text class="ink-text" x="{EDGE + width / 2:.0f}" y="{y - 14}" text-anchor="middle">{length} m</text>'
    )


def _sensor(crop: Crop, sensor_xy: npt.NDArray[np.floating], forward_xy: npt.NDArray[np.floating]) -> str:
    """The sensor as a dart that points forward; outside the picture as an arrow at its edge, with the distance."""
    at = crop.to_pixels(np.asarray(sensor_xy)[None, :2])[0]
    middle = crop.pixels / 2
    offset = at - middle
    if np.abs(offset).max() < middle - EDGE:
        turn = np.degrees(np.arctan2(-forward_xy[1], forward_xy[0]))
        return _dart(at, turn, "M0-14L10 11L0 5L-10 11Z")
    edge = middle + offset * (middle - EDGE) / np.abs(offset).max()
    turn = np.degrees(np.arctan2(offset[0], -offset[1]))
    distance = float(np.linalg.norm(offset)) / crop.pixels_per_m
    inward = middle + (edge - middle) * (1 - 34 / (middle - EDGE))
    x = float(np.clip(inward[0], 58, crop.pixels - 58))
    return (
        f"{_dart(edge, turn, 'M0-12L10 8L-10 8Z')}"
        f'<text class="ink-text" x="{x:.0f}" y="{inward[1] + 8:.0f}" text-anchor="middle">ego {distance:.0f} m</text>'
    )


def _dart(at: npt.NDArray[np.floating], turn_degrees: float, path: str) -> str:
    place = f"translate({at[0]:.0f} {at[1]:.0f}) rotate({turn_degrees:.0f})"
    return f'<path class="dart" transform="{place}" d="{path}"/>'
