# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Painter: the regions of a picture's annotation in Label Studio as labels of the reduced picture's pixels."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lidal3d.errors import DataError
from lidal3d.export.label_studio import TO_LABEL
from lidal3d.export.outlines import at_centres, filled
from lidal3d.rounds.brush import brush_mask
from lidal3d.scene.labels import IGNORE
from lidal3d.scene.scene import CameraImage

POLYGON, BRUSH = "polygonlabels", "brushlabels"
EXPORT_AGAIN = "export from Label Studio again, as JSON"


@dataclass(frozen=True)
class Painter:
    """Paints the regions of one picture.

    Attributes:
        where: file and task, for errors.
        image: the picture as it was taken.
        height, width: of the reduced picture.
        classes: a label is a place here.
    """

    where: str
    image: CameraImage
    height: int
    width: int
    classes: Sequence[str]

    def paint(self, regions: Sequence[Any]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
        """Train ids (N,) of the reduced picture's pixels, 255 where no class was painted, and where `to_label` still lies.

        Raises:
            DataError: a damaged region, one of another picture, or a class that is none.
        """
        painted = np.full((self.height, self.width), IGNORE, np.uint8)
        waiting = np.zeros((self.height, self.width), bool)
        for region in regions:
            self._paint(region, painted, waiting)
        return painted.ravel(), waiting.ravel()

    def _paint(self, region: Any, painted: npt.NDArray[np.uint8], waiting: npt.NDArray[np.bool_]) -> None:
        try:
            name = self._class_name(region)
            if name is None:
                return
            self._refuse_other_picture(region)
            if name == TO_LABEL:
                waiting |= self._mask(region)
            else:
                painted[self._mask(region)] = self._train_id(region, name)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise self._fault(region, f"damaged ({error!r}); {EXPORT_AGAIN}") from None

    def _class_name(self, region: dict[str, Any]) -> str | None:
        """The class that a region gives, `to_label` for one that still waits, or None for what is no region."""
        kind, value = region["type"], region.get("value", {})
        if kind not in (POLYGON, BRUSH):
            if kind.endswith("labels"):
                raise self._fault(region, f"of type {kind}; draw polygons or use the brush")
            return None  # a comment, a choice
        names = value.get(kind) or [TO_LABEL]  # whose class was taken away waits too
        if len(names) > 1:
            raise self._fault(region, f"has {len(names)} classes ({', '.join(names)}); leave it one")
        return str(names[0])

    def _mask(self, region: dict[str, Any]) -> npt.NDArray[np.bool_]:
        value = region["value"]
        if region["type"] == POLYGON:
            percent = np.array(value["points"], np.float64)
            if percent.ndim != 2 or percent.shape[1] != 2 or not np.isfinite(percent).all():
                raise self._fault(region, f"corners of shape {percent.shape}, expected (K, 2) numbers; draw it again")
            return filled(percent / 100 * [self.width, self.height], self.height, self.width)
        if value.get("format") != "rle":
            raise self._fault(region, f"a mask as {value.get('format')!r}, expected 'rle'; {EXPORT_AGAIN}")
        try:
            mask = brush_mask(value["rle"], self.image.width, self.image.height)
        except ValueError as error:
            raise self._fault(region, f"a damaged mask: its RLE {error}; {EXPORT_AGAIN}") from None
        return at_centres(mask, self.width, self.height)

    def _train_id(self, region: dict[str, Any], name: str) -> int:
        if name in self.classes:
            return self.classes.index(name)
        near = difflib.get_close_matches(name, self.classes, n=1, cutoff=0.4)
        hint = f"the nearest is '{near[0]}'" if near else f"known: {', '.join(self.classes)}"
        raise self._fault(region, f"class '{name}' is none of the queue's {len(self.classes)} ({hint}); rename it")

    def _refuse_other_picture(self, region: dict[str, Any]) -> None:
        size, own = (region["original_width"], region["original_height"]), (self.image.width, self.image.height)
        if size != own:
            raise self._fault(
                region,
                f"drawn in a picture of {size[0]} × {size[1]}, the drive's {self.image.path.name} has "
                f"{own[0]} × {own[1]}; label the exported pictures",
            )
        if region.get("image_rotation", 0) != 0:
            angle = region["image_rotation"]
            raise self._fault(region, f"drawn in a picture rotated by {angle} degrees, not 0; rotate it back")

    def _fault(self, region: Any, what: str) -> DataError:
        name = region.get("id", "?") if isinstance(region, dict) else "?"
        return DataError(f"{self.where}: region {name}: {what}")
