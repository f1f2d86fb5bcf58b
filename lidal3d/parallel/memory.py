# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Memory that stays flat however long a drive is."""

from __future__ import annotations

import contextlib
import ctypes

_M_MMAP_THRESHOLD = -3  # glibc's malloc.h
_THRESHOLD_BYTES = 1 << 17


def give_memory_back() -> None:
    """Let every freed array of over 128 KiB go back to the system at once; does nothing where malloc is not glibc's.

    glibc raises its threshold to the size of what was freed, up to 32 MiB: then a window of sweeps of ever other sizes
    lives on the heap, whose holes nothing fits in, and a process grows by a quarter over some hundred sweeps.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").mallopt(_M_MMAP_THRESHOLD, _THRESHOLD_BYTES)
