"""The pictures of a run, decoded once by one of its processes and shared by all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from facemeld.config import TrainingConfig
from facemeld.data.cache import cache_folder, cached_pictures, open_cache
from facemeld.data.folders import DomainFolders
from facemeld.data.store import PictureStore, load_pictures
from facemeld.training.processes import Team


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

    def lead() -> PictureStore | None:
        if not team.leads:
            return None
        return cached_pictures(folders, size, cache, on_making=making, **how)

    # the others wait for the leader's file, or its mistake; one on another machine may not see it
    store = team.together(lead) or open_cache(folders, size, cache, **how)
    return store or load_pictures(folders, size, **how)
