"""Photographs taken apart into aligned faces, and put together again after fusion."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from PIL import Image

from facemeld.errors import UserError
from facemeld.faces.align import Alignment, aligned, alignment, centre
from facemeld.faces.detect import FaceDetection, FaceFinder, select
from facemeld.faces.paste import paste_back
from facemeld.fusion.inputs import FusionResult, Input, file_sha256
from facemeld.fusion.looks import Looks
from facemeld.images.read import read_picture, shown


@dataclass(frozen=True)
class AlignedFace:
    """One face of a photograph, brought to its place."""

    file: Path
    number: int
    """Counts the faces of its photograph, from 1, the largest first."""
    picture: Image.Image = field(repr=False)
    how: Alignment = field(repr=False)

    def as_input(self) -> Input:
        """The aligned face as a picture to fuse, with the name and hash of the photograph."""
        placed = {"size": self.how.size, "matrix": self.how.matrix}
        return Input(self.picture, self.file.name, file_sha256(self.file), placed)

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


def aligned_looks(
    looks: Looks, finder: FaceFinder, *, size: int, on_note: Callable[[str], None]
) -> Looks:
    """The same with the largest face of every picture in its place; masks stay as they are."""

    def face(given: Input) -> Input:
        faces = select(finder.find(given.image), "largest")
        if not faces:
            on_note(f"no face was found in {shown(str(given.name))}: its centre is taken")
        how = alignment(faces[0], size) if faces else centre(given.image, size)
        placed = {"size": how.size, "matrix": how.matrix}
        return replace(given, image=aligned(given.image, how), placed=placed)

    return Looks(
        references=[face(r) for r in looks.references],
        levels={level: face(r) for level, r in looks.levels.items()},
        regions=[(where, face(r)) for where, r in looks.regions],
        second_source=None if looks.second_source is None else face(looks.second_source),
    )


def fuse_faces(
    fuse: Callable[[list[Input]], FusionResult],
    faces: Sequence[AlignedFace],
    *,
    paste_back: bool,
) -> tuple[list[Image.Image], list[dict]]:
    """Fuses aligned faces; gives pictures and, for each, the settings that made it.

    Args:
        fuse: gives for each source one result, or equally many.
        faces: give pose and layout.
        paste_back: give the source photographs with the fused faces in them, one for each file,
            instead of a picture for each face.
    """
    result = fuse([face.as_input() for face in faces])
    times = len(result.images) // len(faces)
    settings = [
        known | {"aligned": [faces[index // times].settings()]}
        for index, known in enumerate(result.settings)
    ]
    if not paste_back:
        return result.images, settings
    images, about = [], []
    for file in dict.fromkeys(face.file for face in faces):
        own = [index for index, face in enumerate(faces) if face.file == file]
        for turn in range(times):
            places = [index * times + turn for index in own]
            fused = [result.images[place] for place in places]
            ((_, photograph),) = pasted([faces[index] for index in own], fused)
            images.append(photograph)
            about.append(
                settings[places[0]]
                | {"aligned": [faces[index].settings() for index in own], "paste_back": True}
            )
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
