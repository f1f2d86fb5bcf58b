# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""The report's histograms: their axes end where the values do."""

from __future__ import annotations

import re

import numpy as np
import pytest

from lidal3d.report.charts import HEIGHT, WIDTH, histogram

ANY = np.zeros(2, bool)


@pytest.mark.parametrize(
    ("values", "ends"),
    [([-4.0, -1.0], ("-4", "-1")), ([-4.0, 3.0], ("-4", "3")), ([0.0, 2.0], ("0", "2")), ([1.0, 2.0], ("0", "2"))],
)
def test_the_axis_goes_from_zero_or_the_least_value_to_the_largest(values: list[float], ends: tuple[str, str]) -> None:
    drawn = histogram("loss", "nats", np.array(values), np.array([False, True]))
    ticks = re.findall(r'class="tick"[^>]*>([^<]+)<', drawn)
    assert (ticks[0], ticks[-1]) == ends


def test_all_values_alike_or_unknown_are_drawn_too() -> None:
    for values in ([0.0, 0.0], [-2.0, -2.0]):
        heights = [float(y) for y in re.findall(r"V([\d.]+)H", histogram("a", "", np.array(values), ANY))]
        assert min(heights) >= 0
        assert max(heights) <= HEIGHT
    assert "no known value" in histogram("a", "", np.full(2, np.nan), ANY)
    assert f'viewBox="0 0 {WIDTH} {HEIGHT}"' in histogram("a", "", np.ones(2), ANY)
