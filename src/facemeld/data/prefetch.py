"""Batches prepared ahead by a thread, in the order of the steps."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from facemeld.data.sampling import Batch

AHEAD = 2


class BatchesAhead:
    """Prepares the batches of the next steps while the present one is trained on.

    A batch is a function of its step alone, so nothing about it changes by being early.

    Args:
        batch: the batch of a step.
        first: the first step that will be asked for.
    """

    def __init__(self, batch: Callable[[int], Batch], first: int) -> None:
        self._batch = batch
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="batches")
        self._ready: dict[int, Future[Batch]] = {}
        self._prepare(first)

    def take(self, step: int) -> Batch:
        """The batch of a step; what it raised while it was made is raised here."""
        self._prepare(step)
        batch = self._ready.pop(step).result()
        self._prepare(step + 1)
        return batch

    def close(self) -> None:
        """Ends the thread; batches nobody took are dropped."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _prepare(self, first: int) -> None:
        for step in range(first, first + AHEAD):
            if step not in self._ready:
                self._ready[step] = self._pool.submit(self._batch, step)
