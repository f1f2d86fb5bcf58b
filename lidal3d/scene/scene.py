# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Scene and Frame: one recorded drive, opened lazily. Conventions are stated here once.

Points are in the sensor frame, x forward, y left, z up, metres; a reader whose data set uses other axes rotates the
points and its poses alike. Poses are float64 and `world_SE3_lidar` maps lidar to world coordinates. Times are integer
nanoseconds. Shapes: N points, C classes, T frames.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from lidal3d.scene.labels import LabelMap
from lidal3d.scene.pose import Float64, inverse, transform


@dataclass(frozen=True)
class CameraImage:
    """One camera image near a sweep in time.

    Attributes:
        camera: the camera's name in the data set ("image_2", "CAM_FRONT").
        path: the image file.
        timestamp_ns: when it was taken.
        intrinsics: 3×3 pinhole matrix, pixels; camera axes are x right, y down, z forward.
        camera_SE3_lidar: lidar coordinates at the sweep's time to camera coordinates at the image's time (the ego
            motion between the two is inside, where the data set gives poses for both).
        width, height: pixels.
    """

    camera: str
    path: Path
    timestamp_ns: int
    intrinsics: Float64
    camera_SE3_lidar: Float64
    width: int
    height: int

    def load(self) -> npt.NDArray[np.uint8]:
        """The picture, (height, width, 3) RGB."""
        from PIL import Image

        with Image.open(self.path) as image:
            return np.asarray(image.convert("RGB"))


class FrameSource(Protocol):
    """What a reader implements: the contents of frame `index`, read when asked. Must survive pickling cheaply."""

    def points_path(self, index: int) -> Path:
        """The file with the points, whether or not it exists."""

    def labels_path(self, index: int) -> Path | None:
        """The file with per-point labels, or None where the frame has none."""

    def read_points(self, index: int) -> npt.NDArray[np.float32]:
        """(N, 4) float32: x, y, z, intensity. Raises DataError naming the file."""

    def read_labels(self, index: int) -> npt.NDArray[np.uint32] | None:
        """(N,) raw semantic ids as the data set numbers them, or None. Raises DataError naming the file."""

    def read_instances(self, index: int) -> npt.NDArray[np.uint32] | None:
        """(N,) instance ids, 0 for none, or None where the data set has no instances."""

    def images(self, index: int) -> tuple[CameraImage, ...]:
        """The camera images nearest in time, their pixels unread; empty where there are no cameras."""


@dataclass(frozen=True)
class Scene:
    """One recorded drive: an ordered run of frames in one world frame. Opening one reads no point.

    Attributes:
        id: the scene's name, unique in its drive log ("00", "scene-0061").
        dataset: the layout it was read from ("semantickitti", "nuscenes", "argoverse2", "pandaset",
            "mmdet3d", "folder").
        root: the path it was opened from.
        frame_names: T names, unique in the scene, in time order; a prediction's file is named so.
        timestamps_ns: (T,) int64.
        world_SE3_lidar: (T, 4, 4) float64 as recorded.
        is_key_frame: (T,) bool; only key frames can be sent to labelling.
        label_map: raw ids -> train ids, or None where the data set has no classes.
        source: reads the frames' contents.
        sensor: "lidar", or "camera" where the frames are pictures, see `lidal3d.scene.pixels`.
    """

    id: str
    dataset: str
    root: Path
    frame_names: tuple[str, ...]
    timestamps_ns: npt.NDArray[np.int64]
    world_SE3_lidar: Float64
    is_key_frame: npt.NDArray[np.bool_]
    label_map: LabelMap | None
    source: FrameSource
    sensor: str = "lidar"

    @property
    def scene_SE3_lidar(self) -> Float64:
        """(T, 4, 4) poses relative to the first one: small numbers, safe to become float32 after use."""
        return inverse(self.world_SE3_lidar[0]) @ self.world_SE3_lidar

    def __len__(self) -> int:
        return len(self.frame_names)

    def __getitem__(self, index: int) -> Frame:
        if not 0 <= index < len(self):
            raise IndexError(f"scene {self.id} has {len(self)} frames, frame {index} was asked for")
        return Frame(self, index)

    def __iter__(self) -> Iterator[Frame]:
        return (Frame(self, index) for index in range(len(self)))


@dataclass(frozen=True)
class Frame:
    """One LiDAR sweep of a scene; everything with points in it is read at each call, nothing is kept."""

    scene: Scene
    index: int

    @property
    def name(self) -> str:
        """The frame's name, unique in its scene."""
        return self.scene.frame_names[self.index]

    @property
    def timestamp_ns(self) -> int:
        """When the sweep was taken, integer nanoseconds."""
        return int(self.scene.timestamps_ns[self.index])

    @property
    def world_SE3_lidar(self) -> Float64:
        """(4, 4) float64 pose as recorded."""
        return self.scene.world_SE3_lidar[self.index]

    @property
    def is_key_frame(self) -> bool:
        """Whether this sweep can be sent to labelling."""
        return bool(self.scene.is_key_frame[self.index])

    @property
    def has_labels(self) -> bool:
        """Whether a label file exists for this frame (it is not read)."""
        return self.scene.source.labels_path(self.index) is not None

    def points(self) -> npt.NDArray[np.float32]:
        """(N, 4) float32: x, y, z in metres in the sensor frame, intensity; of a picture (N, 5), see `scene.pixels`."""
        return self.scene.source.read_points(self.index)

    def positions(self, points: npt.NDArray[np.float32]) -> Float64:
        """(N, 3) where the frame's points or pixels are, in the scene's frame (its first lidar pose), metres.

        Pixels are where the LiDAR says that what they show is.
        """
        from lidal3d.scene.pixels import CAMERA, xyz_of_pixels

        xyz_lidar = xyz_of_pixels(self, points) if self.scene.sensor == CAMERA else points[:, :3]
        return transform(self.scene.scene_SE3_lidar[self.index], xyz_lidar)

    def ranges(self, points: npt.NDArray[np.float32], xyz_scene: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
        """(N,) distances from the sensor in metres, given `positions`; a pixel's from the sensor of its sweep."""
        from lidal3d.scene.pixels import CAMERA

        seen_from = self.scene.scene_SE3_lidar[self.index, :3, 3]
        local = xyz_scene - seen_from if self.scene.sensor == CAMERA else points[:, :3]
        return np.linalg.norm(local, axis=1).astype(np.float32)

    def sweep(self) -> Frame:
        """The sweep that a picture was taken with; a sweep itself."""
        from lidal3d.scene.pixels import sweep_of

        return sweep_of(self)

    def raw_labels(self) -> npt.NDArray[np.uint32] | None:
        """(N,) semantic ids as the data set numbers them, or None."""
        return self.scene.source.read_labels(self.index)

    def labels(self) -> npt.NDArray[np.uint8] | None:
        """(N,) train ids, 255 where ignored, or None where the frame has no labels or the data set no classes."""
        raw = self.raw_labels()
        return None if raw is None or self.scene.label_map is None else self.scene.label_map.to_train(raw)

    def instances(self) -> npt.NDArray[np.uint32] | None:
        """(N,) instance ids, 0 for none, or None."""
        return self.scene.source.read_instances(self.index)

    def images(self) -> tuple[CameraImage, ...]:
        """The camera images nearest in time, pixels unread."""
        return self.scene.source.images(self.index)
