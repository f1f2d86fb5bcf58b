# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Tracks in choosing: where sweeps contradict each other on a thing, and no thing asked about twice.

ODCT (Alfani et al., "Online Deep Clustering with Video Track Consistency", ICPR 2022) constrains the representations of
a track to be labelled as one category. What follows from tracks for choosing, without any training, is this package's.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lidal3d.scores.table import ScoreTable
from lidal3d.select.active import key_frame_rows, select_units
from lidal3d.select.history import History, is_labelled
from lidal3d.select.selection import Selection
from lidal3d.strategies.lidal import COLUMNS
from lidal3d.strategies.ranked import by_column
from lidal3d.strategies.strategy import OURS, Ask, Strategy

SCORE = "track_disagreement"
TRACK = "track"

Float64 = npt.NDArray[np.float64]


def lidal_by_track(ask: Ask) -> Selection:
    """LiDAL's choice from pools in which each track has one unit left: its best."""
    table, select = ask.pool.table, ask.config.select
    left = best_of_track(table, table.score(select.score), select.min_points, ask.history)
    return select_units(table.with_scores(**{select.score: left}), select, ask.frame_facts, ask.history)


def best_of_track(table: ScoreTable, score: Float64, min_points: int, history: History) -> Float64:
    """A score (R,), NaN in all units of a track but its best one that can be asked, and in labelled tracks.

    Units without a track keep theirs. Of equals the first is the best.

    Args:
        table: in order, with the column `track`: a number for each unit, −1 for none; of other scenes other tracks.
        min_points: smaller units can't be asked.
        history: a track of which people labelled a unit is answered.
    """
    track = table.score(TRACK)
    tracked = np.isfinite(track) & (track >= 0)
    number = table.scene.astype(np.int64) << 32 | np.where(tracked, track, 0).astype(np.int64)
    usable = tracked & key_frame_rows(table) & np.isfinite(score) & (table.points >= min_points)
    answered = np.unique(number[tracked & is_labelled(table, history)])
    usable &= ~np.isin(number, answered)
    order = np.flatnonzero(usable)[np.lexsort((np.flatnonzero(usable), -score[usable], number[usable]))]
    kept = ~tracked
    kept[order[np.unique(number[order], return_index=True)[1]]] = True
    return np.where(kept, score, np.nan)


TRACK_DISAGREEMENT = Strategy(
    "track_disagreement", OURS + ", on tracks as ODCT's", "things that are given different classes in different sweeps",
    by_column(SCORE), frozenset({"tracks"}), (SCORE,),
)  # fmt: skip
LIDAL_BY_TRACK = Strategy(
    "lidal_by_track", OURS + ", after LiDAL", "as lidal_human, and of all units of one track only the best",
    lidal_by_track, frozenset({"poses", "tracks"}), (*COLUMNS, TRACK),
)  # fmt: skip
