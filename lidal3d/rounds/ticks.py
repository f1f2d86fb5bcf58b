# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Round numbers for the axes of a plot, and the unit that reads best for a time."""

from __future__ import annotations

import math

SECONDS_A_UNIT = {"seconds": 1.0, "minutes": 60.0, "hours": 3600.0}


def round_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Between 2 and `most` multiples of 1, 2 or 5 times a power of ten from `low` to `high`, which are different.

    >>> round_ticks(0, 1540), round_ticks(37.2, 41.9)
    ([0.0, 500.0, 1000.0, 1500.0], [38.0, 39.0, 40.0, 41.0])
    """
    step = _step(high - low, most)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


def _step(width: float, most: int) -> float:
    """The smallest round step that gives `most` ticks or fewer at any place of an interval."""
    power = 10.0 ** math.floor(math.log10(width / most))
    return next(factor * power for factor in (1, 2, 5, 10, 20) if width / (factor * power) < most - 1 + 1e-9)


def tick_label(value: float, step: float) -> str:
    """A multiple of a round step in as many digits as the step has, thousands with commas.

    >>> tick_label(1500, 500), tick_label(0.6, 0.2), tick_label(-0.0, 0.05)
    ('1,500', '0.6', '0.00')
    """
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    return f"{round(value, digits) + 0.0:,.{digits}f}"


def time_unit(longest_s: float) -> str:
    """Seconds up to three minutes, minutes up to three hours, else hours: a key of SECONDS_A_UNIT.

    >>> time_unit(90), time_unit(1540), time_unit(86400)
    ('seconds', 'minutes', 'hours')
    """
    return "seconds" if longest_s < 180 else "minutes" if longest_s < 10800 else "hours"
