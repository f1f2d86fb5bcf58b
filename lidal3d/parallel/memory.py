# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Memory that stays flat however long a drive is. Nothing here has an effect where malloc is not glibc's."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # glibc's malloc.h
_AT_ONCE_BYTES = 1 << 17
_LATER_BYTES = 1 << 22  # larger ones still come and go, so that holes stay few
_USUAL_BYTES = 1 << 25  # what glibc comes to by itself
_giving_back = False


@contextlib.contextmanager
def memory_given_back() -> Iterator[None]:
    """Inside, every freed array of over 128 KiB goes back to the system at once.

    glibc raises its threshold to the size of what was freed, up to 32 MiB: then a window of sweeps of ever other sizes
    lives on the heap, whose holes nothing fits in, and a process grows by a quarter over some hundred sweeps.
    """
    global _giving_back
    _keep_up_to(_AT_ONCE_BYTES)
    _giving_back = True
    try:
        yield
    finally:
        _giving_back = False
        _keep_up_to(_USUAL_BYTES)


@contextlib.contextmanager
def scratch_memory() -> Iterator[None]:
    """Inside, freed arrays are used again, whatever is around it; at the end what is free goes back.

    For code that makes and frees large arrays all the time, as a network does: to fetch each from the system anew
    takes half as long again as the work.
    """
    if not _giving_back:
        yield
        return
    _keep_up_to(_LATER_BYTES)
    try:
        yield
    finally:
        _keep_up_to(_AT_ONCE_BYTES)
        with contextlib.suppress(AttributeError):
            _libc().malloc_trim(0)


def _keep_up_to(size: int) -> None:
    with contextlib.suppress(AttributeError):
        _libc().mallopt(_M_MMAP_THRESHOLD, size)
        _libc().mallopt(_M_TRIM_THRESHOLD, size)


@lru_cache(maxsize=1)
def _libc() -> Any:
    try:
        return ctypes.CDLL("libc.so.6")
    except OSError:
        return None
