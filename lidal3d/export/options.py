# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""What a person can choose about an export."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lidal3d.errors import UsageError


@dataclass(frozen=True)
class ExportOptions:
    """Choices shared by the exporters.

    Attributes:
        margin: frames of context on each side of a picked frame.
        max_frames: the longest window; a longer run of frames is cut.
        cameras: copy the camera pictures too.
        url_prefix: put before every file name of a queue that is read over the network ("s3://bucket/round1/").
        labels: a folder of `lidal3d ingest`, for formats that carry answers.
        predicted_classes: the model's class names in the order of its columns; empty where the drive's own are meant.
    """

    margin: int = 5
    max_frames: int = 100
    cameras: bool = True
    url_prefix: str = ""
    labels: Path | None = None
    predicted_classes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.margin < 0:
            raise UsageError(f"margin {self.margin}: cannot be negative; 0 exports only picked frames")
        if self.max_frames < 1:
            raise UsageError(f"max_frames {self.max_frames}: a window holds at least 1 frame")
