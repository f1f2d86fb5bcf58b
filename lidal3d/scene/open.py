# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Opening a drive log: the layout is recognised from the path, and no point is read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lidal3d.errors import DataError, UsageError
from lidal3d.scene.labels import LabelMap, load_label_map
from lidal3d.scene.pixels import camera_scenes, split_address
from lidal3d.scene.readers import argoverse2, folder, mmdet3d, nuscenes, pandaset, semantickitti
from lidal3d.scene.readers.base import DriveProblem, Layout, SceneOpener
from lidal3d.scene.scene import Scene

# In the order of asking; the plain folder would take almost anything, so it comes last.
LAYOUTS: Mapping[str, Layout] = {
    layout.name: layout
    for layout in (
        semantickitti.LAYOUT, nuscenes.LAYOUT, argoverse2.LAYOUT, pandaset.LAYOUT, mmdet3d.LAYOUT, folder.LAYOUT,
    )
}  # fmt: skip
NAMELESS = ("mmdet3d", "folder")  # layouts of no one data set: an info file may name its classes, a folder does not


def recognise(path: Path | str, layout: str | None = None) -> Layout:
    """The layout of a path, or the one that was asked for.

    Raises:
        UsageError: no layout has the name asked for.
        DataError: the path is missing or holds none of the known layouts.
    """
    path = Path(path)
    if layout is not None and layout not in LAYOUTS:
        raise UsageError(f"no layout '{layout}' (known: {', '.join(LAYOUTS)})")
    if not path.exists():
        raise DriveProblem("DRIVE-UNRECOGNISED", path, "no such folder; give the folder of a drive log")
    candidates = list(LAYOUTS.values()) if layout is None else [LAYOUTS[layout]]
    try:
        found = next((candidate for candidate in candidates if candidate.recognises(path)), None)
    except OSError as error:
        raise DriveProblem("DRIVE-UNREADABLE", path, f"cannot list its folders ({error})") from None
    if found is None:
        looked_for = "; ".join(f"{candidate.name}: {candidate.looked_for}" for candidate in candidates)
        raise DriveProblem("DRIVE-UNRECOGNISED", path, f"no drive log there (looked for {looked_for})")
    return found


def scene_openers(path: Path | str, layout: str | None = None) -> tuple[Layout, Mapping[str, SceneOpener]]:
    """The layout and, by scene id, what opens each scene; for callers that open scenes one by one."""
    found = recognise(path, layout)
    return found, dict(sorted(found.scenes(Path(path)).items()))


def drive_label_map(layout: Layout, label_map: str | None = None) -> LabelMap | None:
    """The label map of that name, or the layout's own; None where the drive itself may name classes, or nothing does."""
    if label_map is not None:
        return load_label_map(label_map)
    return None if layout.name in NAMELESS else load_label_map(layout.name)


def open_drive(path: Path | str, layout: str | None = None, label_map: str | None = None) -> tuple[Scene, ...]:
    """All scenes of a drive log, by id; folders are listed and poses read, no sweep is.

    Args:
        path: a data set's root, one of its splits, a single sequence or log, or an info file of mmdet3d. With
            "@CAMERA" behind it ("@CAM_FRONT,CAM_BACK:320", "@*") its pictures are the frames, see `scene.pixels`.
        layout: "semantickitti", "nuscenes", "argoverse2", "pandaset", "mmdet3d" or "folder"; recognised from the path when None.
        label_map: a data-set card or variant ("semantickitti-spvnas"); the layout's own when None.

    Raises:
        UsageError: no such layout, label map or camera.
        DataError: no drive log there, or its poses or tables are missing or damaged.
    """
    path, cameras, width = split_address(path)
    found, openers = scene_openers(path, layout)
    names = drive_label_map(found, label_map)
    sweeps = (opener(names) for opener in openers.values())
    return tuple(one for scene in sweeps for one in (camera_scenes(scene, cameras, width) if cameras else [scene]))


def open_scene(
    path: Path | str, scene_id: str | None = None, layout: str | None = None, label_map: str | None = None
) -> Scene:
    """One scene of a drive log: the one with that id, or the only one.

    Raises:
        DataError: no scene has that id, or none was named and there are several.
    """
    found, openers = scene_openers(path, layout)
    if scene_id is None and len(openers) == 1:
        scene_id = next(iter(openers))
    if scene_id is None or scene_id not in openers:
        some = ", ".join(list(openers)[:10]) + (", …" if len(openers) > 10 else "")
        asked = "none was named" if scene_id is None else f"not '{scene_id}'"
        raise DataError(f"{path}: has {len(openers)} scenes ({some}), {asked}; name one of them")
    return openers[scene_id](drive_label_map(found, label_map))
