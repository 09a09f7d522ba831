"""Batches made ahead are the batches of their steps, and their mistakes are told."""

from __future__ import annotations

import threading

import pytest

from facemeld.data.prefetch import AHEAD, BatchesAhead


def test_each_step_gets_its_own_batch_and_the_next_are_on_their_way() -> None:
    made: list[tuple[int, str]] = []

    def batch(step: int) -> int:
        made.append((step, threading.current_thread().name))
        return 10 * step

    batches = BatchesAhead(batch, first=5)
    assert [batches.take(step) for step in range(5, 9)] == [50, 60, 70, 80]
    batches.close()
    steps = [step for step, _ in made]
    assert steps == list(range(5, 5 + len(steps))) and len(steps) <= 4 + AHEAD
    assert all(name.startswith("batches") for _, name in made)


def test_a_mistake_is_raised_where_the_batch_is_taken() -> None:
    def batch(step: int) -> int:
        if step == 1:
            raise OSError("gone")
        return step

    batches = BatchesAhead(batch, first=0)
    assert batches.take(0) == 0
    with pytest.raises(OSError, match="gone"):
        batches.take(1)
    batches.close()
