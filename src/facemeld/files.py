"""Files that must survive a crash: written under a temporary name, synced, renamed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from safetensors import SafetensorError

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
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"cannot write: {getattr(error, 'strerror', None) or error}",
            where=str(path),
            fix="free some space or choose a folder that can be written; earlier files are intact",
        ) from None
