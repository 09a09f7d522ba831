"""The pictures that a fusion is given, with what its settings say about them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from PIL import Image

from facemeld.images.read import read_picture

IN_MEMORY = "(in memory)"


@dataclass(frozen=True)
class FusionResult:
    """Fused pictures, and for each the settings that made it.

    May itself be the source of another fusion, by any model.
    """

    images: list[Image.Image]
    settings: list[dict] = field(repr=False)


@dataclass(frozen=True)
class Input:
    """A picture that was read, and where it came from."""

    image: Image.Image = field(repr=False)
    """RGB, upright."""
    name: str | dict = IN_MEMORY
    """The file's name without its folder, or the settings of the fusion that made the picture."""
    sha256: str | None = None
    """Of the file's content."""
    placed: dict | None = None
    """Size and matrix, if it is an aligned face of that file."""

    @cached_property
    def content(self) -> bytes:
        """SHA-256 of the pixels: inputs that are equal here look the same."""
        hashed = hashlib.sha256(f"{self.image.mode} {self.image.size}".encode())
        hashed.update(self.image.tobytes())
        return hashed.digest()


Picture = str | Path | bytes | Image.Image | Input


def as_list(pictures: Picture | Sequence[Picture]) -> list[Picture]:
    """One picture or several, as a list."""
    return [pictures] if isinstance(pictures, Picture) else list(pictures)


def sources_of(source: Picture | FusionResult | Sequence[Picture]) -> list[Picture]:
    """Sources as a list; those of an earlier fusion bring its settings along."""
    if isinstance(source, FusionResult):
        return [Input(image, known) for image, known in zip(source.images, source.settings)]
    return as_list(source)


def read_input(picture: Picture) -> Input:
    """Reads a picture once, for its pixels and its hash.

    Raises:
        UserError: it is not readable (see ``images.read_picture``).
    """
    if isinstance(picture, Input):
        return picture
    if not isinstance(picture, str | Path):
        sha256 = hashlib.sha256(picture).hexdigest() if isinstance(picture, bytes) else None
        return Input(read_picture(picture), IN_MEMORY, sha256)
    image = read_picture(picture)
    return Input(image, Path(picture).name, file_sha256(Path(picture)))


def identity_of(picture: Picture) -> dict:
    """What settings say about a picture, read or not: its name, its file's SHA-256, and where in
    the file it is if it is an aligned face."""
    if isinstance(picture, Input):
        known = {"name": picture.name, "sha256": picture.sha256}
        return known | {"placed": picture.placed} if picture.placed else known
    if isinstance(picture, str | Path):
        return {"name": Path(picture).name, "sha256": file_sha256(Path(picture))}
    sha256 = hashlib.sha256(picture).hexdigest() if isinstance(picture, bytes) else None
    return {"name": IN_MEMORY, "sha256": sha256}


def file_sha256(path: Path) -> str:
    """SHA-256 of a file of any size, as `sha256sum` prints it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
