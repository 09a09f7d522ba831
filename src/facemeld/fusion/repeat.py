"""Results made again: what ``fusion.recall`` found in their settings, with their files."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from facemeld.fusion.choice import named_backend
from facemeld.fusion.inputs import FusionResult, Input, read_input, sources_of
from facemeld.fusion.looks import Looks, read_looks
from facemeld.fusion.request import Controls
from facemeld.fusion.timing import Timing
from facemeld.images.read import read_picture

if TYPE_CHECKING:
    from facemeld.faces.align import Alignment
    from facemeld.fusion.video import Clip

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
class FoundLooks:
    """The files of a fusion beside its sources."""

    references: list[Found]
    levels: dict[str, Found]
    regions: list[tuple[str | Path, Found]]
    second_source: Found | None

    def read(self) -> Looks:
        """The pictures as they were used."""
        return read_looks(
            [r.read() for r in self.references],
            {level: r.read() for level, r in self.levels.items()},
            [(where, r.read()) for where, r in self.regions],
            self.second_source.read() if self.second_source else None,
        )


@dataclass(frozen=True)
class Recalled:
    """What made a picture, with its files found."""

    model: Path
    source: Path | Recalled
    looks: FoundLooks
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
        pipe = FusionPipeline.from_pretrained(self.model, **named_backend(self.backend))
        return pipe.fuse(sources_of(source), self.looks.read(), self.controls)


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


@dataclass(frozen=True)
class RecalledWalk:
    """What made a video that goes from stop to stop; the references are its stops."""

    model: Path
    sources: list[Found]
    looks: FoundLooks
    controls: Controls
    timing: Timing
    seeds: tuple[int, ...]
    backend: str

    def run(self) -> Clip:
        """Makes its frames again, as ``Recalled.run`` does."""
        from facemeld.fusion.pipeline import FusionPipeline
        from facemeld.fusion.video import walk

        pipe = FusionPipeline.from_pretrained(self.model, **named_backend(self.backend))
        looks = self.looks.read()
        return walk(
            pipe,
            [source.read() for source in self.sources],
            looks.references,
            looks=dataclasses.replace(looks, references=[]),
            controls=self.controls,
            timing=self.timing,
            seeds=self.seeds,
        )


@dataclass(frozen=True)
class RecalledFollow:
    """What made a video of a source video."""

    model: Path
    source: Path
    looks: FoundLooks
    controls: Controls
    align: str | None
    paste_back: bool
    sound: bool
    fps: float
    backend: str

    def run(self) -> Clip:
        """Makes its frames again; a face is followed as before if the same detectors are there."""
        from facemeld.fusion.follow import follow
        from facemeld.fusion.pipeline import FusionPipeline
        from facemeld.images.video_read import open_video

        pipe = FusionPipeline.from_pretrained(self.model, **named_backend(self.backend))
        track = None
        if self.align is not None:
            from facemeld.faces.detect import FaceFinder
            from facemeld.faces.track import FaceTrack

            track = FaceTrack(FaceFinder(self.align), size=pipe.image_size, fps=self.fps)
        return follow(
            pipe,
            open_video(self.source),
            self.looks.read(),
            self.controls,
            track=track,
            align=self.align,
            paste_back=self.paste_back,
            fps=self.fps,
            sound=self.sound,
        )
