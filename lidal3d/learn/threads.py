# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Who uses the processor's cores: lidal3d's own threads for the heavy loops, none of torch's beside them.

torch's OpenMP threads keep spinning after each of its operations, on the very cores that the compiled loops want next:
together they run several times slower than either alone. So training and prediction leave torch one thread, which also
makes their results the same bytes on any number of cores.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from functools import lru_cache

import torch

SHARES_A_THREAD = 4
_own: ContextVar[int] = ContextVar("threads of lidal3d's own", default=0)


def threads() -> int:
    """How many threads compiled loops take: as many as torch had when `own_threads` was entered, or has."""
    return _own.get() or torch.get_num_threads()


@contextlib.contextmanager
def own_threads() -> Iterator[None]:
    """Let compiled loops have torch's number of threads, and torch one, for what runs inside."""
    before, token = torch.get_num_threads(), _own.set(threads())
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        _own.reset(token)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Let torch and the compiled loops have one thread: several processes share the cores, each with a sweep."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def share_out(parts: int, work: Callable[[int, int], None]) -> None:
    """Call work(first, last) over ranges that cover 0..parts, on the calling thread and as many others as we have."""
    number = min(threads(), parts)
    if number < 2:
        work(0, parts)
        return
    # More shares than threads: one that another process slows down leaves its rest to the others.
    shares = min(parts, SHARES_A_THREAD * number)
    counter = itertools.count()

    def take() -> None:
        for share in iter(lambda: next(counter), -1):
            if share >= shares:
                return
            work(share * parts // shares, (share + 1) * parts // shares)

    helpers = [_pool(number - 1).submit(take) for _ in range(number - 1)]
    take()
    for helper in helpers:
        helper.result()


@lru_cache(maxsize=4)
def _pool(size: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(size, thread_name_prefix="lidal3d")
