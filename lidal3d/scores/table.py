# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""ScoreTable: one row a unit, one column a score; Parquet on disk, the same bytes for the same rows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lidal3d.errors import DataError
from lidal3d.files import replacing

METADATA_KEY = b"lidal3d"
BOX_COLUMNS = ("box_x_m", "box_y_m", "box_z_m", "box_length_m", "box_width_m", "box_height_m", "box_yaw_rad")


@dataclass(frozen=True)
class ScoreTable:
    """R scored units, sorted by (scene, frame, unit).

    Attributes:
        scenes: scene ids; `scene` indexes it.
        scene: (R,) int32 place in `scenes`.
        frame: (R,) int32 frame index in the scene.
        unit: (R,) int32 unit id in the frame.
        points: (R,) int64 how many points (pixels) the unit has.
        center_m: (R, 3) float64 mean of the unit's points in the scene's frame (its first lidar pose), metres.
        scores: score name -> (R,) float64; NaN where the score is unknown.
        kind: what the units are ("supervoxels", "kmeans", "grid", "frame", …).
        metadata: settings and facts that whoever reads the table needs (JSON-able).
        boxes: (R, 7) float32 x y z of the centre, length, width, height, yaw in the lidar coordinates of the unit's
            frame, for units of kind "box"; None for others.
    """

    scenes: tuple[str, ...]
    scene: npt.NDArray[np.int32]
    frame: npt.NDArray[np.int32]
    unit: npt.NDArray[np.int32]
    points: npt.NDArray[np.int64]
    center_m: npt.NDArray[np.float64]
    scores: Mapping[str, npt.NDArray[np.float64]]
    kind: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    boxes: npt.NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.unit)

    def score(self, name: str) -> npt.NDArray[np.float64]:
        """A score column. Raises DataError naming the columns there are."""
        if name not in self.scores:
            raise DataError(f"the score table has no column '{name}' (columns: {', '.join(self.scores)})")
        return self.scores[name]

    @property
    def box_rows(self) -> npt.NDArray[np.float32]:
        """(R, 7). Raises DataError where the units are no boxes."""
        if self.boxes is None:
            raise DataError(f"the score table holds {self.kind} units, no boxes; make one with `lidal3d score --boxes`")
        return self.boxes

    def with_scores(self, **columns: npt.NDArray[np.float64]) -> ScoreTable:
        """A copy with further score columns."""
        return replace(self, scores={**self.scores, **columns})

    def take(self, rows: npt.NDArray[np.integer]) -> ScoreTable:
        """The given rows, in the given order."""
        return replace(
            self,
            scene=self.scene[rows],
            frame=self.frame[rows],
            unit=self.unit[rows],
            points=self.points[rows],
            center_m=self.center_m[rows],
            scores={name: column[rows] for name, column in self.scores.items()},
            boxes=None if self.boxes is None else self.boxes[rows],
        )

    def write(self, path: Path) -> None:
        """Write as Parquet, or as an Arrow file where the name ends so; equal tables are equal bytes."""
        columns: dict[str, pa.Array] = {
            "scene": pa.DictionaryArray.from_arrays(_column(self.scene), _strings(self.scenes)),
            "frame": _column(self.frame),
            "unit": _column(self.unit),
            "points": _column(self.points),
            **{axis: _column(self.center_m[:, i]) for i, axis in enumerate(("x_m", "y_m", "z_m"))},
            **{name: _column(column) for name, column in self.scores.items()},
        }
        if self.boxes is not None:
            columns |= {name: _column(self.boxes[:, i]) for i, name in enumerate(BOX_COLUMNS)}
        facts = {"kind": self.kind, "scores": list(self.scores), "scenes": list(self.scenes), **self.metadata}
        table = pa.table(columns).replace_schema_metadata({METADATA_KEY: json.dumps(facts, sort_keys=True).encode()})
        with replacing(path) as temporary:
            if path.suffix == ".arrow":
                # Parts of a running job: the Parquet library alone would take tens of megabytes of a worker's memory.
                with pa.ipc.new_file(temporary, table.schema) as file:
                    file.write_table(table)
            else:
                import pyarrow.parquet as pq

                pq.write_table(table, temporary, compression="zstd", store_schema=True)

    @classmethod
    def read(cls, path: Path) -> ScoreTable:
        """Read a table that `write` wrote. Raises DataError when it is missing or not one."""
        try:
            table = _read_arrow(path)
            facts = json.loads((table.schema.metadata or {})[METADATA_KEY])
        except FileNotFoundError:
            raise DataError(f"{path}: no score table there; make one with `lidal3d score`") from None
        except (OSError, pa.ArrowException, KeyError, ValueError) as error:
            raise DataError(f"{path}: not a lidal3d score table ({str(error).splitlines()[0]})") from None
        scenes = tuple(facts.pop("scenes"))
        places = {scene: i for i, scene in enumerate(scenes)}
        scene = np.array([places[s] for s in table["scene"].to_pylist()], dtype=np.int32)
        return cls(
            scenes=scenes,
            scene=scene,
            frame=table["frame"].to_numpy(),
            unit=table["unit"].to_numpy(),
            points=table["points"].to_numpy(),
            center_m=np.stack([table[axis].to_numpy() for axis in ("x_m", "y_m", "z_m")], axis=1),
            scores={name: table[name].to_numpy() for name in facts.pop("scores")},
            kind=facts.pop("kind"),
            metadata=facts,
            boxes=_read_boxes(table),
        )


