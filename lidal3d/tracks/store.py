# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Tracks on disk, beside the drive.

    tracks.yaml             the settings they were made with
    SCENE/FRAME.npy         (N,) int32 segment of each point by the id of its track, −1 for none
    SCENE.parquet           the sightings of all tracks that enough sweeps show (`lidal3d.tracks.table`)

A sweep's file is written as it is tracked, when nobody knows yet which of its tracks will last; ids that the table
doesn't have are read as −1. The table comes last: where it lies, the scene is done.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from pydantic import ValidationError

from lidal3d.errors import DataError
from lidal3d.files import replacing, write_text
from lidal3d.settings.tracks import TracksConfig
from lidal3d.tracks.table import TrackPath

HEADER_FILE = "tracks.yaml"
_AXES = ("x", "y", "z")


@dataclass(frozen=True)
class TrackStore:
    """A folder of tracks.

    Attributes:
        root: the folder.
        config: what they were made with.
    """

    root: Path
    config: TracksConfig
    _paths: dict[str, TrackPath] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def open(cls, root: Path | str) -> TrackStore:
        """Open a folder with `tracks.yaml`. Raises DataError when it is missing or not one."""
        path = Path(root) / HEADER_FILE
        try:
            return cls(Path(root), TracksConfig.model_validate(yaml.safe_load(path.read_text(encoding="utf-8"))))
        except OSError as error:
            raise DataError(f"{path}: no tracks there ({error.strerror}); make them with `lidal3d track`") from None
        except (yaml.YAMLError, UnicodeDecodeError, ValidationError) as error:
            raise DataError(f"{path}: not the settings of tracks ({str(error).splitlines()[0]})") from None

    @classmethod
    def open_or_create(cls, root: Path | str, config: TracksConfig) -> TrackStore:
        """The store made with some settings, made where there is none. Raises DataError where it has others."""
        path = Path(root) / HEADER_FILE
        if not path.exists():
            write_text(path, yaml.safe_dump(config.model_dump(), sort_keys=False))
        store = cls.open(root)
        for name, value in store.config:
            if value != getattr(config, name):
                raise DataError(
                    f"{path}: its tracks have tracks.{name} = {value}, {getattr(config, name)} was asked for; "
                    "choose another --out"
                )
        return store

    def ids_path(self, scene: str, frame: str) -> Path:
        """Where the ids of a frame lie."""
        return self.root / scene / f"{frame}.npy"

    def table_path(self, scene: str) -> Path:
        """Where the sightings of a scene lie."""
        return self.root / f"{scene}.parquet"

    def write_ids(self, scene: str, frame: str, ids: npt.NDArray[np.int32]) -> None:
        """Save the ids (N,) of a frame."""
        with replacing(self.ids_path(scene, frame)) as temporary, open(temporary, "wb") as file:
            np.save(file, np.ascontiguousarray(ids, np.int32), allow_pickle=False)

    def write_path(self, scene: str, path: TrackPath) -> None:
        """Save the sightings of a scene, after all its frames."""
        columns = {"track": path.track, "frame": path.frame, "points": path.points}
        columns |= {f"{axis}_m": path.center_m[:, i] for i, axis in enumerate(_AXES)}
        columns |= {f"v{axis}_mps": path.velocity_mps[:, i] for i, axis in enumerate(_AXES)}
        with replacing(self.table_path(scene)) as temporary:
            pq.write_table(pa.table(columns), temporary, compression="zstd")

    def path(self, scene: str) -> TrackPath:
        """The sightings of a scene, read once. Raises DataError when they are missing or damaged."""
        if scene not in self._paths:
            self._paths[scene] = self._read_path(scene)
        return self._paths[scene]

    def _read_path(self, scene: str) -> TrackPath:
        path = self.table_path(scene)
        try:
            table = pq.read_table(path)
            columns = {name: table[name].to_numpy() for name in table.column_names}
            return TrackPath(
                columns["track"].astype(np.int32),
                columns["frame"].astype(np.int32),
                columns["points"].astype(np.int64),
                np.stack([columns[f"{axis}_m"] for axis in _AXES], axis=1),
                np.stack([columns[f"v{axis}_mps"] for axis in _AXES], axis=1),
            )
        except FileNotFoundError:
            raise DataError(f"{path}: scene {scene} has no tracks; make them with `lidal3d track`") from None
        except (OSError, pa.ArrowException, KeyError, ValueError) as error:
            raise DataError(f"{path}: not a table of tracks ({str(error).splitlines()[0]}); track again") from None

    def ids(self, scene: str, frame: str, points: int) -> npt.NDArray[np.int32]:
        """(N,) the track of each point of a frame, −1 for none.

        Raises:
            DataError: missing, damaged, or of another number of points.
        """
        path = self.ids_path(scene, frame)
        try:
            ids = np.load(path, allow_pickle=False)
        except FileNotFoundError:
            raise DataError(f"{path}: missing; make it with `lidal3d track`") from None
        except (OSError, ValueError, EOFError) as error:
            raise DataError(f"{path}: not a whole .npy array ({error}); track again") from None
        if ids.dtype != np.int32 or ids.shape != (points,):
            raise DataError(f"{path}: {ids.dtype} of shape {ids.shape}, the sweep has {points} points; track again")
        kept = np.zeros(int(ids.max(initial=-1)) + 2, bool)
        known = self.path(scene).track
        kept[known[known < len(kept) - 1]] = True
        return np.where(kept[ids], ids, np.int32(-1))
