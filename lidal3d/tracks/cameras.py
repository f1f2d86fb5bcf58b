# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Tracks in the cameras' pictures: which pixels show a track, and the crop round it, where nothing nearer hides it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lidal3d.errors import DataError
from lidal3d.scene.projection import project, visible_pixels
from lidal3d.scene.scene import CameraImage, Scene
from lidal3d.tracks.store import TrackStore

MARGIN = 0.1  # of the box's width and height, on each side: points end a little inside a thing's outline
REACH_PIXELS = 4.0  # what lies between two beams belongs to the nearest point

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Patches:
    """The K tracks that a picture shows, by id.

    Attributes:
        track: (K,) int32.
        box: (K, 4) int64 left, top, right, bottom in pixels of the picture as it was taken; right and bottom lie outside.
        points: (K,) points of each that the camera sees.
        hidden: (K,) share of its points within the picture that something nearer hides.
    """

    track: Int32
    box: Int64
    points: Int64
    hidden: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.track)


@dataclass(frozen=True)
class TrackPatch:
    """One track in one picture; as `Patches`, with the frame's index and the picture."""

    frame: int
    image: CameraImage
    box: tuple[int, int, int, int]
    points: int
    hidden: float


def patches_in(
    image: CameraImage, xyz_lidar: npt.NDArray[np.floating], ids: Int32, min_points: int = 5, margin: float = MARGIN
) -> Patches:
    """The tracks in a picture.

    Args:
        xyz_lidar: (N, 3) all points of the sweep, metres: what has no track hides things too.
        ids: (N,) track of each, −1 for none.
        min_points: tracks of which the camera sees fewer points are left out.
        margin: what is added to the points' extent on each side, as a share of it.
    """
    pixels, _, seen = visible_pixels(image, xyz_lidar)
    inside = project(image, xyz_lidar)[2] & (ids >= 0)
    seen &= inside
    track, place, points = np.unique(ids[seen], return_inverse=True, return_counts=True)
    low, high = np.full((len(track), 2), np.inf), np.full((len(track), 2), -np.inf)
    np.minimum.at(low, place, pixels[seen])
    np.maximum.at(high, place, pixels[seen])
    more = margin * (high - low)
    size = np.array([image.width, image.height])
    corners = [np.clip(np.floor(low - more), 0, size - 1), np.clip(np.floor(high + more) + 1, 1, size)]
    of_all = np.bincount(ids[inside], minlength=int(track.max(initial=-1)) + 1)[track]
    kept = points >= min_points
    return Patches(
        track[kept].astype(np.int32), np.concatenate(corners, axis=1).astype(np.int64)[kept],
        points[kept].astype(np.int64), (1 - points / np.maximum(of_all, 1))[kept],
    )  # fmt: skip


def patches_of_scene(
    scene: Scene, store: TrackStore, min_points: int = 5
) -> Iterator[tuple[int, CameraImage, Patches]]:
    """(frame index, picture, its patches) of every picture of a scene of sweeps, one sweep in memory at a time.

    Raises:
        DataError: a sweep or its tracks are missing or damaged.
    """
    for frame in scene:
        images = frame.images()
        if images:
            points = frame.points()
            ids = store.ids(scene.id, frame.name, len(points))
            for image in images:
                yield frame.index, image, patches_in(image, points[:, :3], ids, min_points)


def patches_of_track(scene: Scene, store: TrackStore, track: int, min_points: int = 5) -> list[TrackPatch]:
    """A track in all pictures that show it, by frame and camera.

    Raises:
        DataError: the scene has no such track, or a sweep or its tracks are missing or damaged.
    """
    path = store.path(scene.id)
    frames = path.frame[path.track == track]
    if not len(frames):
        raise DataError(f"{store.table_path(scene.id)}: no track {track}; name one of its column 'track'")
    found = []
    for index in frames.tolist():
        frame = scene[index]
        points = frame.points()
        ids = store.ids(scene.id, frame.name, len(points))
        own = np.where(ids == track, ids, np.int32(-1))
        for image in frame.images():
            patches = patches_in(image, points[:, :3], own, min_points)
            for row in range(len(patches)):
                left, top, right, bottom = patches.box[row].tolist()
                hidden = float(patches.hidden[row])
                box = (left, top, right, bottom)
                found.append(TrackPatch(index, image, box, int(patches.points[row]), hidden))
    return found


def pixel_tracks(
    image: CameraImage,
    xyz_lidar: npt.NDArray[np.floating],
    ids: Int32,
    size: tuple[int, int],
    reach_pixels: float = REACH_PIXELS,
) -> Int32:
    """(height, width) the track of each pixel: that of the nearest point that the camera sees; −1 where none is near.

    Args:
        xyz_lidar, ids: (N, 3) and (N,), as in `patches_in`; a pixel next to a point without a track has none.
        size: (width, height) of the picture, which may be reduced.
        reach_pixels: how near the point has to be, in pixels of `size`.
    """
    from scipy.ndimage import distance_transform_edt

    width, height = size
    pixels, depth, seen = visible_pixels(image, xyz_lidar)
    at = (pixels[seen] * np.array([width / image.width, height / image.height])).astype(np.int64)
    column, row = np.minimum(at, [width - 1, height - 1]).T
    far_first = np.argsort(-depth[seen], kind="stable")  # of several points in a pixel the nearest one stays
    result, known = np.full((height, width), -1, np.int32), np.zeros((height, width), bool)
    result[row[far_first], column[far_first]] = ids[seen][far_first]
    known[row, column] = True
    if not known.any():
        return result
    apart, nearest = distance_transform_edt(~known, return_indices=True)
    return np.where(apart <= reach_pixels, result[tuple(nearest)], np.int32(-1))
