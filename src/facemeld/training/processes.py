"""Several processes that train one model: gradients averaged explicitly over torch.distributed.

On a CPU two processes of one thread each outrun one process of two threads.
"""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as multiprocessing
from torch import Tensor

from facemeld.errors import UserError


@dataclass(frozen=True)
class Team:
    """The processes of a run: this one's rank and their number."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    def average_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Replaces every gradient by its mean over the processes, in one message."""
        if self.size == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        bucket = torch.cat([g.flatten() for g in gradients])
        dist.all_reduce(bucket)
        bucket /= self.size
        parts = bucket.split([g.numel() for g in gradients])
        torch._foreach_copy_(gradients, [p.view(g.shape) for p, g in zip(parts, gradients)])

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process."""
        if self.size == 1:
            return flag
        value = torch.tensor(float(flag))
        dist.all_reduce(value, op=dist.ReduceOp.MAX)
        return bool(value)

    def gather_rows(self, rows: Tensor) -> Tensor:
        """Concatenates equally many rows of each process, rank by rank."""
        if self.size == 1:
            return rows
        parts = [torch.empty_like(rows) for _ in range(self.size)]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)


def launch(size: int, work: Callable[..., None], *arguments) -> None:
    """Runs ``work(team, *arguments)`` in ``size`` processes; this one is rank 0.

    Args:
        size: number of processes.
        work: a module-level function.
        arguments: picklable arguments.
    """
    if size == 1:
        work(Team(), *arguments)
        return
    threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory() as folder:
        meeting_point = Path(folder) / "processes"
        context = multiprocessing.get_context("spawn")
        started = context.Semaphore(0)
        shared = (size, meeting_point, started, work, arguments)
        others = [
            context.Process(target=_follow, args=(rank, *shared), daemon=True)
            for rank in range(1, size)
        ]
        for process in others:
            process.start()
        try:
            _wait_for(started, others)
            _join(0, size, meeting_point, work, arguments)
        except BaseException:
            for process in others:  # they would wait for this one, or complain that it is gone
                process.kill()
            raise
        finally:
            if dist.is_initialized():
                dist.destroy_process_group()
            for process in others:
                process.join(timeout=30)
                process.kill()
            torch.set_num_threads(threads)


def _join(rank: int, size: int, meeting_point: Path, work: Callable, arguments: tuple) -> None:
    # each process computes alone; more threads than cores would only wait for one another
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // size))
    dist.init_process_group("gloo", init_method=meeting_point.as_uri(), rank=rank, world_size=size)
    work(Team(rank, size), *arguments)


def _follow(
    rank: int, size: int, meeting_point: Path, started, work: Callable, arguments: tuple
) -> None:
    """All that a process other than the leader does."""
    # Ctrl-C reaches every process; only the leader acts on it and tells the others
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    started.release()
    try:
        _join(rank, size, meeting_point, work, arguments)
    except (UserError, KeyboardInterrupt):
        pass  # the leader runs into it as well, and tells the person
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def _wait_for(started, processes: list) -> None:
    """Returns when all have started; UserError if one ends before, which torch would wait for."""
    for _ in processes:
        while not started.acquire(timeout=0.1):
            if any(process.exitcode is not None for process in processes):
                raise UserError(
                    "a worker process ended before it began",
                    fix="call train below `if __name__ == '__main__':`, or use one process",
                )
