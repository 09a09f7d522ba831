"""Files that must survive a crash: written under a temporary name, synced, renamed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from facemeld.errors import UserError


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Runs ``write(temporary path)``, syncs the file and renames it to ``path``.

    Args:
        path: the file; missing folders are made.
        write: writes the content to the path that it is given.

    Raises:
        UserError: the disk is full, the folder read-only, …; nothing half-written stays, and what
            was at ``path`` before is still there.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            partial.touch()
            mode = partial.stat().st_mode  # safetensors would keep others from reading the file
            write(partial)
            partial.chmod(mode)
            with partial.open("rb+") as file:
                os.fsync(file.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except Exception as error:
        if not _is_about_the_disk(error):
            raise
        raise _cannot_write(path, error) from None


@contextmanager
def locked(path: Path, *, what: str, wait: bool = False) -> Iterator[None]:
    """Keeps other processes from the same work; the lock goes with the process.

    Args:
        path: a file to lock; made if missing, with its folder.
        what: the work, for the error: "another download of this file", …
        wait: until no other process has the lock, rather than refuse.

    Raises:
        UserError: another process has the lock, or the file cannot be made.
    """
    try:
        import fcntl
    except ImportError:  # on Windows, two at once are not noticed
        yield
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("ab")
    except OSError as error:
        raise _cannot_write(path, error) from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise UserError(
                f"{what} is running", where=str(path), fix="wait for it, or stop it"
            ) from None
        yield


def _cannot_write(path: Path, error: Exception) -> UserError:
    return UserError(
        f"cannot write: {getattr(error, 'strerror', None) or error}",
        where=str(path),
        fix="free some space or choose a folder that can be written; earlier files are intact",
    )


def _is_about_the_disk(error: Exception) -> bool:
    # safetensors has an error of its own for a full disk; not imported only to be named here
    return isinstance(error, OSError) or type(error).__name__ == "SafetensorError"
