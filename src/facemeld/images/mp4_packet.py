"""The XMP packet of an MP4 file: a ``uuid`` box at the top level (XMP specification, part 3)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_XMP = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
_MOST_BOXES = 100_000  # a fragmented file has two for each fragment


def append_packet(path: Path, packet: bytes) -> None:
    """Adds the packet to a finished file; players pass over it."""
    with path.open("ab") as file:
        file.write(struct.pack(">I4s16s", 24 + len(packet), b"uuid", _XMP) + packet)


def read_packet(path: Path, *, most: int) -> bytes:
    """The packet of a file, or nothing; boxes that do not add up end the search.

    Args:
        path: a file.
        most: a packet of more bytes counts as none.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        for kind, size in _boxes(file):
            if kind == b"uuid" and 16 <= size <= 16 + most and file.read(16) == _XMP:
                return file.read(size - 16)
    return b""


def _boxes(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """Kind and size of the content of each box, with the file at its content's begin."""
    end = file.seek(0, 2)
    start = 0
    for _ in range(_MOST_BOXES):
        file.seek(start)
        header = file.read(8)
        if len(header) < 8:
            return
        size, kind = struct.unpack(">I4s", header)
        if size == 1:
            size = int.from_bytes(file.read(8), "big")
        elif size == 0:  # up to the end of the file
            size = end - start
        content = size - (file.tell() - start)
        if content < 0 or start + size > end:
            return
        yield kind, content
        start += size
