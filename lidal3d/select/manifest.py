# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""The manifest on disk: what was chosen and why, the source of every export. Equal input, equal bytes.

    manifest.parquet  manifest.jsonl     a row or line a pick: rank, unit, cost, centre, scores, reason, suppressed, and
                                         the box where the unit is one
    points.npz                           offsets and point indices of the picks
    pseudo.parquet  pseudo.jsonl         the same for pseudo-labelled units
    pseudo_points.npz                    with a label (train id, 255 none) and a weight for every point
    summary.json                         budget, currency, used, left, counts
    config.yaml                          the settings
    source.yaml                          where drive, predictions and scores lie: the one file with paths
    failed.jsonl                         frames left out with --keep-going, where there were any

Nothing but source.yaml names a path, a time or a machine.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from lidal3d.config import Config
from lidal3d.errors import DataError, UsageError
from lidal3d.files import replacing_folder
from lidal3d.select.points import PointSets, point_sets, read_points, write_points
from lidal3d.select.selection import Pick, Selection, UnitKey

METADATA_KEY = b"lidal3d"
DIGITS = 9  # of floats in JSONL; Parquet has them whole
FILES = (
    *("manifest.parquet", "manifest.jsonl", "points.npz"),
    *("pseudo.parquet", "pseudo.jsonl", "pseudo_points.npz"),
    *("summary.json", "config.yaml", "source.yaml", "failed.jsonl"),
)
KEY = pa.struct([("scene", pa.string()), ("frame", pa.int32()), ("unit", pa.int32())])
COLUMNS = [
    ("rank", pa.int32()),
    ("scene", pa.string()),
    ("frame", pa.int32()),
    ("frame_name", pa.string()),
    ("timestamp_ns", pa.int64()),
    ("unit", pa.int32()),
    ("kind", pa.string()),
    ("points", pa.int64()),
    ("cost", pa.float64()),
    ("x_m", pa.float64()),
    ("y_m", pa.float64()),
    ("z_m", pa.float64()),
    ("reason", pa.string()),
    ("suppressed", pa.list_(KEY)),
]
BOX = ("box", pa.list_(pa.float32(), 7))  # only in manifests of boxes


class Manifest(NamedTuple):
    """What `read_manifest` returns.

    Attributes:
        selection: for people.
        pseudo: pseudo-labelled units.
        points: of the selection's picks; those of `pseudo` come from `read_pseudo_points`.
    """

    selection: Selection
    pseudo: Selection
    points: PointSets


