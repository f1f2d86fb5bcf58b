# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Which labels judge a loss head instead of training: runs of neighbouring frames, or single units where frames are few.

What is held out is decided by names alone, not by a training's seed: a model that starts from the last round's is then
judged on labels that neither has learnt from, as far as labels that came since leave the choice as it was.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lidal3d.learn.loss_prediction.quality import FEWEST_UNITS

# Nearer sweeps are near copies.
RUN_FRAMES = 10
FEWEST_RUNS = 5
Key = tuple[str, int]


@dataclass(frozen=True)
class HeldOut:
    """What is held out.

    Attributes:
        by: "frames" or "units".
        frames: (scene, frame index) of frames that are held out whole.
        share: by units: of each other frame's units.
    """

    by: str
    frames: frozenset[Key] = frozenset()
    share: float = 0.0

    def units(self, key: Key, units: int) -> npt.NDArray[np.bool_]:
        """(R,) which of the units of a frame are held out."""
        if self.by == "frames":
            return np.full(units, key in self.frames)
        return np.random.default_rng(_number("units", *key)).random(units) < self.share


NOTHING = HeldOut("units")


def hold_out(labelled: Iterable[Key], share: float, whole: bool) -> HeldOut:
    """What is held out of some labelled frames.

    Args:
        labelled: (scene id, frame index) of the frames.
        share: of the labels, about.
        whole: units are whole frames, of which at least FEWEST_UNITS are held out where there are four times as many.
    """
    frames = sorted(set(labelled))
    if not share:
        return NOTHING
    runs = {key: (key[0], key[1] // RUN_FRAMES) for key in frames}
    if len(set(runs.values())) < FEWEST_RUNS:
        if not whole:
            return HeldOut("units", share=share)
        runs = {key: key for key in frames}
    wanted = max(round(share * len(frames)), min(FEWEST_UNITS if whole else 1, len(frames) // 4))
    return HeldOut("frames", frozenset(_taken(frames, runs, wanted)))


def _taken(frames: list[Key], runs: dict[Key, Key], wanted: int) -> set[Key]:
    """Frames of whole runs, in an order by name: as many as wanted, at most twice that, but one run in any case."""
    members: dict[Key, set[Key]] = {}
    for key in frames:
        members.setdefault(runs[key], set()).add(key)
    held: set[Key] = set()
    for run in sorted(members, key=lambda run: (_number("frames", *run), run)):
        if len(held) < wanted and len(held | members[run]) <= 2 * wanted:
            held |= members[run]
    smallest = min(members.values(), key=lambda run: (len(run), min(run)))
    return held or (smallest if wanted else held)


def _number(*name: str | int) -> int:
    return int.from_bytes(hashlib.sha256("\0".join(map(str, name)).encode()).digest()[:8], "little")
