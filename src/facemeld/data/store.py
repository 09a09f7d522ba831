"""The pictures of a data set, decoded once, as bytes in memory (or in a file: see `cache`)."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from facemeld.data.folders import DomainFolders
from facemeld.data.shards import ShardPicture
from facemeld.errors import UserError
from facemeld.images.read import centre_square, read_picture, shown

_LARGE = 256  # pixels a side, from which on decoding costs more than it is worth
_MOST_WORKERS = 16  # each may hold one decoded picture of full size
_AT_ONCE = 512  # decoded pictures that may wait for their turn
_MOST_LISTED = 10


class CachedAs(NamedTuple):
    """Where decoded pictures lie, and what they were made of."""

    path: Path
    digest: str


@dataclass(frozen=True)
class PictureStore:
    """Decoded pictures of each domain."""

    domains: tuple[str, ...]
    """Names of the domains; their index is the label."""
    pictures: list[NDArray[np.uint8]]
    """For each domain N H W C, RGB in [0, 255], in the order of the files; N at least 1."""
    skipped: tuple[tuple[Path | ShardPicture, str], ...] = ()
    """Files left out because they cannot be read, with the reasons."""
    cached_as: CachedAs | None = None
    """Of a cache of decoded pictures (data/cache.py)."""


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
    pixels = np.empty((sum(map(len, folders.files)), image_size, image_size, 3), np.uint8)
    kept = iter(pixels)

    def take(picture: NDArray[np.uint8]) -> None:
        next(kept)[:] = picture

    counts, skipped = decode(
        folders,
        image_size,
        take,
        on_unreadable=on_unreadable,
        workers=workers,
        progress=progress,
    )
    return PictureStore(folders.domains, by_domain(pixels, counts), skipped)


def decode(
    folders: DomainFolders,
    image_size: int,
    take: Callable[[NDArray[np.uint8]], object],
    *,
    on_unreadable: Literal["refuse", "skip"],
    workers: int | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> tuple[list[int], tuple[tuple[Path | ShardPicture, str], ...]]:
    """Give each readable picture, H W C in the order of the files, to `take`, in this thread.

    JPEGs are decoded at 1/2, 1/4 or 1/8 where `margin` allows it.

    Returns:
        The number of pictures of each domain, and the files skipped with the reasons.

    Raises:
        UserError: as `load_pictures`.
    """
    total, done = sum(map(len, folders.files)), 0
    counts: list[int] = []
    unreadable: list[tuple[Path | ShardPicture, str]] = []
    workers = workers or min(_MOST_WORKERS, os.cpu_count() or 1)
    # Threads suffice: Pillow decodes and resizes outside the interpreter lock.
    with ThreadPoolExecutor(workers) as pool:
        try:
            for files in folders.files:
                counts.append(0)
                for start in range(0, len(files), _AT_ONCE):
                    some = files[start : start + _AT_ONCE]
                    for file, found in zip(some, pool.map(partial(_decode, image_size), some)):
                        if isinstance(found, str):
                            unreadable.append((file, found))
                        else:
                            take(found)
                            counts[-1] += 1
                        done += 1
                        if progress is not None:
                            progress(done, total)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    if unreadable and on_unreadable == "refuse":
        raise _refusal(folders, unreadable, f"{len(unreadable)} of {total} pictures cannot be read")
    empty = ", ".join(shown(name) for name, n in zip(folders.domains, counts, strict=True) if not n)
    if empty:
        raise _refusal(folders, unreadable, f"no picture of these domains can be read: {empty}")
    return counts, tuple(unreadable)


def margin(image_size: int) -> int:
    """At how many times the size JPEGs are decoded at least.

    Twice leaves something to do for antialiasing: 51 dB from decoding them in full. Once is still
    nearer to that than the official loader's bilinear filter, and takes a third of the time.
    """
    return 1 if image_size >= _LARGE else 2


def by_domain(pixels: NDArray[np.uint8], counts: list[int]) -> list[NDArray[np.uint8]]:
    """Views of the rows of each domain; rows beyond the counts are left out."""
    ends = np.cumsum(counts)
    return [pixels[end - count : end] for end, count in zip(ends, counts)]


def content(file: Path | ShardPicture) -> Path | bytes:
    """What `read_picture` reads: a file by its path, a picture in a shard by its content."""
    return file.read_bytes() if isinstance(file, ShardPicture) else file


def _decode(size: int, file: Path | ShardPicture) -> NDArray[np.uint8] | str:
    """The picture of a file, H W C, or why there is none."""
    try:
        picture = read_picture(content(file), enough=size, margin=margin(size))
        return np.asarray(centre_square(picture, size))
    except UserError as error:
        return error.what


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
