"""Pictures inside WebDataset shards: plain tar files, read in place, never unpacked.

A shard is found once, by its headers; a picture is then read by its place in the file. So a data
set in shards is sampled like one in folders, as a function of the step.
"""

from __future__ import annotations

import os
import tarfile
from dataclasses import dataclass
from pathlib import Path

from facemeld.errors import UserError
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
