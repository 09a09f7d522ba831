"""The processes of one evaluation under torchrun; alone without it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist

_PATIENCE = timedelta(days=7)  # ranks wait for one another's share, which may take hours


@dataclass(frozen=True)
class Ranks:
    """This process's rank and their number."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process writes the results."""
        return self.rank == 0

    def share(self, items: list) -> list:
        """This process's part of a list that all have."""
        return items[self.rank :: self.size]

    def wait(self) -> None:
        """Returns when all have come here."""
        if self.size > 1:
            dist.barrier()

    def gathered(self, mine: list) -> list:
        """The lists of all, one after the other; each has to come here."""
        if self.size == 1:
            return mine
        everyones: list[list] = [[] for _ in range(self.size)]
        dist.all_gather_object(everyones, mine)
        return [item for theirs in everyones for item in theirs]


ALONE = Ranks()


@contextmanager
def joined_ranks() -> Iterator[Ranks]:
    """The ranks that torchrun started, which write and read the same output folder."""
    size = int(os.environ.get("WORLD_SIZE", 1))
    if size == 1:
        yield ALONE
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("gloo", timeout=_PATIENCE)
    try:
        yield Ranks(dist.get_rank(), size)
    finally:
        dist.destroy_process_group()
