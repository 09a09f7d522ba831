"""One file of the input as one square picture: checked, upright, cut or aligned, resized, written.

Runs in worker processes, so that all that goes in and out can be pickled.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from PIL import Image

from facemeld.data.duplicates import signature
from facemeld.data.inventory import SourceFile
from facemeld.errors import UserError
from facemeld.files import write_whole
from facemeld.images.read import (
    DEFAULT_LIMITS,
    open_header,
    orientation,
    read_file,
    read_picture,
)
from facemeld.images.write import encode_photograph

LEAST_CONTRAST = 2.0
"""Standard deviation of the luminance, in 8-bit values, below which a picture is blank."""

Matrix = Sequence[Sequence[float]]
"""2 3, from pixels of the upright photograph to pixels of the result."""
Aligner = Callable[[Image.Image], tuple[Image.Image, Matrix] | None]
"""An RGB photograph -> the face in it, aligned and of the wanted size, and how it got there;
None if there is no face in it."""
AlignerFactory = Callable[[], Aligner]
"""Makes an aligner, once in each process: hashable, and can be pickled."""


@dataclass(frozen=True, kw_only=True)
class SquareJob:
    """What is the same for all pictures of a run."""

    root: Path
    """The input."""
    work: Path
    """The folder that results are written to, each under its number in the inventory."""
    size: int
    """Side of the results in pixels."""
    smallest: int
    """Shorter side of a photograph below which it is rejected."""
    suffix: str
    quality: int
    aligner: AlignerFactory | None = None

    def path(self, index: int) -> Path:
        """The result of the file with this number."""
        return self.work / f"{index:07d}{self.suffix}"


def make_squares(job: SquareJob, files: Sequence[tuple[int, SourceFile]]) -> list[dict[str, Any]]:
    """Make the pictures of some files, given with their numbers.

    Returns:
        a record for each file: ``index``, ``source``, ``domain``, and either ``rejected`` (the
        reason) or what was made: ``width``, ``height``, ``transform``, ``result_sha256``,
        ``signature``. Wherever the file could be read, also its ``sha256`` and ``bytes``.

    Raises:
        UserError: a result cannot be written.
    """
    return [_make_square(job, index, file) for index, file in files]


def _make_square(job: SquareJob, index: int, file: SourceFile) -> dict[str, Any]:
    record: dict[str, Any] = {"index": index, "source": file.path, "domain": file.domain}
    if file.problem:
        return record | {"rejected": file.problem}
    try:
        content = read_file(job.root / file.path, max_bytes=DEFAULT_LIMITS.max_bytes)
        record |= {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
        square, facts = _square(job, content)
    except UserError as error:
        return record | {"rejected": error.what}
    result = encode_photograph(square, job.suffix, quality=job.quality)
    write_whole(job.path(index), lambda partial: partial.write_bytes(result))
    return record | facts | {"result_sha256": hashlib.sha256(result).hexdigest()}


def _square(job: SquareJob, content: bytes) -> tuple[Image.Image, dict[str, Any]]:
    """The square picture, and what the record says of it.

    Raises:
        UserError: why the picture is rejected.
    """
    if not content:
        raise UserError("the picture is empty (0 bytes)")
    with open_header(content, where="") as header:
        width, height = header.size
        # only a JPEG may be decoded at a fraction of its size
        lies = orientation(header) if header.format in ("JPEG", "MPO") else None
    if min(width, height) < job.smallest:
        raise UserError(f"too small: {width} x {height} pixels, {job.smallest} are the least")
    if job.aligner is not None:
        photograph = read_picture(content)
        width, height = photograph.size
        found = _aligner(job.aligner)(photograph)
        if found is None:
            raise UserError("no face was found")
        square, matrix = found
        transform = {"matrix": [[round(float(x), 4) for x in row] for row in matrix]}
    else:
        photograph = read_picture(content, enough=-(-2 * job.size // 3))  # leaves twice the size
        if lies is None:
            width, height = photograph.size
        elif lies in (5, 6, 7, 8):
            width, height = height, width
        side = min(width, height)
        left, top = (width - side) // 2, (height - side) // 2
        box = (left, top, left + side, top + side)
        square = _cut(photograph, (width, height), box, lies or 1, job.size)
        transform = {"box": list(box)}
    looks = signature(square)
    if looks.contrast < LEAST_CONTRAST:
        raise UserError("blank: it shows nothing but one colour")
    facts = {"width": width, "height": height, "transform": transform, "signature": looks.pack()}
    return square, facts


def _cut(
    photograph: Image.Image,
    original: tuple[int, int],
    box: tuple[int, int, int, int],
    lies: int,
    size: int,
) -> Image.Image:
    """A box, in pixels of the upright original, resized to a square.

    Args:
        photograph: upright; perhaps decoded at 1/2, 1/4 or 1/8, rounded up to whole pixels.
        original: width and height of the upright original.
        box: left, top, right, bottom.
        lies: EXIF orientation before it was made upright: on which sides the rounding is now.
        size: side of the result.
    """
    shrunk = round(original[0] / photograph.width)
    right_of = photograph.width * shrunk - original[0] if lies in (2, 3, 6, 7) else 0
    below = photograph.height * shrunk - original[1] if lies in (3, 4, 7, 8) else 0
    left, right = ((x + right_of) / shrunk for x in box[::2])
    top, bottom = ((y + below) / shrunk for y in box[1::2])
    # cut out first: resize() would let pixels from outside the box bleed in
    x, y = math.floor(left), math.floor(top)
    piece = photograph.crop((x, y, math.ceil(right), math.ceil(bottom)))
    inside = (left - x, top - y, right - x, bottom - y)
    # a gap of 2 averages whole blocks first where much is shrunk: half the time, 54 dB from without
    return piece.resize((size, size), Image.Resampling.LANCZOS, box=inside, reducing_gap=2.0)


@cache
def _aligner(make: AlignerFactory) -> Aligner:
    """Detectors take long to load: once in each process."""
    return make()
