# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Kinds of unit: which there are, and what a table of boxes or of tracks can say of its units, whatever is asked for.

Tables of regions and of frames can have every column and array: what scoring makes of them is what a strategy needs.
"""

from __future__ import annotations

from collections.abc import Collection

from lidal3d.interframe.boxes import COLUMNS as OF_NEIGHBOURS
from lidal3d.scores import boxes, track_disagreement

BOX, TRACK = "box", "track"
REGIONS = ("grid", "kmeans", "supervoxels")
KINDS = (*REGIONS, "frame", BOX, TRACK)
ARRAYS = frozenset({"features", "probabilities"})
_COLUMNS = {BOX: {*OF_NEIGHBOURS, *boxes.SCORES}, TRACK: set(track_disagreement.SCORES)}
_ARRAYS = {BOX: ARRAYS, TRACK: frozenset[str]()}
_WORDS = {"frame": "frames", BOX: "boxes", TRACK: "tracks"}


def can_have(kind: str, columns: Collection[str], arrays: Collection[str]) -> bool:
    """Whether units of a kind can have these score columns, and these of ARRAYS."""
    return kind not in _COLUMNS or (_COLUMNS[kind].issuperset(columns) and _ARRAYS[kind].issuperset(arrays))


def kinds_in_words(kinds: Collection[str]) -> str:
    """Kinds as people say them; regions are one word where all three kinds are meant.

    >>> kinds_in_words(("grid", "kmeans", "supervoxels", "box")), kinds_in_words(KINDS)
    ('regions, boxes', 'any')
    """
    if set(kinds) == set(KINDS):
        return "any"
    regions = [kind for kind in REGIONS if kind in kinds]
    words = ["regions"] if len(regions) == len(REGIONS) else regions
    return ", ".join([*words, *(_WORDS[kind] for kind in _WORDS if kind in kinds)])
