"""What lies in a folder of photographs: every file, its domain, and a digest of the whole.

Nothing is opened here, and nothing is passed over in silence but hidden files.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path

from facemeld.data.folders import is_counted, refuse_splits, subfolders
from facemeld.errors import UserError
from facemeld.images.read import shown


@dataclass(frozen=True)
class SourceFile:
    """One file of the input."""

    path: str
    """Below the input folder, with slashes; may hold anything that a file name may hold."""
    domain: str
    """Empty where the file belongs to none."""
    problem: str = ""
    """Why it is not worth opening."""


@dataclass(frozen=True)
class Inventory:
    """Every file of the input, sorted by the bytes of its name, so equal on every machine."""

    root: Path
    files: tuple[SourceFile, ...] = field(repr=False)
    digest: str
    """SHA-256 over names, sizes and times of change: whether the input is still the same."""

    @property
    def domains(self) -> tuple[str, ...]:
        """Sorted; their index is the label."""
        return tuple(sorted({file.domain for file in self.files if file.domain}))


def take_inventory(root: Path, domain: str | None = None) -> Inventory:
    """List the files below a folder.

    Args:
        root: a folder with a subfolder for each domain; or, with `domain`, of one domain.
        domain: the name of the one domain that all files belong to, at whatever depth; empty if
            domains do not matter.

    Raises:
        UserError: no such folder, nothing in it, no subfolders and no `domain`, or the subfolders
            are splits (train, val), not domains.
    """
    folders = subfolders(root)
    if domain is not None:
        files = _files(root, root, domain)
    else:
        refuse_splits(root, folders)
        files = [file for folder in folders for file in _files(root, root / folder, folder)]
        loose = [path for path in _entries(root) if not os.path.isdir(root / path)]
        if loose and not files:
            raise UserError(
                f"{len(loose)} files lie here, and no subfolders that could be domains",
                where=shown(root),
                fix="name the domain that all of them are of: --domain cat",
            )
        files += [SourceFile(path, "", "not in the folder of a domain") for path in loose]
    if not files:
        raise UserError("there are no files in this folder", where=shown(root))
    files.sort(key=lambda file: os.fsencode(file.path))
    return Inventory(root, tuple(files), _digest(root, files))


def refuse_nesting(inventory: Inventory, out: Path) -> None:
    """UserError if a result would become part of the input, or the input of the result."""
    target = out.resolve()
    roots = [inventory.root, *(inventory.root / domain for domain in inventory.domains)]
    for root in roots:
        real = root.resolve()
        if target == real or real in target.parents or target in real.parents:
            raise UserError(
                "the result would lie in the folder of the photographs, or around it",
                where=shown(out),
                fix="choose a folder beside it",
            )


def _files(root: Path, folder: Path, domain: str) -> list[SourceFile]:
    found = []

    def unreadable(error: OSError) -> None:
        path = _below(root, Path(error.filename))
        problem = f"the folder cannot be read: {error.strerror}"
        found.append(SourceFile(path, domain, problem))

    for place, inside, names in os.walk(folder, onerror=unreadable):
        inside[:] = sorted(name for name in inside if is_counted(name))
        for name in inside:
            if os.path.islink(os.path.join(place, name)):
                path = _below(root, Path(place, name))
                found.append(SourceFile(path, domain, "a link to a folder, not followed"))
        for name in names:
            if not name.startswith("."):
                found.append(SourceFile(_below(root, Path(place, name)), domain))
    return found


def _entries(folder: Path) -> list[str]:
    return [name for name in os.listdir(folder) if not name.startswith(".")]


def _below(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix()


def _digest(root: Path, files: list[SourceFile]) -> str:
    digest = hashlib.sha256()
    for file in files:
        try:
            facts = os.stat(root / file.path)
            state = f"{facts.st_size} {facts.st_mtime_ns}"
        except OSError:
            state = "missing"
        digest.update(os.fsencode(file.path) + b"\0" + state.encode() + b"\0")
    return digest.hexdigest()
