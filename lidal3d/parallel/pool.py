# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""One `map` over tasks: in this process, or in several that leave when their parent does."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from lidal3d.errors import LidalError

Task = TypeVar("Task")
Result = TypeVar("Result")

# Libraries that start a thread a core would fight over the cores with the other workers.
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
_PARENT_CHECK_SECONDS = 1.0

_ticks: Any = None
_stop: Any = None


def run_tasks(
    function: Callable[[Task, Callable[[], None]], Result],
    tasks: Sequence[Task],
    workers: int,
    tick: Callable[[], None] = lambda: None,
) -> Iterator[Result]:
    """Yield `function(task, tick)` of every task as it ends; with several workers in any order.

    Args:
        function: a module-level function; it calls its second argument once for each frame it is done with.
        tasks: picklable.
        workers: processes; with 1 everything runs here.
        tick: called in this process for each frame done anywhere.

    Raises:
        Whatever a task raises; the remaining tasks are then dropped, and running ones end at their next tick.
        LidalError: a worker died (killed, out of memory).
    """
    if workers <= 1 or len(tasks) <= 1:
        for task in tasks:
            yield function(task, tick)
        return
    context = multiprocessing.get_context("spawn")
    counter, stop = context.SimpleQueue(), context.Event()
    with _one_thread_each(), _deaf_to_interrupts():
        pool = ProcessPoolExecutor(
            min(workers, len(tasks)),
            mp_context=context,
            initializer=_start_worker,
            initargs=(os.getpid(), counter, stop),
        )
        waiting: set[Future[Result]] = {pool.submit(_call, function, task) for task in tasks}
    try:
        while waiting:
            done, waiting = wait(waiting, timeout=0.1, return_when=FIRST_COMPLETED)
            while not counter.empty():
                counter.get()
                tick()
            for future in done:
                yield future.result()
    except BrokenProcessPool as error:
        raise LidalError(
            f"a worker process died (killed, or out of memory); run again to continue, with fewer workers than {workers}"
        ) from error
    finally:
        # A task may be hours long: nobody waits for its end to learn that another one failed.
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)


class _one_thread_each:
    """Environment of the workers while they start; this process's own is put back."""

    def __enter__(self) -> None:
        self._before = {name: os.environ.get(name) for name in _ONE_THREAD}
        os.environ.update(dict.fromkeys(_ONE_THREAD, "1"))

    def __exit__(self, *_: object) -> None:
        for name, value in self._before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Workers started here ignore Ctrl-C, which reaches them too: the parent hears it and stops them in good order."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL if before is None else before)


class _Stopped(Exception):
    """Ends a task whose result nobody waits for any more."""


def _start_worker(parent: int, counter: Any, stop: Any) -> None:
    global _ticks, _stop
    _ticks, _stop = counter, stop
    threading.Thread(target=_leave_with, args=(parent,), daemon=True).start()


def _leave_with(parent: int) -> None:
    """A pool's workers wait forever for a parent that was killed with SIGKILL: look, and leave."""
    while os.getppid() == parent:
        time.sleep(_PARENT_CHECK_SECONDS)
    os._exit(1)


def _call(function: Callable[[Task, Callable[[], None]], Result], task: Task) -> Result:
    def tick() -> None:
        _ticks.put(None)
        _refuse_when_stopped()

    _refuse_when_stopped()
    return function(task, tick)


def _refuse_when_stopped() -> None:
    if _stop.is_set():
        raise _Stopped
