"""Several processes that train one model: gradients averaged explicitly over torch.distributed.

They come from ``launch`` (one machine) or from torchrun (any number of machines). Tensors on CPUs
travel by gloo, those on GPUs by NCCL. On a CPU that other programs use, too, two processes of one
thread each outrun one process of two threads, each of which waits for the other; see
docs/scaling.md.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
import torch.multiprocessing as multiprocessing
from torch import Tensor

from facemeld.errors import UserError

PATIENCE = timedelta(minutes=30)  # for a process that is slow to read its pictures

Result = TypeVar("Result")


class LostProcess(UserError):
    """Another process of the run is gone, so that this one cannot go on."""

    def __init__(self, what: str = "another process of the run ended") -> None:
        super().__init__(
            what,
            fix="its own message, if any, is above; the same command with --resume auto goes on "
            "from the last checkpoint, on any number of processes",
        )


@dataclass(frozen=True)
class Team:
    """The processes of a run: this one's rank and device, and their number."""

    rank: int = 0
    size: int = 1
    device: torch.device = torch.device("cpu")

    @property
    def leads(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    def average_gradients(self, parameters: Iterable[torch.nn.Parameter], loss: Tensor) -> Tensor:
        """Replaces every gradient by its mean over the processes, in one message.

        Returns:
            The loss averaged in the same message, so that all processes judge it alike.
        """
        loss = loss.detach().float()
        if self.size == 1:
            return loss
        gradients = [p.grad for p in parameters if p.grad is not None]
        bucket = torch.cat([loss.reshape(1), *(g.flatten() for g in gradients)])
        self.add_up(bucket)
        bucket /= self.size
        mean, *parts = bucket.split([1, *(g.numel() for g in gradients)])
        torch._foreach_copy_(gradients, [p.view(g.shape) for p, g in zip(parts, gradients)])
        return mean.reshape(())

    def add_up(self, values: Tensor) -> None:
        """Replaces the values by their sums over the processes."""
        if self.size > 1:
            with _lost_peers():
                dist.all_reduce(values)

    def gather_rows(self, rows: Tensor) -> Tensor:
        """Concatenates equally many rows of each process, rank by rank."""
        if self.size == 1:
            return rows
        parts = [torch.empty_like(rows) for _ in range(self.size)]
        with _lost_peers():
            dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    def together(self, work: Callable[[], Result]) -> Result:
        """Runs ``work`` in every process; a UserError in any of them is raised in all."""
        if self.size == 1:
            return work()
        result, mistake = None, None
        try:
            result = work()
        except UserError as error:
            mistake = error
        mistakes: list[UserError | None] = [None] * self.size
        with _lost_peers():
            dist.all_gather_object(mistakes, mistake)
        for mistake in filter(None, mistakes):
            raise mistake
        return result

    def from_leader(self, work: Callable[[], Result]) -> Result:
        """Runs ``work`` in the leader alone; its result, or UserError, reaches every process."""
        result = [self.together(lambda: work() if self.leads else None)]
        if self.size > 1:
            with _lost_peers():
                dist.broadcast_object_list(result, src=0, device=torch.device("cpu"))
        return result[0]


class SharedFlag:
    """A number that any process may raise above 0, and that all see after the same iteration.

    That is one iteration later: the message travels while the next one is computed.
    """

    def __init__(self, team: Team) -> None:
        self.team = team
        self.underway: tuple[dist.Work, Tensor] | None = None

    def poll(self, mine: int) -> int:
        """The largest number of any process one call ago; all of them call alike."""
        if self.team.size == 1:
            return mine
        earlier = self.finish()
        with _lost_peers():
            flag = torch.tensor(mine)
            self.underway = dist.all_reduce(flag, op=dist.ReduceOp.MAX, async_op=True), flag
        return earlier

    def finish(self) -> int:
        """Waits for the message underway and returns what it says."""
        if self.underway is None:
            return 0
        work, flag = self.underway
        self.underway = None
        with _lost_peers():
            work.wait()
        return int(flag)


def cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def best_size(samples: int) -> int:
    """Processes that share out this many samples evenly: as many as there are cores, on a CPU."""
    if device_of().type != "cpu":
        return 1
    return max(n for n in range(1, samples + 1) if n <= cores() and samples % n == 0)


def device_of(local_rank: int = 0) -> torch.device:
    """The device of the process with this rank on its machine: a GPU of its own, or the CPU."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", local_rank)


def torchrun_size() -> int:
    """How many processes torchrun started for this job; 0 when it did not start this one."""
    started = "TORCHELASTIC_RUN_ID" in os.environ or {"RANK", "MASTER_ADDR"} <= os.environ.keys()
    return int(os.environ.get("WORLD_SIZE", 1)) if started else 0


@contextmanager
def torchrun_team() -> Iterator[Team]:
    """This process's place in the job that torchrun started, or a team of one."""
    size = torchrun_size()
    if size <= 1:
        yield Team(device=device_of())
        return
    local_rank, local_size = (int(os.environ[f"LOCAL_{n}"]) for n in ("RANK", "WORLD_SIZE"))
    with _joined(int(os.environ["RANK"]), size, local_rank, local_size) as team:
        yield team


def launch(size: int, work: Callable[..., None], *arguments) -> None:
    """Runs ``work(team, *arguments)`` in ``size`` processes; this one is rank 0.

    Args:
        size: number of processes.
        work: a module-level function.
        arguments: picklable arguments.

    Raises:
        UserError: what the leader ran into, or that another process ended.
    """
    if size == 1:
        work(Team(device=device_of()), *arguments)
        return
    threads = torch.get_num_threads()
    store = _meeting_point()
    context = multiprocessing.get_context("spawn")
    others = [
        context.Process(target=_follow, args=(rank, size, store.port, work, arguments), daemon=True)
        for rank in range(1, size)
    ]
    for process in others:
        process.start()
    try:
        _wait_for(store, others)
        with _joined(0, size, 0, size, store) as team:
            work(team, *arguments)
    except BaseException as error:
        lost = _obituary(others) if isinstance(error, LostProcess) else ""
        for process in others:  # they would wait for this one, or complain that it is gone
            process.kill()
        if lost:
            raise LostProcess(lost) from None
        raise
    finally:
        for process in others:
            process.join(timeout=30)
            process.kill()
        torch.set_num_threads(threads)


@contextmanager
def _joined(
    rank: int, size: int, local_rank: int, local_size: int, store: dist.Store | None = None
) -> Iterator[Team]:
    """Membership in the group of processes, which meet in the store, or where torchrun says."""
    # each process computes alone; more threads than cores would only wait for one another
    torch.set_num_threads(max(1, cores() // local_size))
    device, backend = device_of(local_rank), "gloo"
    if device.type == "cuda":
        if local_size > torch.cuda.device_count():
            raise UserError(
                f"{local_size} processes need a GPU each, this machine has "
                f"{torch.cuda.device_count()}",
                where="--processes or --nproc-per-node",
                fix="start as many processes as there are GPUs",
            )
        torch.cuda.set_device(device)
        backend = "cpu:gloo,cuda:nccl"
    with _lost_peers():
        dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=PATIENCE)
    try:
        yield Team(rank, size, device)
    finally:
        dist.destroy_process_group()


def _meeting_point(port: int | None = None) -> dist.TCPStore:
    """Where the processes of this machine meet: a store at a port, or a new one.

    A new one listens on the loopback address only, as PyTorch's own would not.
    """
    if port is not None:
        return dist.TCPStore("127.0.0.1", port, is_master=False, timeout=PATIENCE)
    listener = socket.create_server(("127.0.0.1", 0))
    return dist.TCPStore(
        "127.0.0.1",
        listener.getsockname()[1],
        is_master=True,
        wait_for_workers=False,
        master_listen_fd=listener.detach(),
        timeout=PATIENCE,
    )


def _follow(rank: int, size: int, port: int, work: Callable, arguments: tuple) -> None:
    """All that a process other than the leader does."""
    # outside the loop, which sees to it itself, the leader decides what a Ctrl-C ends
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    store = _meeting_point(port)
    store.set(_started(rank), "")
    try:
        with _joined(rank, size, rank, size, store) as team:
            work(team, *arguments)
    except (UserError, KeyboardInterrupt):
        pass  # the leader runs into it as well, or is gone


@contextmanager
def _lost_peers() -> Iterator[None]:
    """Turns the failure of a message, which means that its receiver is gone, into LostProcess."""
    try:
        yield
    except RuntimeError as error:
        raise LostProcess() from error


def _started(rank: int) -> str:
    return f"process {rank} has started"


def _wait_for(store: dist.Store, processes: list) -> None:
    """Returns when all have started; UserError if one ends before, which torch would wait for."""
    while not store.check([_started(rank) for rank, _ in enumerate(processes, start=1)]):
        if any(process.exitcode is not None for process in processes):
            raise UserError(
                "a worker process ended before it began",
                fix="call train below `if __name__ == '__main__':`, or use one process",
            )
        time.sleep(0.05)


def _obituary(processes: list) -> str:
    """Which process ended, and of what."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:  # its exit code may come after the news of its end
        for rank, process in enumerate(processes, start=1):
            if process.exitcode:
                how = f"exit code {process.exitcode}"
                if process.exitcode < 0:
                    how = f"killed by signal {-process.exitcode}"
                return f"process {rank} of the run's {len(processes) + 1} ended ({how})"
        time.sleep(0.05)
    return "a process of the run ended"
