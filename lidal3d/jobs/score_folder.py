# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""The results folder of a scoring run: parts that survive a kill, and the table made of them.

    OUT/run.json                          what the parts were made with; a folder of other settings is refused
    OUT/parts/SCENE/000000-000049.arrow   one part for each 50 frames, written whole; what is there is not done again
    OUT/failed.jsonl                      frames that could not be read (only with keep_going)
    OUT/scores.parquet, config.yaml, source.yaml    the table, when every part is there

Everything is written beside its place and renamed into it: a kill at any moment costs at most the open parts.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lidal3d.errors import DataError
from lidal3d.files import fingerprint, write_json, write_text
from lidal3d.predictions.store import PredictionStore
from lidal3d.scene.scene import Scene
from lidal3d.scores.table import ScoreTable, concatenate


@dataclass(frozen=True)
class Part:
    """Frames first … stop−1 of a scene: what one part file holds."""

    scene: str
    first: int
    stop: int

    def path(self, folder: Path) -> Path:
        """Where the part lies in a results folder."""
        return folder / "parts" / self.scene / f"{self.first:06d}-{self.stop - 1:06d}.arrow"

    def failed_path(self, folder: Path) -> Path:
        """Where the frames lie that could not be read while the part was made; written before the part."""
        return self.path(folder).with_suffix(".failed.json")


@dataclass(frozen=True)
class ScoreResult:
    """The table (None while parts of other shards are missing), and the frames that could not be read."""

    table: ScoreTable | None
    failed: tuple[dict[str, Any], ...]


def all_parts(scenes: Sequence[Scene], frames_a_part: int) -> list[Part]:
    """The parts of a drive, in order of scene and frame."""
    return [
        Part(scene.id, first, min(first + frames_a_part, len(scene)))
        for scene in sorted(scenes, key=lambda scene: scene.id)
        for first in range(0, len(scene), frames_a_part)
    ]


def merge_scores(folders: Sequence[Path], out: Path) -> ScoreResult:
    """Put the shards of one scoring run together; the same bytes as one run would have written.

    Raises:
        DataError: a folder holds no scores or those of other settings, or parts are missing (how many is said).
    """
    runs = [_read_run(folder) for folder in folders]
    for folder, run in zip(folders, runs, strict=True):
        if run != runs[0]:
            raise DataError(f"{folder}: scored with other settings or another drive than {folders[0]}; cannot merge")
    finished = [folder for folder in folders if (folder / "scores.parquet").is_file()]
    if finished:
        table, failures = ScoreTable.read(finished[0] / "scores.parquet"), _known_failures(finished[0])
        _copy_notes(finished[0], out)
        _write_failures(failures, out)
        table.write(out / "scores.parquet")
        return ScoreResult(table, failures)
    parts = [Part(*part) for part in runs[0]["parts"]]
    missing = [part for part in parts if _find(part, folders) is None]
    if missing:
        raise DataError(
            f"{folders[0]}: {len(parts) - len(missing)} of {len(parts)} parts there (first missing: scene "
            f"{missing[0].scene}, frames {missing[0].first}-{missing[0].stop - 1}); run the other shards first"
        )
    _copy_notes(folders[0], out)
    return finish(folders, parts, out)


def claim_folder(out: Path, metadata: dict[str, Any], parts: list[Part], predictions: PredictionStore) -> None:
    """Note what the folder's parts are made with, or refuse a folder whose parts were made with something else."""
    run: dict[str, Any] = {"settings": metadata, "parts": [[part.scene, part.first, part.stop] for part in parts]}
    # A model that was trained again keeps its name; where `lidal3d predict` says which run it was, it counts.
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        run["predicted"] = json.loads((predictions.root / "run.json").read_text(encoding="utf-8"))["run"]
    run["fingerprint"] = fingerprint(run)
    path = out / "run.json"
    if path.is_file():
        if _read_run(out)["fingerprint"] != run["fingerprint"]:
            other = "holds scores of another drive, model, predictions or settings"
            raise DataError(f"{out}: {other}; choose another --out, or remove it")
    else:
        write_json(path, run)


def _read_run(folder: Path) -> dict[str, Any]:
    path = folder / "run.json"
    try:
        run = json.loads(path.read_text(encoding="utf-8"))
        return {key: run[key] for key in ("settings", "parts", "fingerprint")}
    except FileNotFoundError:
        raise DataError(f"{folder}: no scores there (no run.json); make them with `lidal3d score`") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: damaged ({error}); remove {folder} and score again") from None


def _find(part: Part, folders: Sequence[Path]) -> Path | None:
    """The first of some folders that holds the part."""
    return next((folder for folder in folders if part.path(folder).is_file()), None)


def finish(folders: Sequence[Path], parts: list[Part], out: Path) -> ScoreResult:
    """Write the table from its parts; parts of the same folder are then no longer needed."""
    failures = failures_of(folders, parts)
    _write_failures(failures, out)
    homes = [(part, _find(part, folders)) for part in parts]
    table = concatenate([ScoreTable.read(part.path(home)) for part, home in homes if home is not None])
    table.write(out / "scores.parquet")
    if not failures:
        (out / "failed.jsonl").unlink(missing_ok=True)
    shutil.rmtree(out / "parts", ignore_errors=True)
    return ScoreResult(table, failures)


def _copy_notes(source: Path, out: Path) -> None:
    """Copy what the steps after scoring need beside the table."""
    for name in ("source.yaml", "config.yaml", "run.json"):
        try:
            text = (source / name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{source / name}: cannot read ({error}); score again") from None
        write_text(out / name, text)


def _write_failures(failures: Sequence[dict[str, Any]], out: Path) -> None:
    """Write failed.jsonl; none without failures."""
    if failures:
        write_text(out / "failed.jsonl", "".join(json.dumps(failure, sort_keys=True) + "\n" for failure in failures))


def failures_of(folders: Sequence[Path], parts: list[Part]) -> tuple[dict[str, Any], ...]:
    """The frames that could not be read, each once, in order."""
    by_frame = {}
    for part in parts:
        for folder in folders:
            if part.failed_path(folder).is_file():
                for failure in json.loads(part.failed_path(folder).read_text()):
                    by_frame[failure["scene"], failure["frame"]] = failure
    return tuple(by_frame[key] for key in sorted(by_frame))


def _known_failures(out: Path) -> tuple[dict[str, Any], ...]:
    path = out / "failed.jsonl"
    return tuple(json.loads(line) for line in path.read_text().splitlines()) if path.is_file() else ()
