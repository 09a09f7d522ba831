"""A picture as the page holds it: what was sent, its faces, which of them is taken and how."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Set
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path, PurePath

import numpy as np
from PIL import Image

from facemeld.faces.align import Alignment, aligned, alignment, centre
from facemeld.faces.detect import FaceDetection, FaceFinder
from facemeld.faces.geometry import shifted
from facemeld.fusion.inputs import Input
from facemeld.fusion.photographs import AlignedFace
from facemeld.images.read import PictureLimits, read_file, read_picture
from facemeld.images.write import encode_photograph

SIDE = 256
"""Of aligned faces, in pixels; models take what they need of it."""
LIMITS = PictureLimits(max_bytes=20_000_000, max_pixels=32_000_000, max_side=12_000)
"""Of uploads."""
_SMALL = 2_000_000  # pixels; larger pictures are fused by their centre square, never whole
_LONGEST_NAME = 40
_RESERVED = frozenset(("fused", "result", "results", "painted", "settings", "command"))


@dataclass(frozen=True, kw_only=True)
class Placing:
    """Which face of a picture is taken, and how it was corrected by hand."""

    face: int = 0
    """Counts the faces from 1; 0 is the whole picture."""
    across: float = 0.0
    """To the right, in shares of the side."""
    down: float = 0.0
    """Downwards, in shares of the side."""
    zoom: float = 1.0
    """Larger than 1 brings the face nearer."""
    turn: float = 0.0
    """Clockwise, in degrees."""


@dataclass(frozen=True)
class Portrait:
    """One picture that a person chose."""

    name: str
    """A file name that needs no quoting, different from those of the other pictures."""
    content: bytes = field(repr=False)
    """Of the file."""
    faces: tuple[FaceDetection, ...] = ()
    """The largest first."""
    placing: Placing = Placing()

    def placed(self, placing: Placing) -> Portrait:
        """The same picture with another face, or the face corrected."""
        return replace(self, placing=placing)

    @property
    def title(self) -> str:
        """The name without its suffix, for people."""
        return PurePath(self.name).stem

    @property
    def photograph(self) -> Image.Image:
        """The picture itself, upright RGB."""
        return _decoded(self.content)

    @property
    def whole(self) -> bool:
        """Whether the picture is used as it is."""
        width, height = self.photograph.size
        return self.placing == Placing() and width * height <= _SMALL

    @cached_property
    def how(self) -> Alignment:
        """How the picture is brought to its place."""
        placing = self.placing
        if placing.face:
            way = alignment(self.faces[placing.face - 1], SIDE)
        else:
            way = centre(self.photograph, SIDE)
        matrix = np.array(way.matrix)
        angle, half = math.radians(placing.turn), SIDE / 2
        cosine, sine = math.cos(angle), math.sin(angle)
        rotation = placing.zoom * np.array([[cosine, -sine], [sine, cosine]])
        matrix = rotation @ shifted(matrix, -half, -half)
        matrix = shifted(matrix, half + placing.across * SIDE, half + placing.down * SIDE)
        return Alignment(tuple(map(tuple, matrix.tolist())), SIDE, way.face)

    @cached_property
    def aligned(self) -> Image.Image:
        """What the model sees, SIDE x SIDE."""
        return aligned(self.photograph, self.how)

    @cached_property
    def file(self) -> tuple[str, bytes]:
        """Name and content of the file that gives the command line the same picture."""
        if self.whole:
            return self.name, self.content
        return f"{self.title}_face.png", encode_photograph(self.aligned, ".png")

    @cached_property
    def as_input(self) -> Input:
        """The picture to fuse, with the name and hash of ``file``."""
        name, content = self.file
        image = self.photograph if self.whole else self.aligned
        return Input(image, name, hashlib.sha256(content).hexdigest())

    @cached_property
    def in_photograph(self) -> AlignedFace:
        """The face with the place that it has in the picture, to be put back there."""
        return AlignedFace(Path(self.name), max(self.placing.face, 1), self.aligned, self.how)

    @cached_property
    def as_face(self) -> Input:
        """The aligned face, with the name and hash of the picture that it was found in."""
        return Input(self.aligned, self.name, hashlib.sha256(self.content).hexdigest())


def read_portrait(
    name: str, content: bytes, finder: FaceFinder | None, *, taken: Set[str] = frozenset()
) -> Portrait:
    """A picture that somebody sent, with its faces.

    Args:
        name: as the sender calls it; nothing about it is trusted.
        content: of the file.
        finder: looks for faces, of which the largest is taken; None takes the picture whole.
        taken: names of the other pictures.

    Raises:
        UserError: it is no picture, damaged or too large.
    """
    photograph = read_picture(content, limits=LIMITS)
    faces = tuple(finder.find(photograph)) if finder else ()
    return Portrait(safe_name(name, taken), content, faces, Placing(face=1 if faces else 0))


def read_upload(path: Path) -> bytes:
    """The content of an uploaded file.

    Raises:
        UserError: it is gone, or over the limit.
    """
    return read_file(path, max_bytes=LIMITS.max_bytes)


def safe_name(name: str, taken: Set[str]) -> str:
    """A file name of plain characters whose stem no other name has."""
    path = PurePath(name.replace("\\", "/"))
    stem = re.sub(r"[^A-Za-z0-9_-]+", "_", path.stem).strip("_-")[:_LONGEST_NAME] or "picture"
    suffix = path.suffix.lower() if re.fullmatch(r"\.[A-Za-z0-9]{1,5}", path.suffix) else ".png"
    stem = stem.removesuffix("_face") or "picture"  # aligned faces are called so
    stems = {PurePath(other).stem for other in taken} | _RESERVED
    free, number = stem, 2
    while free in stems:
        free, number = f"{stem}-{number}", number + 1
    return free + suffix


@lru_cache(maxsize=2)  # they may be large
def _decoded(content: bytes) -> Image.Image:
    return read_picture(content, limits=LIMITS)
