# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Writing so that a crash loses nothing: everything is written beside its place and renamed into it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lidal3d.errors import DataError

if TYPE_CHECKING:
    import numpy.typing as npt

TEMPORARY_PREFIX = ".writing-"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time a zip can tell: no clock in the file


def _as_data_error(path: Path, error: OSError) -> DataError:
    return DataError(f"{path}: cannot write ({error.strerror or error}); free space or choose another --out")


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path in the same folder; on success it replaces `path`, on failure it is removed.

    Raises:
        DataError: the folder cannot be created or written (disk full, no permission).
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=_own_prefix(), suffix=path.suffix, dir=path.parent)
        os.close(handle)
    except OSError as error:
        raise _as_data_error(path, error) from error
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp makes files that only their owner reads; a result is as readable as any new file.
        os.chmod(temporary, 0o666 & ~_umask())
        with open(temporary, "rb+") as written:
            os.fsync(written.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise _as_data_error(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def replacing_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; on success it takes the place of `path`, on failure it is removed.

    Raises:
        DataError: the folder cannot be created, written or put in its place.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_abandoned(path.parent)
        temporary = Path(tempfile.mkdtemp(prefix=_own_prefix(), dir=path.parent))
        os.chmod(temporary, 0o777 & ~_umask())
    except OSError as error:
        raise _as_data_error(path, error) from error
    try:
        yield temporary
        _put_in_place(temporary, path)
    except OSError as error:
        raise _as_data_error(path, error) from error
    except DataError as error:
        # A file inside could not be written: its name in the temporary folder tells nobody anything.
        raise DataError(str(error).replace(str(temporary), str(path))) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _put_in_place(temporary: Path, path: Path) -> None:
    """Rename a folder to `path`; what is there goes, or comes back where the renaming fails."""
    if not path.exists():
        os.replace(temporary, path)
        return
    old = Path(tempfile.mkdtemp(prefix=_own_prefix(), dir=path.parent))
    try:
        os.replace(path, old / "old")
        try:
            os.replace(temporary, path)
        except OSError:
            os.replace(old / "old", path)
            raise
    finally:
        shutil.rmtree(old, ignore_errors=True)


def remove_abandoned(folder: Path) -> None:
    """Remove what processes of this machine that were killed while writing left in a folder (not in its subfolders)."""
    for left in folder.glob(f"{TEMPORARY_PREFIX}*"):
        writer = re.match(rf"{re.escape(TEMPORARY_PREFIX)}(.*)-(\d+)-[^-]*$", left.name)
        if writer is None or writer[1] != platform.node() or _is_running(int(writer[2])):
            continue
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):
                left.unlink()


def _own_prefix() -> str:
    # Machine and process, so that a later run knows whose it was.
    return f"{TEMPORARY_PREFIX}{platform.node()}-{os.getpid()}-"


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write `text` in UTF-8, all of it or nothing."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write `value` as indented JSON with sorted keys, so equal values are equal bytes."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True) + "\n")


def write_npz(path: str | os.PathLike[str], arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write arrays to an uncompressed .npz that `numpy.load` opens; equal arrays are equal bytes, at any time."""
    import numpy as np

    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy", _EPOCH), "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.ascontiguousarray(array), allow_pickle=False)


def fingerprint(value: Any) -> str:
    """A short stable digest of a JSON-able value, to tell whether a results folder belongs to these settings."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]
