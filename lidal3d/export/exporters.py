# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""The labelling tools that a queue can be written for. A new one is one file and one line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from lidal3d.errors import UsageError
from lidal3d.export.label_studio import export_label_studio
from lidal3d.export.mmdet3d import export_mmdet3d
from lidal3d.export.options import ExportOptions
from lidal3d.export.point_labeler import export_point_labeler
from lidal3d.export.queue import LabelQueue
from lidal3d.export.segments_ai import export_segments_ai
from lidal3d.scene.pixels import CAMERA
from lidal3d.scene.scene import Scene

Exporter = Callable[[LabelQueue, Mapping[str, Scene], Path, ExportOptions], None]

WITH_LABELS = ("mmdet3d",)  # formats that carry answers, too
EXPORTERS: dict[str, Exporter] = {
    "point_labeler": export_point_labeler,
    "segments_ai": export_segments_ai,
    "mmdet3d": export_mmdet3d,
    "label_studio": export_label_studio,
}
OF_PICTURES = ("label_studio",)


def refuse_other_sensor(format: str, scenes: Mapping[str, Scene]) -> None:
    """Raise UsageError where a tool cannot show what the drive's frames are: sweeps to one for pictures, or the reverse."""
    for scene in scenes.values():
        if (scene.sensor == CAMERA) != (format in OF_PICTURES):
            what = "pictures" if scene.sensor == CAMERA else "sweeps"
            other = [name for name in EXPORTERS if (name in OF_PICTURES) == (scene.sensor == CAMERA)]
            raise UsageError(f"{format}: scene {scene.id} has {what}, which it cannot show; take {' or '.join(other)}")
