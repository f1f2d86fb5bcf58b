# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""What selecting boxes needs beside the table: their points again, and settings that make sense for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from lidal3d.config import Config
from lidal3d.errors import DataError
from lidal3d.scores.table import ScoreTable, concatenate
from lidal3d.units.boxes import KIND, FrameBoxUnits

SCORE = "objectness"  # the score column that decides whose a point in several boxes is


@dataclass(frozen=True)
class BoxUnits:
    """The box units of a whole score table, a FramePartition: the table alone is needed to find their points again.

    Attributes:
        frames: (scene id, frame index) -> its units.
    """

    frames: Mapping[tuple[str, int], FrameBoxUnits]
    kind: str = field(default=KIND, init=False)

    @classmethod
    def of_table(cls, table: ScoreTable) -> BoxUnits:
        """Those of a table, in any order. Raises DataError where it holds no boxes, or not all boxes of a frame."""
        table = concatenate([table])
        boxes, score = table.box_rows, table.score(SCORE)
        frame = table.scene.astype(np.int64) << 32 | table.frame
        starts = np.flatnonzero(np.diff(frame, prepend=-1))
        frames = {}
        for first, stop in zip(starts, [*starts[1:], len(table)], strict=True):
            key = (table.scenes[table.scene[first]], int(table.frame[first]))
            if not np.array_equal(table.unit[first:stop], np.arange(stop - first)):
                raise DataError(
                    f"score table: {stop - first} rows of scene {key[0]} frame {key[1]} are not all its boxes"
                )
            frames[key] = FrameBoxUnits(boxes[first:stop], score[first:stop])
        return cls(frames)

    def at(self, scene: str, frame: int) -> FrameBoxUnits:
        """The units of one frame; none where the table has none of it."""
        none = FrameBoxUnits(np.empty((0, 7), np.float32), np.empty(0))
        return self.frames.get((scene, frame), none)


def without_pseudo(config: Config, kind: str) -> Config:
    """The settings for units of a kind: boxes get no pseudo-labels, as a detector says nothing of single points."""
    if kind != KIND:
        return config
    return config.model_copy(update={"pseudo": config.pseudo.model_copy(update={"budget": "0"})})