def write_manifest(
    selection: Selection,
    pseudo: Selection,
    folder: Path,
    config: Config,
    point_indices: PointSets,
    pseudo_points: PointSets | None = None,
    *,
    classes: Sequence[str] = (),
    source: Mapping[str, str] | None = None,
    failed: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Write a manifest, the whole folder or nothing; an older manifest there is replaced.

    Args:
        point_indices: of `selection`, a set a pick.
        pseudo_points: of `pseudo`, with labels and weights.
        classes: what the train ids of the pseudo-labels mean.
        source: paths for source.yaml.
        failed: frames that were left out.

    Raises:
        UsageError: the folder holds other files, which would be lost.
        DataError: it can't be written, or picks and point sets differ in number.
    """
    pseudo_points = pseudo_points or point_sets([], [], [])
    refuse_foreign_folder(folder)
    for chosen, points in ((selection, point_indices), (pseudo, pseudo_points)):
        if len(chosen.picks) != len(points):
            raise DataError(f"{folder}: {len(chosen.picks)} picks of '{chosen.strategy}', {len(points)} sets of points")
    with replacing_folder(folder) as new:
        _write_selection(selection, new, "manifest")
        write_points(point_indices, new / "points.npz")
        _write_selection(pseudo, new, "pseudo")
        write_points(pseudo_points, new / "pseudo_points.npz")
        _write_text(
            new / "summary.json", json.dumps(summary(selection, pseudo, pseudo_points, classes), indent=2) + "\n"
        )
        _write_text(new / "config.yaml", yaml.safe_dump(config.model_dump(), sort_keys=False))
        if source:
            _write_text(new / "source.yaml", yaml.safe_dump(dict(source)))
        if failed:
            _write_text(new / "failed.jsonl", "".join(json.dumps(dict(line), sort_keys=True) + "\n" for line in failed))


def read_manifest(folder: Path) -> Manifest:
    """Read what `write_manifest` wrote. Raises DataError naming the file that is missing or damaged."""
    folder = Path(folder)
    selection = _read_selection(folder / "manifest.parquet")
    pseudo = _read_selection(folder / "pseudo.parquet")
    return Manifest(selection, pseudo, read_points(folder / "points.npz", len(selection.picks)))


def read_pseudo_points(folder: Path) -> PointSets:
    """The points of the pseudo-labelled units with their labels and weights. Raises DataError as `read_manifest`."""
    folder = Path(folder)
    return read_points(folder / "pseudo_points.npz", len(_read_selection(folder / "pseudo.parquet").picks))


def refuse_foreign_folder(folder: Path) -> None:
    """Raise UsageError when writing a manifest to `folder` would remove files that are none of a manifest's."""
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: is a file; choose another --out")
    foreign = sorted(path.name for path in folder.glob("*") if path.name not in FILES)
    if foreign:
        raise UsageError(f"{folder}: holds '{foreign[0]}', which a manifest would replace; choose another --out")


def summary(
    selection: Selection, pseudo: Selection, pseudo_points: PointSets, classes: Sequence[str] = ()
) -> dict[str, Any]:
    """The account of the budgets, JSON-able."""
    labels = pseudo_points.labels
    labelled = 0 if labels is None else int((labels != 255).sum())
    return {
        "selection": spent(selection),
        "pseudo": {**spent(pseudo), "labelled_points": labelled},
        "classes": list(classes),
    }


def spent(selection: Selection) -> dict[str, Any]:
    """Budget, what was used of it, what is left, and what it bought."""
    picks = selection.picks
    return {
        "strategy": selection.strategy,
        "currency": selection.currency,
        "budget": _stable(selection.budget),
        "used": _stable(selection.used),
        "left": _stable(selection.budget - selection.used),
        "picks": len(picks),
        "points": sum(pick.points for pick in picks),
        "frames": len({(pick.key.scene, pick.key.frame) for pick in picks}),
        "scenes": len({pick.key.scene for pick in picks}),
        "suppressed": sum(len(pick.suppressed) for pick in picks),
    }


def json_line(pick: Pick) -> dict[str, Any]:
    """A pick as a JSON object; a score that is unknown is null."""
    line = {
        "rank": pick.rank,
        "scene": pick.key.scene,
        "frame": pick.key.frame,
        "frame_name": pick.frame_name,
        "timestamp_ns": pick.timestamp_ns,
        "unit": pick.key.unit,
        "kind": pick.kind,
        "points": pick.points,
        "cost": _stable(pick.cost),
        "center_m": [_stable(value) for value in pick.center_m],
        "scores": {name: _stable(value) for name, value in pick.scores.items()},
        "reason": pick.reason,
        "suppressed": [_key(key) for key in pick.suppressed],
    }
    if pick.box is not None:
        numbers = [_stable(value) for value in pick.box]
        line["box"] = {"center_m": numbers[:3], "size_m": numbers[3:6], "yaw_rad": numbers[6]}
    return line


def _stable(value: float) -> float | int | None:
    if not math.isfinite(value):
        return None
    rounded = float(f"{value:.{DIGITS}g}") + 0.0  # no −0.0
    return int(rounded) if rounded.is_integer() and abs(rounded) < 2**53 else rounded


def _key(key: UnitKey) -> dict[str, Any]:
    return {"scene": key.scene, "frame": key.frame, "unit": key.unit}


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _write_selection(selection: Selection, folder: Path, name: str) -> None:
    lines = (json.dumps(json_line(pick), ensure_ascii=False) + "\n" for pick in selection.picks)
    _write_text(folder / f"{name}.jsonl", "".join(lines))
    scores = list(selection.picks[0].scores) if selection.picks else []
    facts = {
        "strategy": selection.strategy,
        "currency": selection.currency,
        "budget": selection.budget,
        "used": selection.used,
        "scores": scores,
    }
    columns = COLUMNS + ([BOX] if any(pick.box is not None for pick in selection.picks) else [])
    schema = pa.schema(
        columns + [(score, pa.float64()) for score in scores], {METADATA_KEY: json.dumps(facts).encode()}
    )
    pq.write_table(pa.Table.from_pylist([_row(pick) for pick in selection.picks], schema), folder / f"{name}.parquet")


def _row(pick: Pick) -> dict[str, Any]:
    x_m, y_m, z_m = pick.center_m
    return {
        "rank": pick.rank,
        **_key(pick.key),
        "frame_name": pick.frame_name,
        "timestamp_ns": pick.timestamp_ns,
        "kind": pick.kind,
        "points": pick.points,
        "cost": pick.cost,
        "x_m": x_m,
        "y_m": y_m,
        "z_m": z_m,
        "reason": pick.reason,
        "suppressed": [_key(key) for key in pick.suppressed],
        "box": pick.box,
        **pick.scores,
    }


def _read_selection(path: Path) -> Selection:
    try:
        table = pq.read_table(path)
        facts = json.loads((table.schema.metadata or {})[METADATA_KEY])
        picks = tuple(_pick(row, facts["scores"]) for row in table.to_pylist())
        return Selection(picks, facts["strategy"], facts["currency"], facts["budget"], facts["used"])
    except FileNotFoundError:
        raise DataError(f"{path}: no manifest there; make one with `lidal3d select`") from None
    except (OSError, pa.ArrowException, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: not a lidal3d manifest ({str(error).splitlines()[0]})") from None


def _pick(row: Mapping[str, Any], scores: Sequence[str]) -> Pick:
    return Pick(
        rank=row["rank"],
        key=UnitKey(row["scene"], row["frame"], row["unit"]),
        frame_name=row["frame_name"],
        timestamp_ns=row["timestamp_ns"],
        kind=row["kind"],
        points=row["points"],
        cost=row["cost"],
        center_m=(row["x_m"], row["y_m"], row["z_m"]),
        scores={name: row[name] for name in scores},
        reason=row["reason"],
        suppressed=tuple(UnitKey(**key) for key in row["suppressed"]),
        box=None if row.get("box") is None else tuple(row["box"]),
    )
