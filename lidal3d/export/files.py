# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Copying sweeps and camera pictures into an export, with errors for people."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lidal3d.errors import DataError
from lidal3d.scene.scene import CameraImage

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg")


def write_kitti_points(path: Path, points: npt.NDArray[np.float32]) -> None:
    """Write points (N, 4) as KITTI's .bin: float32 x, y, z, intensity, little endian, no header."""
    path.parent.mkdir(parents=True, exist_ok=True)
    points.astype("<f4").tofile(path)


def copy_picture(image: CameraImage, folder: Path, stem: str) -> Path:
    """Copy a camera picture to `folder`/`stem`.png or .jpg; another format is converted to PNG. Returns its path.

    Copied, not linked: a queue must survive being moved to the labeller's machine.
    """
    folder.mkdir(parents=True, exist_ok=True)
    suffix = image.path.suffix.lower()
    try:
        if suffix in PICTURE_SUFFIXES:
            target = folder / f"{stem}{'.jpg' if suffix == '.jpeg' else suffix}"
            shutil.copyfile(image.path, target)
        else:
            target = folder / f"{stem}.png"
            _convert(image.path, target)
    except FileNotFoundError:
        raise DataError(f"{image.path}: the camera picture is missing; export without cameras") from None
    return target


def _convert(source: Path, target: Path) -> None:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(source) as picture:
            picture.convert("RGB").save(target)
    except UnidentifiedImageError:
        raise DataError(f"{source}: not a picture that Pillow reads; export without cameras") from None
