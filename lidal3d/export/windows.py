# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Windows: the contiguous runs of frames that a labeller opens.

A person labels best with the sweeps before and after in sight, and the tools stack overlapping sweeps. So every picked
frame takes `margin` frames on both sides with it, and runs that touch become one window.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from lidal3d.export.queue import LabelQueue, QueuedUnit, by_frame, frame_of
from lidal3d.scene.scene import Scene


@dataclass(frozen=True)
class Window:
    """A contiguous run of frames of one scene, with the units in it.

    Attributes:
        scene: the scene.
        frames: frame indices, first to last.
        asked: the units to label, best rank first.
        assumed: the pseudo-labelled units of these frames.
    """

    scene: Scene
    frames: range
    asked: tuple[QueuedUnit, ...]
    assumed: tuple[QueuedUnit, ...]

    @property
    def name(self) -> str:
        """A name that is unique in the drive and safe as a file name and in a URL."""
        return f"{safe_name(self.scene.id)}_{self.frames[0]:06d}-{self.frames[-1]:06d}"

    @property
    def best_rank(self) -> int:
        """The rank of the window's most wanted unit; 1 is the first."""
        return self.asked[0].pick.rank


def safe_name(text: str) -> str:
    """`text` with everything but letters, digits, dot, dash and underscore replaced.

    >>> safe_name("log 7/run:2")
    'log_7_run_2'
    """
    return re.sub(r"[^A-Za-z0-9._-]", "_", text)


def windows(queue: LabelQueue, scenes: Mapping[str, Scene], margin: int, max_frames: int) -> list[Window]:
    """The windows that hold every asked unit once, ordered by scene and first frame.

    Args:
        margin: frames of context on each side of a picked frame, clipped to the scene.
        max_frames: a longer run is cut into windows of at most this many frames.

    Raises:
        DataError: the selection names a scene or a frame that the drive does not have.
    """
    asked, assumed = by_frame(queue.asked), by_frame(queue.assumed)
    result = []
    for scene_id in queue.scene_ids():
        picked = sorted(index for scene, index in asked if scene == scene_id)
        for index in picked:
            frame_of(scenes, scene_id, index)
        for frames in _runs(picked, margin, max_frames, len(scenes[scene_id])):
            keys = [(scene_id, index) for index in frames]
            units = sorted((u for key in keys for u in asked.get(key, ())), key=lambda unit: unit.pick.rank)
            if units:
                pseudo = tuple(unit for key in keys for unit in assumed.get(key, ()))
                result.append(Window(scenes[scene_id], frames, tuple(units), pseudo))
    return result


def _runs(picked: list[int], margin: int, max_frames: int, frames: int) -> list[range]:
    runs: list[list[int]] = []
    for index in picked:
        first, last = max(index - margin, 0), min(index + margin, frames - 1)
        if runs and first <= runs[-1][1] + 1:
            runs[-1][1] = last
        else:
            runs.append([first, last])
    return [
        range(start, min(start + max_frames, last + 1))
        for first, last in runs
        for start in range(first, last + 1, max_frames)
    ]
