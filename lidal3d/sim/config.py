# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Settings of a simulated drive."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lidal3d.settings.base import Settings


class SimConfig(Settings):
    """What town, what sensor, how long. The same settings give the same bytes."""

    style: Literal["suburb", "downtown"] = Field("suburb", description="town style")
    sensor: Literal["hdl64", "vlp32"] = Field("hdl64", description="64 beams +2..-24.8 deg, or 32 beams +10..-30 deg")
    frames: int = Field(100, ge=1, description="number of sweeps")
    seed: int = Field(0, ge=0, description="seed of town, traffic and noise")
    hz: float = Field(10.0, ge=1, le=50, description="sweeps a second")
    columns: int | None = Field(None, ge=8, description="rays a turn and beam; None is the sensor's own number")
    beams: int | None = Field(None, ge=1, description="beams; None is the sensor's own number, fewer thins them evenly")
    camera: bool = Field(True, description="also render the front camera")
    camera_width: int = Field(620, ge=16, description="image width, pixels")
    camera_height: int = Field(188, ge=16, description="image height, pixels")
    labelled: Literal["all"] | int = Field("all", description="all, or how many evenly spaced frames have their labels")
    noise: bool = Field(True, description="range noise and dropouts; False gives exact ranges of every hit")

    def labelled_frames(self, candidates: tuple[int, ...] | None = None) -> frozenset[int]:
        """The frames whose labels are written: all candidates, or `labelled` of them evenly spaced."""
        frames = tuple(range(self.frames)) if candidates is None else candidates
        if self.labelled == "all" or self.labelled >= len(frames):
            return frozenset(frames)
        return frozenset(frames[(2 * k + 1) * len(frames) // (2 * self.labelled)] for k in range(self.labelled))
