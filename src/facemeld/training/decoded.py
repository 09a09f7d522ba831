"""The pictures of a run, decoded once on each machine and shared by its processes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from facemeld.config import TrainingConfig
from facemeld.data.cache import cache_folder, cached_pictures, open_cache
from facemeld.data.folders import DomainFolders
from facemeld.data.store import PictureStore
from facemeld.errors import UserError
from facemeld.training.processes import Team, torchrun_size


def decoded_pictures(
    config: TrainingConfig,
    folders: DomainFolders,
    out: Path,
    team: Team,
    say: Callable[[str], object],
) -> PictureStore:
    """The data set from the cache of an earlier run where nothing changed, else decoded now.

    Raises:
        UserError: pictures that cannot be read, or a cache that cannot be written.
    """
    size, cache = config.network.image_size, cache_folder(config.cache, out)
    how = dict(on_unreadable=config.on_unreadable)

    def making() -> None:
        say(f"reading {sum(map(len, folders.files))} pictures into {cache}")

    def make() -> PictureStore:
        return cached_pictures(folders, size, cache, on_making=making, **how)

    def see() -> PictureStore | None:
        return open_cache(folders, size, cache, **how)

    def see_or_make() -> PictureStore | None:
        return see() or (make() if _first_of_machine(team) else None)

    # each step waits for the file of the one before, or for the mistake that kept it from coming
    store = team.together(lambda: make() if team.leads else None)
    # a machine that does not see the leader's file makes one of its own
    store = team.together(lambda: store or see_or_make()) or see()
    if store is None:
        raise UserError(
            "the decoded pictures cannot be read by every process of this machine",
            where=str(cache),
            fix="check who may read that folder, or name another one: --set cache=DIR",
        )
    return store


def _first_of_machine(team: Team) -> bool:
    """Whether this process is the first one of its machine."""
    if torchrun_size() == team.size:
        return int(os.environ.get("LOCAL_RANK", 0)) == 0
    return team.leads  # all are on one