def _read_boxes(table: pa.Table) -> npt.NDArray[np.float32] | None:
    if BOX_COLUMNS[0] not in table.column_names:
        return None
    return np.stack([table[name].to_numpy() for name in BOX_COLUMNS], axis=1).astype(np.float32)


def _column(values: npt.NDArray[Any]) -> pa.Array:
    """The values as an Arrow array. `pa.array` would do the same, and import pandas: forty megabytes and a second."""
    buffer = pa.py_buffer(np.ascontiguousarray(values))
    return pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), [None, buffer])


def _strings(values: Sequence[str]) -> pa.Array:
    """The texts as an Arrow array, as `_column`."""
    encoded = [value.encode() for value in values]
    offsets = np.concatenate([[0], np.cumsum([len(text) for text in encoded])]).astype(np.int32)
    return pa.StringArray.from_buffers(len(encoded), pa.py_buffer(offsets), pa.py_buffer(b"".join(encoded)))


def _read_arrow(path: Path) -> pa.Table:
    if path.suffix == ".arrow":
        with open(path, "rb") as file, pa.ipc.open_file(file) as reader:
            return reader.read_all()
    import pyarrow.parquet as pq

    return pq.read_table(path)


def concatenate(tables: Sequence[ScoreTable]) -> ScoreTable:
    """All rows of tables with the same columns and kind, sorted by (scene, frame, unit); scenes by name.

    Raises:
        DataError: no table, or tables with other columns or another kind of unit.
    """
    if not tables:
        raise DataError("no score tables to put together")
    first = tables[0]
    for other in tables[1:]:
        if other.kind != first.kind or list(other.scores) != list(first.scores):
            raise DataError(
                f"score tables differ: {first.kind} {list(first.scores)} and {other.kind} {list(other.scores)}"
            )
    scenes = tuple(sorted({name for table in tables for name in table.scenes}))
    places = {name: i for i, name in enumerate(scenes)}
    scene = np.concatenate([np.array([places[s] for s in t.scenes], dtype=np.int32)[t.scene] for t in tables])
    joined = ScoreTable(
        scenes=scenes,
        scene=scene,
        frame=np.concatenate([t.frame for t in tables]),
        unit=np.concatenate([t.unit for t in tables]),
        points=np.concatenate([t.points for t in tables]),
        center_m=np.concatenate([t.center_m for t in tables]),
        scores={name: np.concatenate([t.scores[name] for t in tables]) for name in first.scores},
        kind=first.kind,
        metadata=first.metadata,
        boxes=None if first.boxes is None else np.concatenate([t.box_rows for t in tables]),
    )
    return joined.take(np.lexsort((joined.unit, joined.frame, joined.scene)))
