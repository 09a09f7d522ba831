"""Photographs taken apart into aligned faces, and put together again after fusion."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from facemeld.errors import UserError
from facemeld.faces.align import Alignment, aligned, alignment, centre
from facemeld.faces.detect import FaceDetection, FaceFinder, select
from facemeld.faces.paste import paste_back
from facemeld.images.read import read_picture, shown

if TYPE_CHECKING:  # finding faces needs no torch
    from facemeld.fusion.pipeline import FusionPipeline


@dataclass(frozen=True)
class AlignedFace:
    """One face of a photograph, brought to its place."""

    file: Path
    number: int
    """Counts the faces of its photograph, from 1, the largest first."""
    picture: Image.Image = field(repr=False)
    how: Alignment = field(repr=False)

    def settings(self) -> dict:
        """What the settings of a fused picture say about it."""
        face = self.how.face
        about = {"kind": face.kind, "score": round(face.score, 4)} if face else {}
        return about | {"number": self.number, "size": self.how.size, "matrix": self.how.matrix}


def aligned_faces(
    files: Sequence[Path],
    finder: FaceFinder,
    *,
    size: int,
    which: str = "largest",
    must_be_found: bool = True,
    on_note: Callable[[str], None] = lambda text: None,
) -> list[AlignedFace]:
    """The faces of photographs, in the order of the files.

    Args:
        files: photographs.
        finder: finds the faces.
        size: side of the aligned pictures in pixels.
        which: the largest face of each photograph, or all.
        must_be_found: a photograph without a face is an error; else its centre square is taken.
        on_note: is told of each such centre square.

    Raises:
        UserError: unreadable, or no face found.
    """
    found = []
    for file in files:
        photograph = read_picture(file)
        faces: list[FaceDetection] = select(finder.find(photograph), which)
        ways = [alignment(face, size) for face in faces]
        if not ways:
            if must_be_found:
                raise UserError(
                    "no face was found", where=shown(file), fix=_what_could_help(finder)
                )
            on_note(f"no face was found in {shown(file)}: its centre is taken")
            ways = [centre(photograph, size)]
        for number, how in enumerate(ways, 1):
            found.append(AlignedFace(file, number, aligned(photograph, how), how))
    return found


def fuse_faces(
    pipe: FusionPipeline,
    sources: Sequence[AlignedFace],
    references: Sequence[AlignedFace],
    options: dict,
    *,
    paste_back: bool,
) -> tuple[list[Image.Image], list[dict]]:
    """Fuses aligned faces; gives pictures and, for each, the settings that made it.

    Args:
        pipe: the model.
        sources: give pose and layout.
        references: give the look.
        options: of FusionPipeline.
        paste_back: give the source photographs with the fused faces in them, one for each file,
            instead of a picture for each face.
    """
    result = pipe([f.picture for f in sources], [f.picture for f in references], **options)
    names = [face.file.name for face in references]
    settings = [
        known | {"source": face.file.name, "references": names, "aligned": [face.settings()]}
        for known, face in zip(result.settings, sources)
    ]
    if not paste_back:
        return result.images, settings
    images, about = [], []
    for file, photograph in pasted(sources, result.images):
        own = [known for known, face in zip(settings, sources) if face.file == file]
        faces = [known["aligned"][0] for known in own]
        images.append(photograph)
        about.append(own[0] | {"aligned": faces, "paste_back": True})
    return images, about


def pasted(
    faces: Sequence[AlignedFace], fused: Sequence[Image.Image]
) -> Iterator[tuple[Path, Image.Image]]:
    """Each photograph with the fused faces in it, one after the other.

    Args:
        faces: what ``aligned_faces`` returned.
        fused: for each of them what fusion made of it.
    """
    for file in dict.fromkeys(face.file for face in faces):
        photograph = read_picture(file)
        # The smallest first, so that the largest lies on top where two meet.
        for face, picture in reversed(list(zip(faces, fused))):
            if face.file == file:
                photograph = paste_back(photograph, picture, face.how)
        yield file, photograph


def _what_could_help(finder: FaceFinder) -> str:
    if finder.missing:
        return f"more is found with: facemeld download {' '.join(finder.missing)}"
    return "name the kind of face with --align, or crop the picture around the face"
