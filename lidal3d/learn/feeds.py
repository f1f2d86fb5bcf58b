# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Which network, and which Feed for it, goes with which frames."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from lidal3d.errors import DataError, UsageError
from lidal3d.learn.architecture import Architecture
from lidal3d.learn.batch import VOXEL_FEATURES
from lidal3d.learn.feed import Feed
from lidal3d.learn.images.pictures import PICTURE_FEATURES, Pictures
from lidal3d.learn.model import Model
from lidal3d.learn.sweeps import Sweeps
from lidal3d.scene.labels import LabelMap
from lidal3d.scene.pixels import CAMERA
from lidal3d.scene.scene import Frame
from lidal3d.settings.train import TrainConfig


def architecture_for(label_map: LabelMap, config: TrainConfig, frames: Sequence[Frame] = ()) -> Architecture:
    """The network that these settings train for these classes; of pictures unet2d where the setting was left as it is.

    Args:
        label_map: names the classes.
        config: kind of network, width, blocks.
        frames: what is learnt from; none are taken for those that the network is for.

    Raises:
        UsageError: the network is for other frames.
        DataError: there are sweeps and pictures among the frames.
    """
    sensors = {frame.scene.sensor for frame in frames}
    if len(sensors) > 1:
        raise DataError(
            f"sweeps and pictures among the {len(frames)} frames to learn from, a network reads one kind; "
            "train on DRIVE, or on DRIVE@CAMERA"
        )
    cameras = sensors == {CAMERA}
    name = "unet2d" if cameras and config.architecture == "minkunet" else config.architecture
    features = PICTURE_FEATURES if name == "unet2d" else VOXEL_FEATURES
    architecture = Architecture(len(label_map.classes), features, config.width, config.blocks, name)
    if sensors and architecture.of_pictures != cameras:
        found, wanted = ("pictures", "sweeps") if cameras else ("sweeps", "pictures")
        use = "unet2d" if cameras else "minkunet or spvcnn"
        raise UsageError(f"train.architecture {name} reads {wanted}, but the frames are {found}; set it to {use}")
    return architecture


def training_feed(architecture: Architecture, config: TrainConfig) -> Feed:
    """What feeds a network in training."""
    if architecture.of_pictures:
        return Pictures(config.augmentation, config.window_px)
    return Sweeps(config.voxel_m, config.augmentation, config.max_range_m, config.context_m)


def model_feed(model: Model, views: int) -> Feed:
    """What feeds a trained model whose views are averaged; a single one is the frame as it is."""
    return asking_feed(model.network.architecture, model.voxel_m, model.augmentation if views > 1 else "none")


def asking_feed(architecture: Architecture, voxel_m: float, augmentation: str = "none") -> Feed:
    """What feeds a network that is asked about whole frames, by default as they are."""
    return Pictures(augmentation) if architecture.of_pictures else Sweeps(voxel_m, augmentation)


def refuse_other_columns(points: npt.NDArray[np.float32], feed: Feed) -> None:
    """Raise DataError where a frame's points have other columns than a feed reads."""
    wanted = feed.columns.split()
    if points.ndim != 2 or points.shape[1] != len(wanted):
        raise DataError(
            f"points of shape {points.shape}, but the network reads {len(wanted)} columns ({feed.columns}); "
            "give DRIVE to one of sweeps, DRIVE@CAMERA to one of pictures"
        )
