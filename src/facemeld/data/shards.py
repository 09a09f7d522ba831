"""WebDataset shards: plain tar files of pictures, read in place and never unpacked.

A shard is found once, by its headers; a picture is then read by its place in the file. So a data
set in shards is sampled like one in folders, as a function of the step. Shards that are written
here depend on nothing but their content; a sample is two files with one name: the picture, and
``.cls``, the index of its domain as text.
"""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from facemeld.errors import UserError
from facemeld.files import write_whole
from facemeld.images.read import DEFAULT_LIMITS, is_picture_name, shown


@dataclass(frozen=True)
class ShardPicture:
    """One picture in a shard, with those methods of a path that reading a data set needs."""

    shard: Path
    name: str
    """As in the shard, for people: nothing is ever written under it."""
    offset: int
    size: int

    def read_bytes(self) -> bytes:
        """Its content; of one that is over the limit for pictures, just enough to say so."""
        with self.shard.open("rb") as file:
            file.seek(self.offset)
            return file.read(min(self.size, DEFAULT_LIMITS.max_bytes + 1))

    def relative_to(self, root: Path) -> Path:
        """Shard and name, from the root of the data set."""
        return self.shard.relative_to(root) / self.name.lstrip("/")

    def stat(self) -> os.stat_result:
        """The state of the shard."""
        return self.shard.stat()


def is_shard_name(name: str) -> bool:
    """Whether a file's name is that of a shard."""
    return name.lower().endswith(".tar") and not name.startswith(".")


def pictures_in(shard: Path) -> list[ShardPicture]:
    """The pictures of a shard in their order in the file; other members are ignored.

    Raises:
        UserError: not a plain tar file, or cut off.
    """
    found = []
    try:
        with tarfile.open(shard, "r:") as archive:
            for member in archive:
                plain = member.isreg() and not member.issparse()
                if plain and is_picture_name(member.name):
                    place = member.offset_data, member.size
                    found.append(ShardPicture(shard, member.name, *place))
    except (tarfile.TarError, OSError, ValueError) as error:
        raise UserError(
            f"this shard cannot be read: {error}",
            where=shown(shard),
            fix="get a whole copy of it; it must be a plain tar file, not a compressed one",
        ) from None
    return found


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
