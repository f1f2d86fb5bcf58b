# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""The cameras of a drive as scenes of their own: a frame is a picture, and its pixels are what points are in a sweep.

`open_drive("DRIVE@CAMERA")` opens them, so whatever takes a drive takes its pictures too. A picture is reduced to a
width first: of that size are its pixels, their labels and what is predicted of them. Rows of `Frame.points()` are
(N, 5): column, row, red, green, blue, with N = H·W pixels row by row and colours from 0 to 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lidal3d.errors import DataError, UsageError
from lidal3d.scene.pose import Float64, inverse, transform
from lidal3d.scene.projection import visible_pixels
from lidal3d.scene.readers.base import DriveProblem
from lidal3d.scene.scene import CameraImage, Frame, Scene

ANY = "*"  # in place of a camera's name: all there are
WIDTH = 480
COLUMNS = 5
CAMERA = "camera"  # Scene.sensor
# Where no LiDAR point tells how far a picture's things are.
USUAL_DEPTH_M = 20.0


def is_picture(points: npt.NDArray[np.float32]) -> bool:
    """Whether a frame's points (N, 5) are pixels; those of a sweep are (N, 4)."""
    return points.ndim == 2 and points.shape[1] == COLUMNS


def picture_shape(points: npt.NDArray[np.float32]) -> tuple[int, int]:
    """(H, W) of a picture's pixels (N, 5). Raises DataError where they are no whole picture, row by row."""
    if not is_picture(points) or not len(points):
        raise DataError(f"pixels of shape {points.shape}, expected (H·W, {COLUMNS}); give camera frames")
    width, height = int(points[-1, 0]) + 1, int(points[-1, 1]) + 1
    if width * height != len(points):
        raise DataError(f"{len(points)} pixels for a picture of {width} × {height}; give whole pictures, row by row")
    return height, width


