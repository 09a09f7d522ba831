"""Archives from elsewhere, unpacked so that they can do no harm.

Only regular files and folders are made, all below one new folder; nothing is ever overwritten.
Absolute names, ``..``, links, devices and encrypted files are refused, and so is an archive that
would become too many files, too many bytes, or too many times its own size.
"""

from __future__ import annotations

import errno
import gzip
import lzma
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from facemeld.errors import UserError
from facemeld.images.read import shown

_CHUNK = 1 << 20
_LONGEST_PATH, _LONGEST_NAME = 2000, 255  # bytes; what file systems take, less the folder's own
_DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    gzip.BadGzipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    ValueError,  # names that are no Unicode
    NotImplementedError,  # a compression that zipfile does not know
)


@dataclass(frozen=True, kw_only=True)
class ArchiveLimits:
    """What an archive may become before it is refused."""

    files: int = 500_000
    """Files and folders."""
    total: int = 200 * 10**9
    """Bytes of all files."""
    ratio: int = 200
    """Bytes of all files for each byte of the archive; pictures hardly shrink, bombs do."""


@dataclass(frozen=True)
class _Member:
    name: str
    is_folder: bool
    open: Callable[[], IO[bytes]]


def unpack(
    archive: Path,
    into: Path,
    *,
    limits: ArchiveLimits = ArchiveLimits(),
    progress: Callable[[int], object] | None = None,
) -> int:
    """Unpack a zip or tar archive (plain or compressed) into a new folder.

    Args:
        archive: the file.
        into: a folder that does not exist yet; it appears whole or not at all.
        limits: what to refuse.
        progress: called after each file with their number so far.

    Returns:
        the number of files.

    Raises:
        UserError: an archive that is damaged, breaks the rules above, or does not fit on the disk;
            or `into` exists.
    """
    if into.exists():
        raise UserError("is there already; nothing is overwritten", where=shown(into))
    partial = into.with_name(into.name + ".partial")
    if partial.exists():
        shutil.rmtree(partial)  # of an unpacking that was cut
    partial.mkdir(parents=True)
    try:
        with _open(archive) as members:
            _check_room(archive, partial)
            count = _write_all(members, partial, archive, limits, progress)
        partial.rename(into)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return count


def unpack_one(archive: Path, member: str, to: Path, *, most_bytes: int = 2 * 10**9) -> None:
    """Write one file of an archive to `to`.

    Raises:
        UserError: the archive is damaged or has no such file, or the file is over `most_bytes`.
    """
    with _open(archive) as members:
        for found in members:
            if found.name == member and not found.is_folder:
                with found.open() as source, to.open("wb") as target:
                    _copy(source, target, most_bytes, archive)
                return
    raise UserError(f"the archive has no file {member}", where=shown(archive))


def _check_room(archive: Path, folder: Path) -> None:
    """Before anything is written; only a zip says what it will become."""
    if not _is_zip(archive):
        return
    with zipfile.ZipFile(archive) as file:
        needed = sum(info.file_size for info in file.infolist())
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"no room: {needed / 1e6:.0f} MB are to be unpacked, {free / 1e6:.0f} MB are free",
            where=shown(folder.parent),
            fix="free some space, then run the same command again; the archive is kept",
        )


def _write_all(
    members: Iterator[_Member],
    root: Path,
    archive: Path,
    limits: ArchiveLimits,
    progress: Callable[[int], object] | None,
) -> int:
    room = min(limits.total, limits.ratio * max(archive.stat().st_size, 10_000))
    entries = files = 0
    for member in members:
        entries += 1
        if entries > limits.files:
            raise _refused(f"it holds more than {limits.files} files", archive)
        path = root / _safe(member.name, archive)
        try:
            if member.is_folder:
                path.mkdir(parents=True, exist_ok=True)
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            with member.open() as source, path.open("xb") as target:
                room -= _copy(source, target, room, archive)
        except (FileExistsError, NotADirectoryError):
            raise _refused(f"it holds {shown(member.name)} twice", archive) from None
        files += 1
        if progress is not None:
            progress(files)
    return files


def _copy(source: IO[bytes], target: IO[bytes], most: int, archive: Path) -> int:
    """Bytes copied; counted as they come, since an archive may lie about its sizes."""
    copied = 0
    while chunk := source.read(_CHUNK):
        copied += len(chunk)
        if copied > most:
            raise _refused("it would become far too large", archive)
        target.write(chunk)
    return copied


def _safe(name: str, archive: Path) -> Path:
    """The name as a relative path that stays below the folder it is put in."""
    parts = name.rstrip("/").split("/")
    bad = (
        not name.isprintable()
        or "\\" in name
        or ":" in parts[0]
        or any(part in ("", "..") for part in parts)
        or len(name.encode()) > _LONGEST_PATH
        or any(len(part.encode()) > _LONGEST_NAME for part in parts)
    )
    if bad:
        raise _refused(f"it holds the file name {name[:_LONGEST_NAME]!a}", archive)
    return Path(*parts)


@contextmanager
def _open(archive: Path) -> Iterator[Iterator[_Member]]:
    """The members of an archive, in its own order; what a decoder trips over becomes an error."""
    try:
        if _is_zip(archive):
            with zipfile.ZipFile(archive) as file:
                yield _zip_members(file, archive)
        else:
            with tarfile.open(archive, "r:*") as file:
                yield _tar_members(file, archive)
    except _DAMAGE as error:
        raise _refused("it is damaged or not an archive", archive) from error
    except OSError as error:
        if error.errno != errno.EINVAL:  # a seek to nowhere
            raise
        raise _refused("it is damaged or not an archive", archive) from error


def _is_zip(archive: Path) -> bool:
    with archive.open("rb") as start:
        return start.read(2) == b"PK"  # is_zipfile() also accepts a tar that ends in a zip


def _zip_members(file: zipfile.ZipFile, archive: Path) -> Iterator[_Member]:
    for info in file.infolist():
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise _refused(f"{shown(info.filename)} is a link or a device", archive)
        if info.flag_bits & 1:
            raise _refused(f"{shown(info.filename)} is encrypted", archive)
        yield _Member(info.filename, info.is_dir(), lambda i=info: file.open(i))


def _tar_members(file: tarfile.TarFile, archive: Path) -> Iterator[_Member]:
    for info in file:
        if not (info.isreg() or info.isdir()):
            raise _refused(f"{shown(info.name)} is a link or a device", archive)
        name = info.name.removeprefix("./") or "."
        if name == ".":
            continue
        yield _Member(name, info.isdir(), lambda i=info: file.extractfile(i))


def _refused(reason: str, archive: Path) -> UserError:
    return UserError(
        f"the archive is refused: {reason}",
        where=shown(archive),
        fix="get it again from its publisher; if it is no better then, do not use it",
    )
