"""Work spread over processes: results as they come, a bounded number under way."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from facemeld.errors import UserError

_MOST_PROCESSES = 16
_UNDER_WAY = 3  # tasks a process: enough that none waits

Task = TypeVar("Task")
Result = TypeVar("Result")


def usable_cores() -> int:
    """The cores that this process may run on, at most 16."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        cores = os.cpu_count() or 1
    return min(cores, _MOST_PROCESSES)


def in_processes(
    function: Callable[[Task], Result], tasks: Sequence[Task], processes: int
) -> Iterator[Result]:
    """Results of the function for each task, in no particular order.

    With one process everything happens in this one. Ctrl-C reaches only this process; tasks under
    way are then finished and their results dropped.

    Raises:
        UserError: a process died, for example for lack of memory; or what the function raises.
    """
    if processes == 1 or len(tasks) < 2:
        yield from map(function, tasks)
        return
    # spawned, not forked: the caller may have threads, such as that of a progress bar
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, initializer=_ignore_interrupts) as pool:
        waiting = iter(tasks)
        under_way = set()
        try:
            while True:
                for task in waiting:
                    under_way.add(pool.submit(function, task))
                    if len(under_way) >= _UNDER_WAY * processes:
                        break
                if not under_way:
                    return
                done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        except BrokenProcessPool:
            raise UserError(
                "a worker process died, perhaps for lack of memory",
                where="--processes",
                fix="run the same command again with --processes 1; it goes on where it stopped",
            ) from None
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _ignore_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
