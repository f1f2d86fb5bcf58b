# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Kinds of unit: which there are, and what a table of them can say of its units, whatever is asked for.

Tables of regions and of frames can have every column and array: what scoring makes of them is what a strategy needs. What
is measured between frames or on surfaces pictures can't have, and of boxes and tracks there are columns of their own.
"""

from __future__ import annotations

from collections.abc import Collection

from lidal3d.interframe.boxes import COLUMNS as OF_NEIGHBOURS
from lidal3d.interframe.regions import COLUMNS as BETWEEN_FRAMES
from lidal3d.scores import boxes, track_disagreement
from lidal3d.scores.columns import OF_SURFACES
from lidal3d.strategies.pool import ARRAYS as POOL_ARRAYS

BOX, TRACK = "box", "track"
REGIONS = ("grid", "kmeans", "supervoxels")
PICTURES = ("superpixels", "image")
KINDS = (*REGIONS, "frame", BOX, TRACK, *PICTURES)
ARRAYS = frozenset(POOL_ARRAYS)
# Of `region_scores`, what a single picture has too.
OF_PICTURES = frozenset({"confidence", "predicted_class", "range_m", "is_key_frame"})
_NOT_OF_PICTURES = (
    frozenset({*BETWEEN_FRAMES, *OF_SURFACES, "lidal", "track", *track_disagreement.SCORES}) - OF_PICTURES
)
_COLUMNS = {BOX: {*OF_NEIGHBOURS, *boxes.SCORES}, TRACK: set(track_disagreement.SCORES)}
_ARRAYS = {BOX: frozenset({"features", "probabilities"}), TRACK: frozenset[str]()}
# Singular and plural; of the other kinds a unit is a region.
_WORDS = {
    "frame": ("frame", "frames"),
    BOX: ("box", "boxes"),
    TRACK: ("track", "tracks"),
    "superpixels": ("superpixel", "superpixels"),
    "image": ("image", "images"),
}


def can_have(kind: str, columns: Collection[str], arrays: Collection[str]) -> bool:
    """Whether units of a kind can have these score columns, and these of ARRAYS."""
    if kind in PICTURES:
        return not _NOT_OF_PICTURES.intersection(columns)
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
    return ", ".join([*words, *(_WORDS[kind][1] for kind in _WORDS if kind in kinds)])


def units_in_words(number: int, kind: str) -> str:
    """So many units of a kind; of a region it is said which.

    >>> units_in_words(1, "box"), units_in_words(1200, "kmeans")
    ('1 box', '1,200 regions (kmeans)')
    """
    words = _WORDS.get(kind, ("region", "regions"))
    return f"{number:,} {words[number != 1]}" + ("" if kind in _WORDS else f" ({kind})")
