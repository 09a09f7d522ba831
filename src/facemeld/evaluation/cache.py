"""Features of real pictures, kept on disk: they cost minutes and never change."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facemeld.data.catalogue import home
from facemeld.errors import UserError
from facemeld.files import write_whole


def cache_folder() -> Path:
    """``cache/features`` in facemeld's home."""
    return home() / "cache" / "features"


def cached_features(
    key: tuple[str, ...], count: int, compute: Callable[[], NDArray[np.float32]]
) -> NDArray[np.float32]:
    """Features from the cache, or computed and put there.

    Args:
        key: what the features depend on: content of the pictures, their preparation, network.
        count: pictures; a file with another number of rows is not used.
        compute: gives count F; called when there is no usable file.
    """
    name = hashlib.sha256("\n".join(key).encode()).hexdigest()
    path = cache_folder() / f"{name[:32]}.npy"
    try:
        found = np.load(path, allow_pickle=False)
        if found.ndim == 2 and len(found) == count and found.dtype == np.float32:
            return found
    except (OSError, ValueError, EOFError):
        pass
    found = np.ascontiguousarray(compute(), np.float32)
    try:
        write_whole(path, lambda partial: _save(partial, found))
    except UserError:
        pass  # a home that cannot be written to costs time only
    return found


def _save(path: Path, features: NDArray[np.float32]) -> None:
    with path.open("wb") as file:  # given a name, np.save would add a suffix to it
        np.save(file, features, allow_pickle=False)
