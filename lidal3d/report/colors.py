# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Colours of the report: a perceptually uniform ramp for divergence, and class colours that show on a dark ground."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Rgb = npt.NDArray[np.uint8]

GROUND = (17, 21, 28)  # the crops' background
UNMATCHED = (222, 226, 234)  # a point that no neighbour frame sees


def oklch_to_srgb(lightness: npt.ArrayLike, chroma: npt.ArrayLike, hue_degrees: npt.ArrayLike) -> Rgb:
    """(N, 3) sRGB of OKLCh colours (Ottosson, "A perceptual color space for image processing", 2020), clipped."""
    hue = np.radians(np.asarray(hue_degrees, dtype=np.float64))
    lab = np.stack(np.broadcast_arrays(lightness, chroma * np.cos(hue), chroma * np.sin(hue)), axis=-1)
    lms = lab @ np.array([[1, 0.3963377774, 0.2158037573], [1, -0.1055613458, -0.0638541728],
                          [1, -0.0894841775, -1.2914855480]]).T  # fmt: skip
    linear = lms**3 @ np.array([[4.0767416621, -3.3077115913, 0.2309699292],
                                [-1.2684380046, 2.6097574011, -0.3413193965],
                                [-0.0041960863, -0.7034186147, 1.7076147010]]).T  # fmt: skip
    linear = np.clip(linear, 0, 1)
    srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.round(255 * srgb).astype(np.uint8)


def ramp(steps: int) -> Rgb:
    """(steps, 3) from violet-blue (low) over green to bright yellow (high): lightness rises in equal steps."""
    t = np.linspace(0, 1, steps)
    return oklch_to_srgb(0.42 + 0.51 * t, 0.13 + 0.04 * np.sin(np.pi * t), 285 - 180 * t)


def greys(steps: int) -> Rgb:
    """(steps, 3) blue-greys just above the ground colour, for the points that are not asked about."""
    t = np.linspace(0, 1, steps)
    return oklch_to_srgb(0.40 + 0.24 * t, np.full(steps, 0.018), np.full(steps, 255.0))


def relative_luminance(rgb: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Relative luminance (WCAG 2.1) of (..., 3) sRGB colours, 0 black to 1 white."""
    c = np.asarray(rgb, dtype=np.float64) / 255
    linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    return linear @ np.array([0.2126, 0.7152, 0.0722])


def readable(colors: Sequence[Sequence[int]], least: float = 0.14) -> Rgb:
    """(C, 3) class colours, mixed with white until each has a relative luminance of at least `least`."""
    result = np.asarray(colors, dtype=np.float64).reshape(-1, 3)
    for _ in range(20):
        dark = relative_luminance(result) < least
        if not dark.any():
            break
        result[dark] += 0.1 * (255 - result[dark])
    return np.round(result).astype(np.uint8)


def dimmed(colors: Rgb, keep: float = 0.42) -> Rgb:
    """The colours, faded into the ground: only `keep` of them is left."""
    return np.round(keep * colors.astype(np.float64) + (1 - keep) * np.array(GROUND)).astype(np.uint8)


def hex_color(rgb: Sequence[int] | Rgb) -> str:
    """CSS notation.

    >>> hex_color((255, 0, 16))
    '#ff0010'
    """
    return "#" + "".join(f"{int(value):02x}" for value in rgb)
