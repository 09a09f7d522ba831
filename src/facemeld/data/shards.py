"""WebDataset shards: tar files whose bytes depend on nothing but their content.

A sample is two files with one name: the picture, and ``.cls``, the index of its domain as text.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from facemeld.files import write_whole


@dataclass(frozen=True)
class Sample:
    """One picture of a shard."""

    key: str
    """Its name without a suffix; no dots or slashes."""
    file: Path
    """The picture as a file."""
    label: int


def write_shard(path: Path, samples: Sequence[Sample]) -> None:
    """Write a shard; it appears whole or not at all.

    Raises:
        UserError: it cannot be written.
    """
    write_whole(path, lambda partial: _write(partial, samples))


def _write(path: Path, samples: Sequence[Sample]) -> None:
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as shard:
        for sample in samples:
            _add(shard, sample.key + sample.file.suffix, sample.file.read_bytes())
            _add(shard, sample.key + ".cls", str(sample.label).encode())


def _add(shard: tarfile.TarFile, name: str, content: bytes) -> None:
    # a fresh TarInfo has owner 0 and time 0: nothing of this machine or this moment
    info = tarfile.TarInfo(name)
    info.size = len(content)
    shard.addfile(info, io.BytesIO(content))
