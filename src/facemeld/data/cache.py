"""Decoded pictures in a file, mapped into memory, so that no run decodes a data set twice.

A cache is two files: the pixels, row after row as in PictureStore, and a manifest that says of
which files, in which state, they were made. It is used only if all of that still holds; else it is
made anew. The system keeps in memory what fits, and processes share it.
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from facemeld.data.folders import DomainFolders
from facemeld.data.store import CachedAs, PictureStore, by_domain, decode
from facemeld.errors import UserError
from facemeld.files import locked, write_whole

FORMAT = 2  # of the files, and of how pictures are decoded
CHECKED = 64  # pictures whose sums are compared when a cache is opened


def cache_folder(chosen: str, run: Path) -> Path:
    """Where caches go: as chosen, else below FACEMELD_HOME, else hidden in the run folder."""
    if chosen:
        return Path(chosen)
    home = os.environ.get("FACEMELD_HOME")
    return Path(home) / "cache" if home else run / ".cache"


def cached_pictures(
    folders: DomainFolders,
    image_size: int,
    cache: Path,
    *,
    on_unreadable: Literal["refuse", "skip"] = "refuse",
    workers: int | None = None,
    progress: Callable[[int, int], object] | None = None,
    on_making: Callable[[], object] | None = None,
) -> PictureStore:
    """As `load_pictures`, from the cache; made first where there is no valid one.

    Of several processes that want the same one makes it, and the others wait for it.

    Args:
        cache: folder of caches; a data set at one size has one place in it.
        on_making: called before pictures are decoded.
        folders, image_size, on_unreadable, workers, progress: as `load_pictures`.

    Raises:
        UserError: as `load_pictures`, or the cache cannot be written.
    """
    pixels, _ = _places(folders, image_size, cache)

    def find() -> PictureStore | None:
        return open_cache(folders, image_size, cache, on_unreadable=on_unreadable)

    if (store := find()) is not None:
        return store
    with locked(pixels.with_suffix(".lock"), what="another reading of these pictures", wait=True):
        if (store := find()) is None:
            if on_making is not None:
                on_making()
            how = dict(on_unreadable=on_unreadable, workers=workers, progress=progress)
            _make(folders, image_size, cache, **how)
            store = find()
    if store is None:
        raise UserError(
            "the pictures changed while they were read",
            where=str(folders.root),
            fix="try again when nothing writes to that folder",
        )
    return store


def _make(folders: DomainFolders, image_size: int, cache: Path, **how) -> None:
    """Decodes the pictures into the cache; ``how`` is for `decode`."""
    pixels, manifest = _places(folders, image_size, cache)
    made: list = []

    def write(partial: Path) -> None:
        with partial.open("wb") as file:
            made[:] = decode(
                folders,
                image_size,
                lambda picture: file.write(np.ascontiguousarray(picture)),
                **how,
            )

    before = _inputs(folders, image_size)
    write_whole(pixels, write)
    counts, skipped = made
    facts = before | {
        "counts": counts,
        "skipped": [[str(file.relative_to(folders.root)), why] for file, why in skipped],
        "sums": _sums(_mapped(pixels, sum(counts), image_size)),
    }
    # the manifest comes last: without it, or with an earlier one, the pixels are not used
    write_whole(manifest, lambda partial: partial.write_text(json.dumps(facts), encoding="utf-8"))


def open_cache(
    folders: DomainFolders,
    image_size: int,
    cache: Path,
    *,
    on_unreadable: Literal["refuse", "skip"] = "refuse",
) -> PictureStore | None:
    """The cached pictures, if the cache is whole and the files are as they were; else None."""
    pixels, manifest = _places(folders, image_size, cache)
    try:
        text = manifest.read_text(encoding="utf-8")
        facts = json.loads(text)
        same = all(facts[k] == v for k, v in _inputs(folders, image_size).items())
        if not same or (facts["skipped"] and on_unreadable == "refuse"):
            return None
        rows = _mapped(pixels, sum(facts["counts"]), image_size)
        if facts["sums"] != _sums(rows):
            return None
        named = {str(f.relative_to(folders.root)): f for files in folders.files for f in files}
        skipped = tuple((named[name], why) for name, why in facts["skipped"])
        cached_as = CachedAs(pixels, hashlib.sha256(text.encode()).hexdigest())
        return PictureStore(folders.domains, by_domain(rows, facts["counts"]), skipped, cached_as)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None  # missing or damaged, in whatever way


def _places(folders: DomainFolders, image_size: int, cache: Path) -> tuple[Path, Path]:
    """The files of pixels and of the manifest."""
    data_set = json.dumps([os.path.abspath(folders.root), folders.domains])
    name = (
        f"{folders.root.name}-{image_size}px-{hashlib.sha256(data_set.encode()).hexdigest()[:12]}"
    )
    return cache / f"{name}.pixels", cache / f"{name}.json"


def _inputs(folders: DomainFolders, image_size: int) -> dict:
    """What the pixels follow from: the size, and every file with its length and time of change."""
    digest = hashlib.sha256()
    for files in folders.files:
        for file in files:
            state = file.stat()
            entry = (str(file.relative_to(folders.root)), state.st_size, state.st_mtime_ns)
            digest.update(json.dumps(entry).encode())
    return {
        "format": FORMAT,
        "image_size": image_size,
        "domains": list(folders.domains),
        "files": digest.hexdigest(),
    }


def _mapped(pixels: Path, count: int, size: int) -> NDArray[np.uint8]:
    """N H W C, read-only; ValueError if the file is of another length."""
    if pixels.stat().st_size != count * size * size * 3:
        raise ValueError("not as long as its manifest says")
    return np.memmap(pixels, np.uint8, "r", shape=(count, size, size, 3))


def _sums(rows: NDArray[np.uint8]) -> list[int]:
    """Checksums of some pictures, spread evenly."""
    some = np.linspace(0, len(rows) - 1, min(CHECKED, len(rows))).astype(int)
    return [zlib.crc32(rows[row]) for row in some]
