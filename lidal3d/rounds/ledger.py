# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""The ledger on disk: append-only, and whole or refused.

    ledger.jsonl        a header line, then a line a record; each carries a digest of itself and all lines before it
    ledger.jsonl.head   how many records are committed, and the digest of the last of them

Records are appended and synced first; then the head is replaced, which commits them all at once. So a crash leaves
either all records of an `append` or, past the head, a rest that nobody was told of: it is cut off at the next opening.
Fewer records than the head says, or a digest that doesn't follow, is damage and refused. No line names a time, a path
or a machine: the same experiment writes the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lidal3d.errors import DataError
from lidal3d.files import fingerprint, remove_abandoned, write_json, write_text
from lidal3d.rounds.record import Record
from lidal3d.scene.scene import Scene

FORMAT = 1
Notice = Callable[[str], None]


def scene_marks(scenes: Sequence[Scene]) -> dict[str, list[Any]]:
    """Scene id -> [frames, digest of frame names and poses]: tells one data set from another."""
    return {scene.id: [len(scene), _mark(scene)] for scene in sorted(scenes, key=lambda scene: scene.id)}


def _mark(scene: Scene) -> str:
    # A tenth of a millimetre: readers of another version may round the last bits of a pose differently.
    poses = np.round(scene.scene_SE3_lidar, 4) + 0.0
    digest = hashlib.sha256("\0".join(scene.frame_names).encode())
    digest.update(poses.astype("<f8").tobytes())
    return digest.hexdigest()[:16]


@dataclass
class Ledger:
    """An open ledger; one process writes it at a time.

    Attributes:
        path: ledger.jsonl.
        header: what the first line says: format, data set, scenes, classes.
        records: all committed records, oldest first.
    """

    path: Path
    header: dict[str, Any]
    records: list[Record]
    _digest: str
    _committed_bytes: int
    _file_bytes: int

    @classmethod
    def create(cls, path: Path | str, scenes: Sequence[Scene]) -> Ledger:
        """Start an empty ledger of some scenes. Raises DataError where a file is in the way, or one is lost."""
        path = Path(path)
        if path.exists():
            raise DataError(f"{path}: is there already; open it, or choose another --ledger")
        if _head_path(path).exists() and (written := _read_head(path)["records"]):
            raise DataError(f"{path}: is missing, but {written} records were written to it; restore it")
        classes = next((list(scene.label_map.classes) for scene in scenes if scene.label_map is not None), [])
        header = {
            "lidal3d_ledger": FORMAT,
            "dataset": scenes[0].dataset if scenes else "",
            "classes": classes,
            "scenes": scene_marks(scenes),
        }
        line = _header_line(header)
        write_json(_head_path(path), {"records": 0, "digest": fingerprint(header)})
        write_text(path, line)
        return cls(path, header, [], fingerprint(header), len(line.encode()), len(line.encode()))

    @classmethod
    def open(cls, path: Path | str, scenes: Sequence[Scene] | None = None, notice: Notice | None = None) -> Ledger:
        """Open a ledger to read or to go on with it.

        Args:
            path: ledger.jsonl.
            scenes: the drive it must belong to; None for no check. The drive may have further scenes.
            notice: told in one line when an append that was cut off by a crash is removed.

        Raises:
            DataError: no ledger, a missing tail, a changed line, or a ledger of another data set.
        """
        path = Path(path)
        lines, size = _whole_lines(path)
        head = _read_head(path)
        header = _parse_header(path, lines[0] if lines else b"")
        if scenes is not None:
            _refuse_other_dataset(path, header["scenes"], scene_marks(scenes))
        records, digest = _follow(path, header, lines[1:], head["records"])
        if digest != head["digest"]:
            raise DataError(f"{path}: record {len(records)} has digest {digest}, {head['digest']} expected; restore it")
        committed = sum(len(line) + 1 for line in lines[: 1 + len(records)])
        if committed < size and notice is not None:
            notice(f"{path}: cut off {size - committed} bytes after record {len(records)}: an append that never ended")
        return cls(path, header, records, digest, committed, size)

    @classmethod
    def open_or_create(cls, path: Path | str, scenes: Sequence[Scene], notice: Notice | None = None) -> Ledger:
        """Open the ledger of some scenes, or start it; what a killed append left beside it goes. DataError as `open`."""
        remove_abandoned(Path(path).parent)
        return cls.open(path, scenes, notice) if Path(path).exists() else cls.create(path, scenes)

    def append(self, records: Sequence[Record]) -> None:
        """Add records, all or none of them, and have them on disk when this returns.

        Raises:
            DataError: a unit that people labelled before, a scene the drive doesn't have, a full disk, or a ledger
                that another process wrote to in the meantime.
        """
        if not records:
            return
        self._refuse_twice(records)
        lines, digest = [], self._digest
        for record in records:
            digest = _next_digest(digest, record.to_dict())
            lines.append(json.dumps({**record.to_dict(), "digest": digest}, sort_keys=True) + "\n")
        data = "".join(lines).encode()
        self._write(data)
        write_json(_head_path(self.path), {"records": len(self.records) + len(records), "digest": digest})
        self.records.extend(records)
        self._digest = digest
        self._committed_bytes += len(data)
        self._file_bytes = self._committed_bytes

    def of_round(self, number: int) -> list[Record]:
        """The records of one round."""
        return [record for record in self.records if record.round == number]

    @property
    def last_round(self) -> int:
        """The latest round with a record; −1 for an empty ledger."""
        return max((record.round for record in self.records), default=-1)

    def _refuse_twice(self, records: Sequence[Record]) -> None:
        known = {(r.key, r.kind) for r in self.records if r.labeller != "pseudo"}
        for record in records:
            if record.labeller == "pseudo":
                continue
            if (record.key, record.kind) in known:
                where = f"scene {record.scene} frame {record.frame} {record.kind} {record.unit}"
                raise DataError(f"{self.path}: {where} was labelled by people in an earlier record; ask each unit once")
            known.add((record.key, record.kind))

    def _write(self, data: bytes) -> None:
        try:
            with open(self.path, "r+b") as file:
                size = file.seek(0, os.SEEK_END)
                if size != self._file_bytes:
                    raise DataError(
                        f"{self.path}: {size} bytes, {self._file_bytes} when opened; another process writes it, let it end"
                    )
                # What lies past the head is of an append that never ended: only a writer may cut it off.
                file.truncate(self._committed_bytes)
                file.seek(self._committed_bytes)
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise DataError(f"{self.path}: cannot write ({error.strerror}); free space, then go on") from None


