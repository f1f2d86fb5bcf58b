# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Parts: what of a scoring run is written whole, and survives a kill."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lidal3d.errors import UsageError
from lidal3d.scene.scene import Scene


@dataclass(frozen=True)
class Part:
    """Frames first … stop−1 of a scene: what one part file holds."""

    scene: str
    first: int
    stop: int

    def path(self, folder: Path) -> Path:
        """Where the part's table lies in a results folder; it is written last."""
        return folder / "parts" / self.scene / f"{self.first:06d}-{self.stop - 1:06d}.arrow"

    def array_path(self, folder: Path, name: str) -> Path:
        """Where the rows of an array lie that belong to the part's table."""
        return self.path(folder).with_suffix(f".{name}.npy")

    def failed_path(self, folder: Path) -> Path:
        """Where the frames lie that could not be read while the part was made; written before the part."""
        return self.path(folder).with_suffix(".failed.json")


def all_parts(scenes: Sequence[Scene], frames_a_part: int) -> list[Part]:
    """The parts of a drive, in order of scene and frame."""
    return [
        Part(scene.id, first, min(first + frames_a_part, len(scene)))
        for scene in sorted(scenes, key=lambda scene: scene.id)
        for first in range(0, len(scene), frames_a_part)
    ]


def share(parts: list[Part], index: int, count: int) -> list[Part]:
    """The index-th (from 1) of count runs of neighbouring parts, as equal as they can be."""
    if not 1 <= index <= count:
        raise UsageError(f"--shard {index}/{count}: the first number goes from 1 to {count}")
    first, stop = (round(i * len(parts) / count) for i in (index - 1, index))
    return parts[first:stop]
