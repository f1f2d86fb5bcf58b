# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""From settings to a partition."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lidal3d.errors import UsageError
from lidal3d.scene.pixels import CAMERA
from lidal3d.scene.scene import Scene
from lidal3d.settings.units import UnitsConfig
from lidal3d.units.base import Partition
from lidal3d.units.grid import GridCells, WholeFrame
from lidal3d.units.kmeans import BalancedKMeans
from lidal3d.units.superpixels import Superpixels
from lidal3d.units.supervoxels import Supervoxels

PARTITIONS: dict[str, Callable[[UnitsConfig], Partition]] = {
    "supervoxels": lambda c: Supervoxels(c.voxel_m, c.widest_m, c.merge_cost, c.min_points),
    "kmeans": lambda c: BalancedKMeans(c.regions, c.size_tolerance),
    "grid": lambda c: GridCells(c.cell_m),
    "frame": lambda c: WholeFrame(),
    "image": lambda c: WholeFrame("image"),
    "superpixels": lambda c: Superpixels(c.superpixels, c.compactness),
}


OF_PICTURES = ("image", "superpixels")


def refuse_other_sensor(config: UnitsConfig, scenes: Sequence[Scene]) -> None:
    """Raise UsageError for units that the drive's frames cannot be cut into: superpixels of sweeps, or the reverse."""
    for scene in scenes:
        pictures = scene.sensor == CAMERA
        if config.kind not in ("frame", *(OF_PICTURES if pictures else PARTITIONS.keys() - set(OF_PICTURES)), "track"):
            what = "pictures" if pictures else "sweeps"
            other = "superpixels or image" if pictures else "supervoxels, or open its pictures as DRIVE@CAMERA"
            raise UsageError(f"units.kind={config.kind}: scene {scene.id} has {what}; take {other}")
        if config.kind == "track" and pictures:
            raise UsageError(f"units.kind=track: scene {scene.id} has pictures; track the sweeps, open it without '@'")


def make_partition(config: UnitsConfig) -> Partition:
    """The partition that `config.kind` names. Raises UsageError for a kind of unit that no single sweep tells.

    >>> make_partition(UnitsConfig(kind="frame")).kind
    'frame'
    """
    if config.kind not in PARTITIONS:
        raise UsageError(
            f"units.kind={config.kind}: these units span sweeps, here one is cut by itself; take another kind"
        )
    return PARTITIONS[config.kind](config)
