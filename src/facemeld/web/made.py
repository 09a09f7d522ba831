"""What the page made: a picture or video with everything that made it, and its files."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from PIL import Image

from facemeld.fusion.timing import Timing
from facemeld.images.read import centre_square
from facemeld.images.write import encode_picture
from facemeld.web.commands import FUSED, Command
from facemeld.web.portraits import Portrait
from facemeld.web.wishes import PAINTED, Wish, painted_file

_SMALL = 256  # pixels


@dataclass(frozen=True, kw_only=True)
class Made:
    """A result."""

    image: Image.Image = field(repr=False)
    """The picture; of a video, the first frame."""
    settings: dict
    wish: Wish
    source: Portrait
    references: tuple[Portrait, ...]
    command: Command
    timing: Timing | None = None
    """Of a video."""
    video: bytes | None = field(default=None, repr=False)
    """The MP4 file of a video."""

    @property
    def before(self) -> Image.Image:
        """The source as it was used."""
        if self.pasted:
            return self.source.photograph
        return centre_square(self.source.as_input.image, self.image.width)

    @property
    def pasted(self) -> bool:
        """Whether it is the photograph with the new face in it."""
        return self.wish.paste_back and self.video is None

    @property
    def portraits(self) -> tuple[Portrait, ...]:
        """All pictures that it was made of."""
        return (self.source, *self.references)

    @property
    def suffix(self) -> str:
        """Of the file."""
        return ".png" if self.video is None else ".mp4"

    @cached_property
    def small(self) -> Image.Image:
        """The picture for a gallery."""
        image = self.image.copy()
        image.thumbnail((_SMALL, _SMALL))
        return image

    @cached_property
    def file(self) -> bytes:
        """The picture or video as a file, marked as synthetic, with its settings."""
        if self.video is not None:
            return self.video
        return encode_picture(self.image, "PNG", settings=self.settings)

    @property
    def settings_file(self) -> bytes:
        """The settings as JSON."""
        return json.dumps(self.settings, indent=2, ensure_ascii=False).encode()

    @property
    def kit(self) -> bytes:
        """A zip archive: the result, the files that it was made of, its settings, the command."""
        files = {FUSED + self.suffix: self.file}
        source = (self.source.name, self.source.content) if self.pasted else self.source.file
        files |= dict([source, *(portrait.file for portrait in self.references)])
        if self.wish.painted_from and self.wish.painted is not None:
            files[PAINTED] = painted_file(self.wish)
        files["settings.json"] = self.settings_file
        files["command.txt"] = (self.command.line + "\n").encode()
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        return buffer.getvalue()


def grid_rows(
    sources: Sequence[Portrait], looks: Sequence[Portrait], made: Sequence[Made]
) -> list[list[Image.Image | None]]:
    """The rows of a sheet: the looks on top, then each source with its results.

    Args:
        sources: one for each row.
        looks: one for each column.
        made: row by row; of a grid that was stopped, the first ones.
    """
    rows = [[None, *(look.aligned for look in looks)]]
    for number, source in enumerate(sources):
        cells = [each.image for each in made[number * len(looks) : (number + 1) * len(looks)]]
        rows.append([source.aligned, *cells, *[None] * (len(looks) - len(cells))])
    return rows
