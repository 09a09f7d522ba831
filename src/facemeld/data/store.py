"""The pictures of a data set, decoded once, kept in memory as bytes."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from facemeld.data.folders import DomainFolders
from facemeld.data.shards import ShardPicture
from facemeld.errors import UserError
from facemeld.images.read import centre_square, read_picture, shown

_MOST_WORKERS = 16  # each may hold one decoded picture of full size
_MOST_LISTED = 10


@dataclass(frozen=True)
class PictureStore:
    """Decoded pictures of each domain."""

    domains: tuple[str, ...]
    """Names of the domains; their index is the label."""
    pictures: list[NDArray[np.uint8]]
    """For each domain N H W C, RGB in [0, 255], in the order of the files; N at least 1."""
    skipped: tuple[tuple[Path | ShardPicture, str], ...] = ()
    """Files left out because they cannot be read, with the reasons."""


def load_pictures(
    folders: DomainFolders,
    image_size: int,
    *,
    on_unreadable: Literal["refuse", "skip"] = "refuse",
    workers: int | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> PictureStore:
    """Decode every picture, cropped to its centre square and resized to `image_size` pixels.

    Takes `3 * image_size**2` bytes of memory a picture, plus one full-size picture a worker. The
    result does not depend on the number of workers.

    Args:
        folders: the files.
        image_size: side of the square pictures, in pixels.
        on_unreadable: what to do when pictures cannot be read.
        workers: threads that decode; by default one a processor, at most 16.
        progress: called in this thread after each picture with (pictures done, pictures in all).

    Raises:
        UserError: unreadable pictures when they are refused (all are looked at, the first ten are
            listed), or a domain of which no picture is left.
    """
    total = sum(len(files) for files in folders.files)
    done = 0
    pictures: list[NDArray[np.uint8]] = []
    unreadable: list[tuple[Path | ShardPicture, str]] = []
    workers = workers or min(_MOST_WORKERS, os.cpu_count() or 1)
    # Threads suffice: Pillow decodes and resizes outside the interpreter lock.
    with ThreadPoolExecutor(workers) as pool:
        try:
            for files in folders.files:
                into = np.empty((len(files), image_size, image_size, 3), np.uint8)
                kept = 0
                reasons = pool.map(_decode_into, into, files)
                for index, reason in enumerate(reasons):
                    if reason is not None:
                        unreadable.append((files[index], reason))
                    else:
                        into[kept] = into[index]  # close the gaps that skipped pictures leave
                        kept += 1
                    done += 1
                    if progress is not None:
                        progress(done, total)
                pictures.append(into[:kept])
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    if unreadable and on_unreadable == "refuse":
        raise _refusal(folders, unreadable, f"{len(unreadable)} of {total} pictures cannot be read")
    names = zip(folders.domains, pictures, strict=True)
    empty = ", ".join(shown(name) for name, found in names if not len(found))
    if empty:
        raise _refusal(folders, unreadable, f"no picture of these domains can be read: {empty}")
    return PictureStore(folders.domains, pictures, tuple(unreadable))


def content(file: Path | ShardPicture) -> Path | bytes:
    """What `read_picture` reads: a file by its path, a picture in a shard by its content."""
    return file.read_bytes() if isinstance(file, ShardPicture) else file


def _decode_into(into: NDArray[np.uint8], file: Path | ShardPicture) -> str | None:
    """Fill `into` (H W C) with the picture of a file, or say why that is not possible."""
    size = into.shape[0]
    try:
        into[:] = np.asarray(centre_square(read_picture(content(file), enough=size), size))
    except UserError as error:
        return error.what
    return None


def _refusal(folders: DomainFolders, unreadable: list[tuple[Path, str]], what: str) -> UserError:
    lines = [shown(folders.root)]
    for file, reason in unreadable[:_MOST_LISTED]:
        lines.append(f"{shown(file.relative_to(folders.root))}: {reason}")
    if len(unreadable) > _MOST_LISTED:
        lines.append(f"and {len(unreadable) - _MOST_LISTED} more")
    return UserError(
        what,
        where="\n         ".join(lines),
        fix="repair or remove these files, or ask for unreadable pictures to be skipped",
    )
