# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""The job behind `lidal3d export`: a manifest and its drive in, a labelling tool's input out."""

from __future__ import annotations

import difflib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from lidal3d.errors import DataError, UsageError
from lidal3d.export.exporters import EXPORTERS, WITH_LABELS, refuse_other_sensor
from lidal3d.export.options import ExportOptions
from lidal3d.export.queue import LabelQueue, label_queue
from lidal3d.files import replacing_folder
from lidal3d.jobs.select import source_paths
from lidal3d.scene.open import open_drive
from lidal3d.select.manifest import FILES, read_manifest, read_pseudo_points

COPY = "manifest"  # not a tool: the manifest itself, without the one file that names paths
FORMATS = (*EXPORTERS, COPY)


def export_job(
    selection_folder: Path,
    out: Path,
    format: str,
    drive: Path | None = None,
    options: ExportOptions | None = None,
    *,
    layout: str | None = None,
    label_map: str | None = None,
    overwrite: bool = False,
) -> LabelQueue:
    """Write the queue of a manifest for a labelling tool to the folder `out`, all of it or nothing.

    Args:
        format: one of `FORMATS`.
        drive: where the drive lies now, when not where the manifest's source.yaml says.
        options: context frames, cameras, URL prefix; the classes come from the manifest.
        overwrite: replace what lies in `out`; without it a folder with files in it is refused, as it may hold answers.

    Returns:
        What was exported.

    Raises:
        UsageError: an unknown format, labels for one that carries none, one that cannot show the drive's frames, or an
            `out` that holds files.
        DataError: manifest or drive are missing, damaged, or don't fit each other.
    """
    selection_folder, out = Path(selection_folder), Path(out)
    if format not in FORMATS:
        near = difflib.get_close_matches(format, FORMATS, n=1, cutoff=0.4)
        hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(FORMATS)}"
        raise UsageError(f"no export format '{format}' ({hint})")
    if options is not None and options.labels is not None and format not in WITH_LABELS:
        raise UsageError(f"--labels: {format} carries no answers (known: {', '.join(WITH_LABELS)}); leave it out")
    refuse_full_folder(out, overwrite)
    queue = read_queue(selection_folder)
    if format == COPY:
        write_whole(out, lambda folder: _copy_manifest(selection_folder, folder))
        return queue
    source = source_paths(selection_folder, drive, None)
    scenes = {scene.id: scene for scene in open_drive(Path(source["drive"]), layout, label_map)}
    refuse_other_sensor(format, scenes)
    chosen = replace(options or ExportOptions(), predicted_classes=manifest_classes(selection_folder))
    write_whole(out, lambda folder: EXPORTERS[format](queue, scenes, folder, chosen))
    return queue


def read_queue(selection_folder: Path) -> LabelQueue:
    """A manifest with the points of its picks. Raises DataError naming the file that is missing or damaged."""
    manifest, assumed = read_manifest(selection_folder), read_pseudo_points(selection_folder)
    return label_queue(
        manifest.selection,
        [manifest.points[i] for i in range(len(manifest.points))],
        manifest.pseudo,
        [assumed[i] for i in range(len(assumed))],
        [assumed.labels_of(i) for i in range(len(assumed))],
    )


def manifest_classes(selection_folder: Path) -> tuple[str, ...]:
    """What the manifest's train ids mean; empty where it doesn't say. Raises DataError when it is damaged."""
    path = selection_folder / "summary.json"
    try:
        return tuple(map(str, json.loads(path.read_text(encoding="utf-8")).get("classes", ())))
    except (OSError, ValueError, AttributeError) as error:
        raise DataError(f"{path}: not a manifest's summary ({str(error).splitlines()[0]}); select again") from None


def refuse_full_folder(out: Path, overwrite: bool = False) -> None:
    """Raise UsageError when `out` is a file, or holds files that nobody allowed to replace."""
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out}: is a file; choose another --out")
    held = sorted(path.name for path in out.glob("*")) if out.exists() and not overwrite else []
    if held:
        raise UsageError(
            f"{out}: holds {len(held)} files ({held[0]}, …), answers may be among them; choose another --out"
        )


def write_whole(out: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a folder that becomes `out` when it is whole. Raises DataError when the disk refuses."""
    with replacing_folder(out) as folder:
        write(folder)


def _copy_manifest(selection_folder: Path, folder: Path) -> None:
    for name in FILES:
        if name != "source.yaml" and (selection_folder / name).is_file():
            shutil.copyfile(selection_folder / name, folder / name)
