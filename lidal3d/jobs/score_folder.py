# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""The results folder of a scoring run: parts that survive a kill, and the table made of them.

    OUT/run.json                          what the parts were made with; a folder of other settings is refused
    OUT/parts/SCENE/000000-000049.arrow   one part for each 50 frames, written whole; what is there is not done again
    OUT/guesses/SCENE/FRAME.npz           the likeliest class of every point, where no predictions lie on disk
    OUT/failed.jsonl                      frames that could not be read (only with keep_going)
    OUT/features.npy, probabilities.npy, embeddings.npy, patterns.npy   row for row as the table, where a strategy needs them
    OUT/scores.parquet, config.yaml, source.yaml    the table, when every part is there

Everything is written beside its place and renamed into it: a kill at any moment costs at most the open parts.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lidal3d.errors import DataError
from lidal3d.files import fingerprint, replacing, write_json, write_text
from lidal3d.jobs.score_arrays import SCORES_FILE, array_path, join_arrays
from lidal3d.jobs.score_parts import Part
from lidal3d.jobs.score_scene import Recipe
from lidal3d.scores.table import ScoreTable, concatenate
from lidal3d.strategies.pool import ARRAYS

GUESSES = "guesses"


@dataclass(frozen=True)
class ScoreResult:
    """The table (None while parts of other shards are missing), and the frames that could not be read."""

    table: ScoreTable | None
    failed: tuple[dict[str, Any], ...]


def merge_scores(folders: Sequence[Path], out: Path) -> ScoreResult:
    """Put the shards of one scoring run together; the same bytes as one run would have written.

    Raises:
        DataError: a folder holds no scores or those of other settings, or parts are missing (how many is said).
    """
    runs = [read_run(folder) for folder in folders]
    for folder, run in zip(folders, runs, strict=True):
        if run != runs[0]:
            raise DataError(f"{folder}: scored with other settings or another drive than {folders[0]}; cannot merge")
    finished = [folder for folder in folders if (folder / SCORES_FILE).is_file()]
    if finished:
        table, failures = ScoreTable.read(finished[0] / SCORES_FILE), _known_failures(finished[0])
        _copy_notes(finished[0], out)
        _copy_guesses(folders, out)
        _write_failures(failures, out)
        for name in ARRAYS:
            if array_path(finished[0], name).is_file():
                _copy(array_path(finished[0], name), array_path(out, name))
        table.write(out / SCORES_FILE)
        return ScoreResult(table, failures)
    parts = [Part(*part) for part in runs[0]["parts"]]
    missing = [part for part in parts if _find(part, folders) is None]
    if missing:
        raise DataError(
            f"{folders[0]}: {len(parts) - len(missing)} of {len(parts)} parts there (first missing: scene "
            f"{missing[0].scene}, frames {missing[0].first}-{missing[0].stop - 1}); run the other shards first"
        )
    _copy_notes(folders[0], out)
    _copy_guesses(folders, out)
    return finish(folders, parts, out)


def claim_folder(out: Path, recipe: Recipe, parts: list[Part]) -> None:
    """Note what the folder's parts are made with, or refuse a folder whose parts were made with something else."""
    settings = dict(recipe.metadata)
    run: dict[str, Any] = {"settings": settings, "parts": [[part.scene, part.first, part.stop] for part in parts]}
    # A model that was trained again keeps its name; where it is known which run it was, it counts.
    if recipe.source.run is not None:
        run["predicted"] = recipe.source.run
    if recipe.wanted.to_dict():
        run["wanted"] = recipe.wanted.to_dict()
    if recipe.signals:
        run["signals"] = {signal.name: signal.fingerprint for signal in recipe.signals}
    run["fingerprint"] = fingerprint(run)
    path = out / "run.json"
    if path.is_file():
        if read_run(out)["fingerprint"] != run["fingerprint"]:
            other = "holds scores of another drive, model, predictions, strategies or settings"
            raise DataError(f"{out}: {other}; choose another --out, or remove it")
    else:
        write_json(path, run)


def read_run(folder: Path) -> dict[str, Any]:
    """What a folder's scores are made with. Raises DataError where it holds none or is damaged."""
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
    homes = [(part, home) for part in parts if (home := _find(part, folders)) is not None]
    for name in ARRAYS:
        paths = [part.array_path(home, name) for part, home in homes]
        if paths and all(path.is_file() for path in paths):
            join_arrays(paths, array_path(out, name))
    table = concatenate([ScoreTable.read(part.path(home)) for part, home in homes])
    table.write(out / SCORES_FILE)
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


def _copy_guesses(folders: Sequence[Path], out: Path) -> None:
    """Bring together what the shards kept for pseudo-labels; each frame lies in one of them."""
    for folder in folders:
        for path in sorted((folder / GUESSES).glob("*/*.npz")):
            _copy(path, out / path.relative_to(folder))


def _copy(source: Path, target: Path) -> None:
    if not (target.exists() and target.samefile(source)):
        with replacing(target) as temporary:
            shutil.copyfile(source, temporary)


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