def _head_path(path: Path) -> Path:
    return path.with_name(path.name + ".head")


def _header_line(header: Mapping[str, Any]) -> str:
    return json.dumps(header, sort_keys=True) + "\n"


def _next_digest(digest: str, fields: Mapping[str, Any]) -> str:
    return fingerprint([digest, fields])


def _whole_lines(path: Path) -> tuple[list[bytes], int]:
    """The lines that end, and how many bytes the file has in all."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: no ledger there ({error.strerror})") from None
    return data.split(b"\n")[:-1], len(data)


def _read_head(path: Path) -> dict[str, Any]:
    head = _head_path(path)
    try:
        fields = json.loads(head.read_text(encoding="utf-8"))
        return {"records": int(fields["records"]), "digest": str(fields["digest"])}
    except (OSError, ValueError, KeyError, TypeError):
        raise DataError(f"{head}: missing or damaged, so {path.name} may lack its tail; restore both files") from None


def _parse_header(path: Path, line: bytes) -> dict[str, Any]:
    try:
        header = json.loads(line)
        number = header["lidal3d_ledger"]
    except (ValueError, KeyError, TypeError):
        raise DataError(f"{path}: its first line is not a ledger's; give the ledger.jsonl of this drive") from None
    if number != FORMAT or not isinstance(header.get("scenes"), dict):
        raise DataError(f"{path}: ledger format {number}, this lidal3d reads {FORMAT}")
    return dict(header)


def _refuse_other_dataset(path: Path, mine: Mapping[str, Any], drive: Mapping[str, Any]) -> None:
    for scene, (frames, mark) in mine.items():
        if scene not in drive:
            raise DataError(f"{path}: is of a drive with scene '{scene}', this one has {', '.join(drive) or 'none'}")
        if list(drive[scene]) != [frames, mark]:
            has = f"{drive[scene][0]} frames, digest {drive[scene][1]}"
            raise DataError(f"{path}: of another drive: scene {scene} had {frames} frames, digest {mark}; now {has}")


def _follow(path: Path, header: Mapping[str, Any], lines: Sequence[bytes], committed: int) -> tuple[list[Record], str]:
    """The committed records and the digest of the last; every line's own digest is tested."""
    if len(lines) < committed:
        raise DataError(
            f"{path}: {len(lines)} whole records, {committed} were written; its tail is missing, restore it"
        )
    digest, records = fingerprint(dict(header)), []
    for number, line in enumerate(lines[:committed], start=1):
        try:
            fields = json.loads(line)
            found = fields.pop("digest")
            digest = _next_digest(digest, fields)
            records.append(Record.from_dict(fields))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise DataError(f"{path}: line {number + 1} is not a record; the ledger was changed, restore it") from None
        if found != digest:
            raise DataError(f"{path}: line {number + 1} doesn't follow the lines before it; it was changed, restore it")
    return records, digest
