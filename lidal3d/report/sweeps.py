# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Cards of units of sweeps: from above, in this frame and in neighbour frames, and as a camera sees them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from html import escape

import numpy as np
import numpy.typing as npt

from lidal3d.export.queue import QueuedUnit, check_indices, frame_of
from lidal3d.predictions.store import PredictionStore
from lidal3d.report.birdseye import class_picture, crop_around, divergence_picture, region_in
from lidal3d.report.camera import best_view, camera_picture
from lidal3d.report.card import Card, CardSettings, Panel, predicted_shares
from lidal3d.report.colors import UNMATCHED, ramp
from lidal3d.report.overlay import birdseye_svg
from lidal3d.report.raster import Crop
from lidal3d.scene.labels import LabelMap
from lidal3d.scene.pose import inverse, transform
from lidal3d.scene.scene import Frame, Scene
from lidal3d.units.boxes import corners_of

NEIGHBOURS = 3
CAMERA_RAMP = 64
NO_CAMERA = Panel('<div class="empty">no camera sees<br>this region</div>', "Camera", "")

# (N,) divergence of every point of a scene's frame, NaN where no neighbour frame sees the point.
PointDivergence = Callable[[Scene, int], npt.NDArray[np.floating]]


def _outline(unit: QueuedUnit, region_xyz: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """What is drawn round a unit: the corners of its box, or its points (K, 3)."""
    return region_xyz if unit.pick.box is None else corners_of(unit.pick.box)


def neighbour_frames(index: int, frames: int, half_window: int) -> list[int]:
    """Up to three frames spread over the window round `index`, without it.

    >>> neighbour_frames(50, 100, 12), neighbour_frames(0, 5, 12), neighbour_frames(0, 1, 12)
    ([42, 51, 59], [1, 3, 4], [])
    """
    window = [i for i in range(max(0, index - half_window), min(frames, index + half_window + 1)) if i != index]
    if len(window) <= NEIGHBOURS:
        return window
    return [window[int((2 * part + 1) * len(window) / (2 * NEIGHBOURS))] for part in range(NEIGHBOURS)]


class SweepDrawer:
    """Draws the cards of units of sweeps, keeping the last frames that were read."""

    def __init__(self, scenes: Mapping[str, Scene], classes: LabelMap, predictions: PredictionStore | None,
                 divergence: PointDivergence | None, settings: CardSettings) -> None:  # fmt: skip
        self.scenes, self.classes, self.predictions, self.settings = scenes, classes, predictions, settings
        self._points = lru_cache(maxsize=8)(lambda scene, index: frame_of(scenes, scene, index).points())
        self._probabilities = lru_cache(maxsize=8)(self._read_probabilities)
        self._divergence = lru_cache(maxsize=1)(
            lambda scene, index: None if divergence is None else divergence(scenes[scene], index)
        )

    def card(self, unit: QueuedUnit) -> Card:
        scene, index = unit.pick.key.scene, unit.pick.key.frame
        frame = frame_of(self.scenes, scene, index)
        xyz = self._points(scene, index)[:, :3]
        check_indices(unit, len(xyz), frame)
        value = self._divergence(scene, index)
        region_xyz = xyz[unit.indices]
        crop = crop_around(_outline(unit, region_xyz), self.settings.crop_m)
        camera = self._camera_panel(frame, unit.indices, None if value is None else value[unit.indices])
        return Card(
            pick=unit.pick,
            range_m=float(np.linalg.norm(region_xyz[:, :2].mean(axis=0))) if len(region_xyz) else 0.0,
            panels=(
                self._divergence_panel(crop, xyz, unit, value),
                *self._class_panels(crop, frame, unit, region_xyz),
                camera or NO_CAMERA,
            ),
            predicted=predicted_shares(unit, self._probabilities(scene, index)),
        )

    def _read_probabilities(self, scene: str, index: int) -> npt.NDArray[np.floating] | None:
        if self.predictions is None:
            return None
        name = frame_of(self.scenes, scene, index).name
        return self.predictions.probabilities(scene, name, len(self._points(scene, index)))

    def _divergence_panel(self, crop: Crop, xyz: npt.NDArray[np.floating], unit: QueuedUnit,
                          value: npt.NDArray[np.floating] | None) -> Panel:  # fmt: skip
        is_region = np.zeros(len(xyz), dtype=bool)
        is_region[unit.indices] = True
        seen = np.flatnonzero(crop.contains(xyz))
        png = divergence_picture(crop, xyz[seen], is_region[seen], None if value is None else value[seen],
                                 self.settings.largest_divergence)  # fmt: skip
        label = f"bird's-eye view of pick {unit.pick.rank} by divergence"
        svg = birdseye_svg(png, crop, label, np.zeros(2), np.array([1.0, 0.0]),
                            _outline(unit, xyz[unit.indices]))  # fmt: skip
        plain = "Region" if unit.pick.box is None else "Box"
        return Panel(svg, plain if value is None else "Divergence", "of this frame")

    def _class_panels(self, crop: Crop, frame: Frame, unit: QueuedUnit,
                      region_xyz: npt.NDArray[np.floating]) -> tuple[Panel, ...]:  # fmt: skip
        if self.predictions is None:
            return ()
        near = neighbour_frames(frame.index, len(frame.scene), self.settings.half_window)
        others = [i for i in near if self.predictions.probabilities_path(frame.scene.id, frame.scene[i].name).is_file()]
        return tuple(self._class_panel(crop, frame, other, unit, region_xyz) for other in (frame.index, *others))

    def _class_panel(self, crop: Crop, frame: Frame, other: int, unit: QueuedUnit,
                     region_xyz: npt.NDArray[np.floating]) -> Panel:  # fmt: skip
        scene = frame.scene
        own_SE3_other = inverse(frame.world_SE3_lidar) @ scene.world_SE3_lidar[other]
        xyz = transform(own_SE3_other, self._points(scene.id, other)[:, :3])
        seen = np.flatnonzero(crop.contains(xyz))
        probabilities = self._probabilities(scene.id, other)
        assert probabilities is not None
        predicted = probabilities[seen].argmax(axis=1)
        if other == frame.index:
            is_region = np.isin(seen, unit.indices)
            title, caption = "This frame", "predicted"
        else:
            is_region = region_in(xyz[seen], region_xyz)
            seconds = (int(scene.timestamps_ns[other]) - frame.timestamp_ns) / 1e9
            title, caption = f"Frame {other - frame.index:+d}", f"{seconds:+.1f} s"
        png = class_picture(crop, xyz[seen], is_region, predicted, self.classes.colors)
        label = f"predicted classes round pick {unit.pick.rank}: {title}, {caption}"
        svg = birdseye_svg(png, crop, label, own_SE3_other[:2, 3], own_SE3_other[:2, 0], region_xyz)
        return Panel(svg, title, caption)

    def _camera_panel(self, frame: Frame, indices: npt.NDArray[np.integer],
                      value: npt.NDArray[np.floating] | None) -> Panel | None:  # fmt: skip
        sweep_xyz = self._points(frame.scene.id, frame.index)[:, :3]
        view = best_view(frame.images(), sweep_xyz, indices) if self.settings.cameras else None
        if view is None or not view.image.path.is_file():
            return None
        colors = np.full((len(indices), 3), ramp(2)[1], dtype=np.uint8)
        if value is not None:
            share = np.clip(np.nan_to_num(value / max(self.settings.largest_divergence, 1e-12)), 0, 1)
            colors = ramp(CAMERA_RAMP)[(share * (CAMERA_RAMP - 1)).astype(np.int64)]
            colors[np.isnan(value)] = UNMATCHED
        uri, (width, height) = camera_picture(view, colors)
        alt = escape(f"camera {view.image.camera} at the region")
        html = f'<img src="{uri}" width="{width}" height="{height}" alt="{alt}" loading="lazy">'
        return Panel(html, "Camera", view.image.camera)