def picture_of(points: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The picture (H, W, 3), colours from 0 to 1, of its pixels (N, 5). Raises DataError as `picture_shape`."""
    return points[:, 2:].reshape(*picture_shape(points), 3)


@dataclass(frozen=True)
class PixelSource:
    """The contents of one camera's pictures.

    Attributes:
        sweeps: the scene whose sweeps the pictures were taken with.
        frames: of each picture the index of its sweep.
        camera: its name.
        width: pixels that a picture is reduced to, where it is wider.
    """

    sweeps: Scene
    frames: tuple[int, ...]
    camera: str
    width: int

    def image(self, index: int) -> CameraImage:
        """The picture as it was taken."""
        found = (image for image in self.sweeps[self.frames[index]].images() if image.camera == self.camera)
        return next(found)

    def images(self, index: int) -> tuple[CameraImage, ...]:
        """Of one frame its one picture."""
        return (self.image(index),)

    def points_path(self, index: int) -> Path:
        """The picture's file."""
        return self.image(index).path

    def labels_path(self, index: int) -> Path | None:
        """The 16-bit picture of raw class ids beside it, as simulated drives have one, or None."""
        path = pixel_labels_path(self.points_path(index))
        return path if path is not None and path.is_file() else None

    def read_points(self, index: int) -> npt.NDArray[np.float32]:
        """(N, 5) float32. Raises DataError naming the file."""
        image = self.image(index)
        width, height = reduced_size(image, self.width)
        row, column = np.mgrid[:height, :width]
        colors = read_reduced(image.path, width, height)
        return np.column_stack([column.ravel(), row.ravel(), colors.reshape(-1, 3)]).astype(np.float32)

    def read_labels(self, index: int) -> npt.NDArray[np.uint32] | None:
        """(N,) raw ids of the reduced picture's pixels, or None. Raises DataError naming the file."""
        path = self.labels_path(index)
        if path is None:
            return None
        image = self.image(index)
        raw = _read_ids(path)
        if raw.shape != (image.height, image.width):
            raise DataError(
                f"{path}: {raw.shape[1]} × {raw.shape[0]} labels for a picture of {image.width} × {image.height}"
            )
        width, height = reduced_size(image, self.width)
        column = ((np.arange(width) + 0.5) * image.width / width).astype(np.int64)
        row = ((np.arange(height) + 0.5) * image.height / height).astype(np.int64)
        return raw[row[:, None], column[None, :]].ravel().astype(np.uint32)

    def read_instances(self, index: int) -> npt.NDArray[np.uint32] | None:
        """None: no layout has instances of pixels."""
        return None

    def xyz_lidar(self, index: int, points: npt.NDArray[np.float32]) -> Float64:
        """(N, 3) where the pixels' things are, in the coordinates of the sweep, metres.

        Each pixel has the depth of the nearest pixel with a LiDAR point in it; 20 m where the sweep has none in view.
        """
        from scipy.ndimage import distance_transform_edt

        image = self.image(index)
        height, width = picture_shape(points)
        pixels, depth, seen = visible_pixels(image, self.sweeps[self.frames[index]].points()[:, :3])
        scale = np.array([width / image.width, height / image.height])
        known = np.full((height, width), np.inf)
        column, row = np.minimum((pixels[seen] * scale).astype(np.int64), [width - 1, height - 1]).T
        np.minimum.at(known, (row, column), depth[seen])
        if np.isfinite(known).any():
            nearest = distance_transform_edt(~np.isfinite(known), return_distances=False, return_indices=True)
            known = known[tuple(nearest)]
        else:
            known[:] = USUAL_DEPTH_M
        centers = np.column_stack([(points[:, :2].astype(np.float64) + 0.5) / scale, np.ones(len(points))])
        camera_xyz = np.linalg.solve(image.intrinsics, centers.T).T * known.ravel()[:, None]
        return transform(inverse(image.camera_SE3_lidar), camera_xyz)


def pixel_labels_path(image: Path) -> Path | None:
    """Where simulated drives keep a picture's classes: image_2/X.png -> semantics_2/X.png, CAM/X.jpg -> semantics/CAM/X.png."""
    folder = image.parent.name
    if folder.startswith("image_"):
        return image.parent.parent / folder.replace("image", "semantics", 1) / f"{image.stem}.png"
    if folder.startswith("CAM_"):
        return image.parent.parent.parent / "semantics" / folder / f"{image.stem}.png"
    return None


def reduced_size(image: CameraImage, width: int) -> tuple[int, int]:
    """(width, height) that a picture is worked on in."""
    width = min(width, image.width)
    return width, max(1, round(image.height * width / image.width))


def xyz_of_pixels(frame: Frame, points: npt.NDArray[np.float32]) -> Float64:
    """(N, 3) where the pixels of a camera frame are, in the coordinates of its sweep."""
    assert isinstance(frame.scene.source, PixelSource)
    return frame.scene.source.xyz_lidar(frame.index, points)


def sweep_of(frame: Frame) -> Frame:
    """The sweep that a camera frame was taken with; a sweep itself."""
    source = frame.scene.source
    return source.sweeps[source.frames[frame.index]] if isinstance(source, PixelSource) else frame


def drive_scene_id(scene: Scene) -> str:
    """The id of the scene that a camera's scene was made of; a scene's own otherwise."""
    return scene.source.sweeps.id if isinstance(scene.source, PixelSource) else scene.id


def camera_scenes(sweeps: Scene, cameras: Sequence[str], width: int = WIDTH) -> list[Scene]:
    """One scene a camera, of the frames that have its picture; a picture that several sweeps share counts once.

    Args:
        cameras: names, or "*" for all.

    Raises:
        UsageError: no such camera, or no picture at all.
    """
    by_camera: dict[str, list[tuple[int, CameraImage]]] = {}
    for frame in sweeps:
        for image in frame.images():
            by_camera.setdefault(image.camera, []).append((frame.index, image))
    if not by_camera:
        raise UsageError(f"{sweeps.root}: scene {sweeps.id} has no camera images; open the drive without '@'")
    for camera in cameras:
        if camera != ANY and camera not in by_camera:
            raise UsageError(
                f"{sweeps.root}: no camera '{camera}' in scene {sweeps.id} (there: {', '.join(by_camera)})"
            )
    wanted = list(by_camera) if ANY in cameras else list(dict.fromkeys(cameras))
    return [_camera_scene(sweeps, camera, by_camera[camera], width) for camera in wanted]


def _camera_scene(sweeps: Scene, camera: str, images: Sequence[tuple[int, CameraImage]], width: int) -> Scene:
    once = [pair for i, pair in enumerate(images) if i == 0 or pair[1].path != images[i - 1][1].path]
    frames = tuple(index for index, _ in once)
    rows = np.array(frames, np.int64)
    return Scene(
        id=f"{sweeps.id}.{camera}",
        dataset=sweeps.dataset,
        root=sweeps.root,
        frame_names=tuple(sweeps.frame_names[index] for index in frames),
        timestamps_ns=np.array([image.timestamp_ns for _, image in once], np.int64),
        world_SE3_lidar=sweeps.world_SE3_lidar[rows],
        is_key_frame=sweeps.is_key_frame[rows],
        label_map=sweeps.label_map,
        source=PixelSource(sweeps, frames, camera, width),
        sensor=CAMERA,
    )


def split_address(path: Path | str) -> tuple[Path, tuple[str, ...], int]:
    """Path of the drive, names of cameras and width of "DRIVE@CAMERA,CAMERA:WIDTH"; no camera of a plain path.

    Raises:
        UsageError: a width that is no number of pixels.
    """
    text = str(path)
    drive, at, cameras = text.rpartition("@")
    if not at or Path(text).exists():
        return Path(text), (), WIDTH
    names, colon, width = cameras.partition(":")
    if colon and (not width.isdigit() or int(width) < 16):
        raise UsageError(f"{text}: width '{width}' of the pictures; give 16 or more pixels, as in DRIVE@{names}:480")
    if not names or "/" in names:
        return Path(text), (), WIDTH
    return Path(drive), tuple(names.split(",")), int(width) if colon else WIDTH


def read_reduced(path: Path, width: int, height: int) -> npt.NDArray[np.float32]:
    """A picture (height, width, 3) of that size, colours from 0 to 1. Raises DataError naming the file."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as picture:
            small = picture.convert("RGB").resize((width, height), Image.Resampling.BOX)
            return np.asarray(small, np.float32) / np.float32(255)
    except FileNotFoundError:
        raise DriveProblem("IMAGE-MISSING", path, "missing; copy it from the data set") from None
    except (OSError, UnidentifiedImageError) as error:
        raise DriveProblem("IMAGE-UNREADABLE", path, f"not a whole image ({error})") from None


def _read_ids(path: Path) -> npt.NDArray[np.uint32]:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as picture:
            ids = np.asarray(picture)
    except (OSError, UnidentifiedImageError) as error:
        raise DataError(f"{path}: not a whole image of class ids ({error})") from None
    if ids.ndim != 2:
        raise DataError(f"{path}: a picture of shape {ids.shape}, expected one class id a pixel")
    return ids.astype(np.uint32)
