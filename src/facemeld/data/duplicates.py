"""Finding pictures that are copies of each other: re-encoded, resized, a little cropped, mirrored.

A picture's signature is the signs of its 255 lowest cosine frequencies after the mean (a perceptual
hash as in Zauner 2010, larger), and a tiny colour picture. Two pictures are near duplicates when
few signs differ *and* the tiny pictures agree: the signs alone would take a drawing in other
colours for a copy. Mirroring a picture only flips the signs of its odd horizontal frequencies, so
one signature serves both.

Every picture is compared with every one that stays: no index, so none is missed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

MOST_SIGNS = 48
"""Near duplicates differ in at most so many of 255 signs; unrelated pictures in about 128."""
MOST_COLOUR = 12.0
"""And by at most so much in their tiny pictures: the mean difference of 8-bit values."""

_SIDE, _LOW, _TINY = 64, 16, 8
_BLOCK, _TILE = 1024, 4096  # rows, and candidates, that are compared at a time


@dataclass(frozen=True)
class Signature:
    """What is compared of a picture."""

    signs: NDArray[np.bool_]
    """256: of the frequencies 16 16, row by row; the first, the mean, is always True."""
    tiny: NDArray[np.uint8]
    """8 8 3 RGB."""
    contrast: float
    """Standard deviation of the luminance, in 8-bit values."""

    def pack(self) -> str:
        """As text: 32 bytes of signs and 192 of colours, in hexadecimal digits."""
        return (np.packbits(self.signs).tobytes() + self.tiny.tobytes()).hex()

    @staticmethod
    def unpack(text: str) -> Signature:
        """The signature that was packed; its contrast is not kept."""
        content = np.frombuffer(bytes.fromhex(text), np.uint8)
        signs = np.unpackbits(content[:32]).astype(bool)
        return Signature(signs, content[32:].reshape(_TINY, _TINY, 3), contrast=float("nan"))


@dataclass(frozen=True)
class Copy:
    """A picture that is a near duplicate of another one."""

    of: int
    """Index of the picture that stays."""
    signs: int
    """Signs that differ."""
    mirrored: bool


def signature(image: Image.Image) -> Signature:
    """The signature of an RGB picture; of any size, it is squeezed into a square."""
    small = image.resize((_SIDE, _SIDE), Image.Resampling.BOX, reducing_gap=2.0)
    luminance = np.asarray(small.convert("L"), np.float32)
    frequencies = _COSINES @ luminance @ _COSINES.T
    tiny = small.resize((_TINY, _TINY), Image.Resampling.BOX)
    signs = frequencies.ravel() > 0
    signs[0] = True
    return Signature(signs, np.asarray(tiny), float(luminance.std()))


def near_duplicates(signatures: Sequence[Signature]) -> dict[int, Copy]:
    """The pictures that are copies of one that comes earlier and is not itself a copy.

    Args:
        signatures: in order of preference: the picture that should stay comes first.

    Returns:
        for the index of each copy, what it is a copy of: the earliest one that stays.
    """
    if not signatures:
        return {}
    # n 256 of +-1: the product of two rows is 256 minus twice the signs that differ
    signs = np.where(np.stack([s.signs for s in signatures]), np.int8(1), np.int8(-1))
    tiny = np.stack([s.tiny for s in signatures])
    copies: dict[int, Copy] = {}
    stay = np.empty(0, np.intp)
    for first in range(0, len(signs), _BLOCK):
        rows = np.arange(first, min(first + _BLOCK, len(signs)))
        candidates = np.concatenate([stay, rows])
        for row, candidate, differ, mirrored in _close(signs, rows, candidates):
            new = row not in copies and candidate not in copies
            if new and _same_colours(tiny[row], tiny[candidate], mirrored):
                copies[row] = Copy(candidate, differ, mirrored)
        stay = np.concatenate([stay, [row for row in rows if row not in copies]]).astype(np.intp)
    return copies


def _close(
    signs: NDArray[np.int8], rows: NDArray[np.intp], candidates: NDArray[np.intp]
) -> list[tuple[int, int, int, bool]]:
    """(row, earlier candidate, signs that differ, mirrored) wherever few enough differ, sorted."""
    found = []
    block = signs[rows].astype(np.float32)
    for start in range(0, len(candidates), _TILE):
        some = candidates[start : start + _TILE]
        others = signs[some].astype(np.float32).T
        for mirrored, flips in ((False, np.float32(1)), (True, _MIRROR)):
            products = (block * flips) @ others
            for i, j in np.argwhere(products >= 256 - 2 * MOST_SIGNS):
                row, candidate = int(rows[i]), int(some[j])
                if candidate < row:
                    differ = round((256 - float(products[i, j])) / 2)
                    found.append((row, candidate, differ, mirrored))
    return sorted(found)


def _same_colours(a: NDArray[np.uint8], b: NDArray[np.uint8], mirrored: bool) -> bool:
    if mirrored:
        a = a[:, ::-1]
    return float(np.abs(a.astype(np.int16) - b).mean()) <= MOST_COLOUR


def _cosine_basis() -> NDArray[np.float32]:
    """16 64: the lowest frequencies of the discrete cosine transform (DCT-II), not normalised."""
    places = np.arange(_SIDE) + 0.5
    return np.cos(np.pi / _SIDE * np.outer(np.arange(_LOW), places)).astype(np.float32)


_COSINES = _cosine_basis()
_MIRROR = np.tile(np.where(np.arange(_LOW) % 2, -1, 1), _LOW).astype(np.float32)
