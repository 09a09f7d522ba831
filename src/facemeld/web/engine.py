"""The models of the page, and what it makes with them: one job at a time, each with a limit."""

from __future__ import annotations

import io
import json
import tempfile
import threading
import time
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from PIL import Image

from facemeld.errors import UserError
from facemeld.faces.detect import FaceFinder
from facemeld.faces.paste import paste_back
from facemeld.fusion.pipeline import FusionPipeline
from facemeld.fusion.timing import Timing
from facemeld.fusion.video import walk
from facemeld.images.read import centre_square
from facemeld.images.video_write import write_video
from facemeld.images.write import encode_picture
from facemeld.web.commands import FUSED, Command, command_for, repeat_command
from facemeld.web.portraits import Portrait
from facemeld.web.wishes import PAINTED, Wish, controls_of, looks_of, painted_file

TIME_LIMIT = 120.0
"""Seconds that one job may take."""
_MODELS_AT_ONCE = 2

Check = Callable[[], None]
"""Raises if the job is to end; called between its pieces."""


class Stopped(Exception):
    """The person asked for the end of the job."""


@dataclass(frozen=True, kw_only=True)
class Made:
    """A picture or video with everything that made it."""

    image: Image.Image = field(repr=False)
    """The picture; of a video, the first frame."""
    before: Image.Image = field(repr=False)
    """The source as it was used."""
    settings: dict
    wish: Wish
    source: Portrait
    references: tuple[Portrait, ...]
    command: Command
    video: bytes | None = field(default=None, repr=False)
    """The MP4 file of a video."""

    @cached_property
    def file(self) -> bytes:
        """The picture or video as a file, marked as synthetic, with its settings."""
        if self.video is not None:
            return self.video
        return encode_picture(self.image, "PNG", settings=self.settings)

    @property
    def suffix(self) -> str:
        """Of the file."""
        return ".png" if self.video is None else ".mp4"

    @cached_property
    def kit(self) -> bytes:
        """A zip archive: the result, the files that it was made of, its settings, the command."""
        files = {FUSED + self.suffix: self.file}
        back = self.wish.paste_back and self.video is None
        files |= dict([(self.source.name, self.source.content) if back else self.source.file])
        files |= dict(portrait.file for portrait in self.references)
        if self.wish.painted_from and self.wish.painted is not None:
            files[PAINTED] = painted_file(self.wish)
        files["settings.json"] = self.settings_file
        files["command.txt"] = (self.command.line + "\n").encode()
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        return buffer.getvalue()

    @cached_property
    def settings_file(self) -> bytes:
        """The settings as JSON."""
        return json.dumps(self.settings, indent=2, ensure_ascii=False).encode()


class Engine:
    """Loads models when they are first used, and keeps two of them.

    Args:
        models: names and folders; the first is the usual one.
        device: where the networks run.
        backend: what computes them on the CPU; ``auto`` takes the fastest.
        time_limit: seconds that a job may take.
    """

    def __init__(
        self,
        models: Mapping[str, Path],
        *,
        device: str = "cpu",
        backend: str = "auto",
        time_limit: float = TIME_LIMIT,
    ) -> None:
        self.models = dict(models)
        self.time_limit = time_limit
        self._device = device
        self._backend = backend
        self._pipes: OrderedDict[str, FusionPipeline] = OrderedDict()
        self._busy = threading.Lock()

    @cached_property
    def finder(self) -> FaceFinder:
        """Finds faces of all kinds."""
        return FaceFinder()

    def pipe(self, model: str) -> FusionPipeline:
        """The model of this name, loaded.

        Raises:
            UserError: it is not one of the page's models.
        """
        if model not in self.models:
            raise UserError("no such model", where=model, fix=", ".join(self.models))
        if model not in self._pipes:
            folder = self.models[model]
            self._pipes[model] = FusionPipeline.from_pretrained(
                folder, device=self._device, backend=self._backend
            )
        self._pipes.move_to_end(model)
        while len(self._pipes) > _MODELS_AT_ONCE:
            self._pipes.popitem(last=False)
        return self._pipes[model]

    @contextmanager
    def job(self, stopped: Callable[[], bool] = lambda: False) -> Iterator[Check]:
        """The device for one job; others wait.

        Args:
            stopped: whether the person no longer wants it.

        Raises:
            UserError: the job, or the wait for it, takes too long.
            Stopped: it is no longer wanted.
        """
        limit = time.monotonic() + self.time_limit

        def check() -> None:
            if stopped():
                raise Stopped
            if time.monotonic() > limit:
                raise UserError(
                    f"this took longer than the limit of {self.time_limit:g} seconds",
                    fix="ask for less at once",
                )

        if not self._busy.acquire(timeout=self.time_limit):
            raise UserError("the machine is busy", fix="try again in a minute")
        try:
            check()
            yield check
        finally:
            self._busy.release()

    def fuse(self, source: Portrait, references: Sequence[Portrait], wish: Wish) -> Made:
        """What the page shows, through the same calls as the command line's.

        Raises:
            UserError: the wish cannot be granted.
        """
        pipe = self.pipe(wish.model)
        given = source.as_face if wish.paste_back else source.as_input
        looks, controls = looks_of(references, wish), controls_of(wish)
        result = pipe.fuse([given], looks, controls)
        image, settings = result.images[0], result.settings[0]
        if wish.paste_back:
            # As the command line's --paste-back does, which would look for the face anew.
            image = paste_back(source.photograph, image, source.how)
            face = source.in_photograph.settings()
            settings = settings | {"aligned": [face], "paste_back": True}
            before, command = source.photograph, repeat_command(wish.model)
        else:
            before = centre_square(given.image, image.width)
            command = command_for(wish.model, pipe.backend.name, given, looks, controls)
        return Made(
            image=image,
            before=before,
            settings=settings,
            wish=wish,
            source=source,
            references=tuple(references),
            command=command,
        )

    def film(
        self,
        source: Portrait,
        references: Sequence[Portrait],
        wish: Wish,
        timing: Timing,
        on_frame: Callable[[int, int], None],
    ) -> Made:
        """A video from the look of one reference to the next.

        Args:
            source: gives pose and layout.
            references: looks, at least two.
            wish: everything else.
            timing: of the video.
            on_frame: told how many frames are made, and of how many; may raise to end the work.

        Raises:
            UserError: the wish cannot be granted.
        """
        pipe = self.pipe(wish.model)
        wish = replace(wish, latent=False, variation=0, weights=(1.0,) * len(references))
        given, looks, controls = source.as_input, looks_of(references, wish), controls_of(wish)
        shared = replace(looks, references=[])
        backend = pipe.backend.name
        clip = walk(pipe, given, looks.references, looks=shared, controls=controls, timing=timing)
        first: list[Image.Image] = []

        def frames() -> Iterator[Image.Image]:
            for number, frame in enumerate(clip.frames):
                on_frame(number, clip.count)
                first[:] = first or [frame]
                yield frame

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "video.mp4"
            write_video(frames(), path, fps=clip.fps, settings=clip.settings)
            video = path.read_bytes()
        return Made(
            image=first[0],
            before=centre_square(given.image, first[0].width),
            settings=clip.settings,
            wish=wish,
            source=source,
            references=tuple(references),
            command=command_for(wish.model, backend, given, looks, controls, timing),
            video=video,
        )
