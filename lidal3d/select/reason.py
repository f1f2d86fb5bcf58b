# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""One sentence to the person who labels: why this unit was chosen."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence


def reason(
    scores: Mapping[str, float], ranked_by: str, share: float, classes: Sequence[str] = (), kind: str = "region"
) -> str:
    """Why a unit is worth a label.

    Args:
        scores: the unit's scores by name.
        ranked_by: the score that ranked it.
        share: which share of the candidates has at least this score: 0.004 is the top 0.4 %.
        classes: class names, to name the class that the model sees.
        kind: the kind of unit; a box is called a box.
    """
    top = f"top {percent(share)} of the drive"
    if kind == "box":
        return _box_finding(scores, ranked_by, top) + _seen_as(scores, classes).replace("mostly", "seen as")
    return _finding(scores, ranked_by, top) + _seen_as(scores, classes)


def pseudo_reason(scores: Mapping[str, float], ranked_by: str, classes: Sequence[str] = ()) -> str:
    """Why a unit's predicted label is trusted without a person."""
    views = _views(scores)
    seen = f"{views} agree" if views else "the views of this region agree"
    numbers = f"divergence {number(scores.get(ranked_by, math.nan))}, entropy {number(scores.get('entropy', math.nan))}"
    return f"{seen} ({numbers}){_seen_as(scores, classes)}"


def _finding(scores: Mapping[str, float], ranked_by: str, top: str) -> str:
    if ranked_by not in ("lidal", "divergence", "divergence_paper"):
        return f"{ranked_by} is {number(scores.get(ranked_by, math.nan))} ({top})"
    coverage = scores.get("coverage", math.nan)
    divergence = scores.get("divergence", math.nan)
    if coverage == 0 or math.isnan(divergence):
        unsure = number(scores.get("entropy", math.nan))
        return f"no other frame sees this region, and the model is unsure of it (entropy {unsure}, {top})"
    partly = f"; only {percent(coverage)} of it is seen by other frames" if coverage < 0.5 else ""
    return (
        f"the model contradicts itself across {_views(scores) or 'views of this region'} "
        f"(divergence {number(divergence)}, {top}){partly}"
    )


def _box_finding(scores: Mapping[str, float], ranked_by: str, top: str) -> str:
    score, missed = scores.get("objectness", math.nan), scores.get("missed", math.nan)
    flicker = f", missing in {percent(missed)} of the frames around" if missed > 0 else ""
    return f"{ranked_by} is {number(scores.get(ranked_by, math.nan))} ({top}); score {number(score)}{flicker}"


def _views(scores: Mapping[str, float]) -> str:
    matches = scores.get("matches", math.nan)
    if math.isnan(matches) or matches < 0.5:
        return ""
    return f"{round(matches) + 1} views of this region"


def _seen_as(scores: Mapping[str, float], classes: Sequence[str]) -> str:
    predicted = scores.get("predicted_class", math.nan)
    known = not math.isnan(predicted) and 0 <= predicted < len(classes)
    return f"; mostly '{classes[int(predicted)]}'" if known else ""


def number(value: float) -> str:
    """Two decimals, or two digits for what is smaller."""
    return "unknown" if math.isnan(value) else f"{value:.2f}" if abs(value) >= 0.095 or value == 0 else f"{value:.2g}"


def percent(share: float) -> str:
    """0.0042 -> "0.42 %"; two digits below 10 %."""
    value = 100 * share
    return f"{value:.0f} %" if value >= 9.95 else f"{value:.2g} %"
