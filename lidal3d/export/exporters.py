# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""The labelling tools that a queue can be written for. A new one is one file and one line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from lidal3d.export.mmdet3d import export_mmdet3d
from lidal3d.export.options import ExportOptions
from lidal3d.export.point_labeler import export_point_labeler
from lidal3d.export.queue import LabelQueue
from lidal3d.export.segments_ai import export_segments_ai
from lidal3d.scene.scene import Scene

Exporter = Callable[[LabelQueue, Mapping[str, Scene], Path, ExportOptions], None]

WITH_LABELS = ("mmdet3d",)  # formats that carry answers, too
EXPORTERS: dict[str, Exporter] = {
    "point_labeler": export_point_labeler,
    "segments_ai": export_segments_ai,
    "mmdet3d": export_mmdet3d,
}
