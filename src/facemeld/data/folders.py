"""A data set as people keep it: one folder, in it one subfolder of pictures for each domain."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

from facemeld.data.shards import ShardPicture, is_shard_name, pictures_in
from facemeld.errors import UserError, did_you_mean
from facemeld.images.read import is_picture_name, shown

_SPLITS = frozenset(("train", "training", "val", "valid", "validation", "eval", "test", "testing"))
_ARCHIVE_LEFTOVER = "__MACOSX"


@dataclass(frozen=True)
class DomainFolders:
    """The picture files of each domain; all orders are sorted by name, so equal everywhere."""

    root: Path
    """The folder that was scanned."""
    domains: tuple[str, ...]
    """Names of the subfolders, exactly as on disk."""
    files: tuple[tuple[Path | ShardPicture, ...], ...] = field(repr=False)
    """For each domain, its pictures; never empty."""


def scan_domains(root: str | Path, *, at_least: int = 2, only: Sequence[str] = ()) -> DomainFolders:
    """Find the domains below a folder, and the pictures of each, without opening any.

    Pictures may be files, or members of WebDataset shards (`.tar`), of which the headers are read.

    Every subfolder of `root` is a domain; with `only` given, just those that it names. Their own
    subfolders are searched too. Hidden files and folders, and files whose suffix is no picture's,
    are ignored. Links to files are followed, and so is a domain that is itself a link; links to
    folders inside a domain are not, since they may lead in circles.

    Raises:
        UserError: no such folder, fewer than `at_least` domains, a domain without pictures or one
            of `only` that is not there, or `root` holds `train/` and `val/`, one of which was
            meant.
    """
    root = Path(root)
    domains = subfolders(root)
    refuse_splits(root, domains)
    if only:
        for name in only:
            if name not in domains:
                raise UserError(
                    f"there is no domain '{name}'",
                    where=shown(root),
                    fix=did_you_mean(name, domains),
                )
        domains = sorted(set(only))
    if len(domains) < at_least:
        found = f"{len(domains)} ({_names(domains)})" if domains else "none"
        raise UserError(
            f"at least {at_least} domains (subfolders of pictures) are needed, found {found}",
            where=shown(root),
            fix=_layout_hint(root),
        )
    files = tuple(_pictures(root / domain) for domain in domains)
    empty = [domain for domain, found in zip(domains, files, strict=True) if not found]
    if empty:
        raise UserError(
            f"{len(empty)} of {len(domains)} domains have no pictures: {_names(empty)}",
            where=shown(root),
            fix="add pictures to these subfolders, or remove them",
        )
    return DomainFolders(root, tuple(domains), files)


def of_domains(root: str | Path, domains: Sequence[str]) -> DomainFolders:
    """These domains below a folder, in this order: a model's, which need not be sorted.

    Raises:
        UserError: as ``scan_domains``.
    """
    found = scan_domains(root, only=domains)
    files = dict(zip(found.domains, found.files, strict=True))
    return DomainFolders(found.root, tuple(domains), tuple(files[name] for name in domains))


def bundled_faces() -> list[Path]:
    """The example faces inside the package; the first part of a name is the domain."""
    folder = Path(str(resources.files("facemeld"))) / "assets" / "faces"
    return sorted(path for path in folder.iterdir() if is_picture_name(path))


def _pictures(domain: Path) -> tuple[Path | ShardPicture, ...]:
    found: list[Path | ShardPicture] = []
    for folder, inside, names in os.walk(domain, onerror=_refuse_unreadable):
        inside[:] = sorted(name for name in inside if is_counted(name))
        for name in sorted(names):
            if is_picture_name(name):
                found.append(Path(folder, name))
            elif is_shard_name(name):
                found += pictures_in(Path(folder, name))
    return tuple(found)


def subfolders(folder: Path) -> list[str]:
    """Names of the folders in a folder that may be domains, sorted; links are followed."""
    try:
        with os.scandir(folder) as entries:
            return sorted(e.name for e in entries if is_counted(e.name) and _is_folder(e))
    except OSError as error:
        raise _unreadable(error) from error


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads in a circle
        return False


def is_counted(folder_name: str) -> bool:
    """Whether a folder is looked into: neither hidden nor left over by an archiver."""
    return not folder_name.startswith(".") and folder_name != _ARCHIVE_LEFTOVER


def refuse_splits(root: Path, domains: list[str]) -> None:
    """Refuse train/ and val/ with the same domains inside: the splits are not the domains."""
    inside = {name: subfolders(root / name) for name in domains if name.lower() in _SPLITS}
    if not any(inside.values()):
        return
    in_all_splits = set.intersection(*map(set, inside.values()))
    if len(inside) == len(domains) or (len(inside) > 1 and in_all_splits):
        split = max(inside, key=lambda name: (bool(inside[name]), name.lower().startswith("train")))
        raise UserError(
            f"this folder holds splits ({_names(list(inside))}), not domains",
            where=shown(root),
            fix=f"pass {shown(root / split)}, whose domains are {_names(inside[split])}",
        )


def _refuse_unreadable(error: OSError) -> None:
    raise _unreadable(error) from error


def _unreadable(error: OSError) -> UserError:
    where = Path(error.filename)
    if isinstance(error, FileNotFoundError):
        return UserError("there is no such folder", where=shown(where), fix="check the path")
    if isinstance(error, NotADirectoryError):
        return UserError(
            "this is a file, not a folder of domains", where=shown(where), fix=_layout_hint("DIR")
        )
    return UserError(
        f"the folder cannot be read: {error.strerror}",
        where=shown(where),
        fix="check its permissions",
    )


def _layout_hint(root: str | Path) -> str:
    return f"lay it out as {shown(root)}/cat/1.jpg, {shown(root)}/dog/1.jpg, …"


def _names(names: list[str]) -> str:
    listed = ", ".join(shown(name) for name in names[:10])
    return listed if len(names) <= 10 else f"{listed} and {len(names) - 10} more"
