"""What settings in a result say, with its files found: enough to make it again."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from facemeld.fusion.inputs import FusionResult, Input, read_input, sources_of
from facemeld.fusion.looks import read_looks
from facemeld.fusion.request import Controls
from facemeld.images.read import read_picture

if TYPE_CHECKING:
    from facemeld.faces.align import Alignment

_LARGEST_FACE = 4096  # pixels a side


@dataclass(frozen=True)
class Placed:
    """How an aligned face came from its photograph, checked."""

    size: int
    matrix: tuple[tuple[float, float, float], ...]

    @classmethod
    def read(cls, about: dict) -> Placed:
        """What settings say; ValueError if no photograph can have been moved so."""
        size, matrix = about["size"], tuple(tuple(map(float, row)) for row in about["matrix"])
        (a, minus_b, x), (b, also_a, y) = matrix
        if not isinstance(size, int) or not 1 <= size <= _LARGEST_FACE:
            raise ValueError("the size of a face")
        similar = math.isclose(a, also_a, abs_tol=1e-9) and math.isclose(b, -minus_b, abs_tol=1e-9)
        if not (similar and 1e-4 < math.hypot(a, b) < 1e4 and max(abs(x), abs(y)) < 1e8):
            raise ValueError("the place of a face")
        return cls(size, matrix)

    def alignment(self) -> Alignment:
        """As the room ``faces`` wants it."""
        from facemeld.faces.align import Alignment

        return Alignment(self.matrix, self.size, None)

    def face_of(self, photograph: Input) -> Input:
        """The aligned face."""
        from facemeld.faces.align import aligned

        face = aligned(photograph.image, self.alignment())
        placed = {"size": self.size, "matrix": self.matrix}
        return dataclasses.replace(photograph, image=face, placed=placed)


@dataclass(frozen=True)
class Found:
    """A file, and where the face is in it that was used."""

    path: Path
    placed: Placed | None = None

    def read(self) -> Input:
        """The picture as it was used."""
        picture = read_input(self.path)
        return picture if self.placed is None else self.placed.face_of(picture)


@dataclass(frozen=True)
class Recalled:
    """What made a picture, with its files found."""

    model: Path
    source: Path | Recalled
    references: list[Found]
    levels: dict[str, Found]
    regions: list[tuple[str | Path, Found]]
    second_source: Found | None
    controls: Controls
    backend: str
    """Like ``onnx-fp32``; another one would give other bits."""

    @property
    def file(self) -> Path:
        """The source from which everything came."""
        return self.source.file if isinstance(self.source, Recalled) else self.source

    def run(self, sources: list[Input] | None = None) -> FusionResult:
        """Makes it again: on the same machine, the same picture to the bit.

        Args:
            sources: pictures instead of the first source.
        """
        from facemeld.fusion.pipeline import FusionPipeline

        source = sources or self.source
        if isinstance(self.source, Recalled):
            source = self.source.run(sources)
        looks = read_looks(
            [r.read() for r in self.references],
            {level: r.read() for level, r in self.levels.items()},
            [(where, r.read()) for where, r in self.regions],
            self.second_source.read() if self.second_source else None,
        )
        backend, _, precision = self.backend.partition("-")
        known = {"precision": precision} if backend == "torch" else {}
        pipe = FusionPipeline.from_pretrained(self.model, backend=backend, **known)
        return pipe.fuse(sources_of(source), looks, self.controls)


@dataclass(frozen=True)
class RecalledPhotograph:
    """What made a picture of faces that were found in a photograph."""

    fusion: Recalled
    faces: list[Placed]
    paste_back: bool
    about_faces: list[dict]
    """What the settings say about each."""

    def run(self) -> FusionResult:
        """Makes it again, as ``Recalled.run`` does."""
        from facemeld.faces.align import aligned
        from facemeld.fusion.photographs import AlignedFace, fuse_faces

        photograph = read_picture(self.fusion.file)
        faces = []
        for number, placed in enumerate(self.faces, 1):
            how = placed.alignment()
            face = aligned(photograph, how)
            faces.append(AlignedFace(self.fusion.file, number, face, how))
        images, settings = fuse_faces(self.fusion.run, faces, paste_back=self.paste_back)
        return FusionResult(images, [known | {"aligned": self.about_faces} for known in settings])
