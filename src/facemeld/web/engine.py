"""The models of the page, and what it makes with them: one job at a time, each with a limit."""

from __future__ import annotations

import io
import json
import threading
import time
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from PIL import Image

from facemeld.errors import UserError
from facemeld.faces.detect import FaceFinder
from facemeld.fusion.pipeline import FusionPipeline
from facemeld.images.read import centre_square
from facemeld.images.write import encode_picture
from facemeld.web.commands import RESULT, Command, command_for
from facemeld.web.portraits import Portrait
from facemeld.web.wishes import PAINTED, Wish, controls_of, looks_of, painted_file

TIME_LIMIT = 120.0
"""Seconds that one job may take."""
_MODELS_AT_ONCE = 2

Check = Callable[[], None]
"""Raises if the job is to end; called between its pieces."""


class Stopped(Exception):
    """The person asked for the end of the job."""


@dataclass(frozen=True)
class Fused:
    """A fused picture with everything that made it."""

    image: Image.Image = field(repr=False)
    before: Image.Image = field(repr=False)
    """The source as it was used: the aligned face, or the photograph."""
    settings: dict
    wish: Wish
    source: Portrait
    references: tuple[Portrait, ...]
    command: Command

    @cached_property
    def png(self) -> bytes:
        """The picture as a file, marked as synthetic, with its settings."""
        return encode_picture(self.image, "PNG", settings=self.settings)

    def kit(self) -> bytes:
        """A zip archive: the picture, the files that it was made of, its settings, the command."""
        files = {RESULT.replace("result", "fused"): self.png}
        files |= dict(portrait.file for portrait in (self.source, *self.references))
        if self.wish.painted_from and self.wish.painted is not None:
            files[PAINTED] = painted_file(self.wish)
        files["settings.json"] = self.settings_file()
        files["command.txt"] = (self.command.line + "\n").encode()
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        return buffer.getvalue()

    def settings_file(self) -> bytes:
        """The settings as JSON."""
        return json.dumps(self.settings, indent=2, ensure_ascii=False).encode()


class Engine:
    """Loads models when they are first used, and keeps two of them.

    Args:
        models: names and folders; the first is the usual one.
        device: where the networks run.
        time_limit: seconds that a job may take.
    """

    def __init__(
        self, models: Mapping[str, Path], *, device: str = "cpu", time_limit: float = TIME_LIMIT
    ) -> None:
        self.models = dict(models)
        self.time_limit = time_limit
        self._device = device
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
            self._pipes[model] = FusionPipeline.from_pretrained(folder, device=self._device)
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

    def fuse(self, source: Portrait, references: Sequence[Portrait], wish: Wish) -> Fused:
        """What the page shows, through the same calls as the command line's.

        Raises:
            UserError: the wish cannot be granted.
        """
        pipe = self.pipe(wish.model)
        given, looks, controls = source.as_input, looks_of(references, wish), controls_of(wish)
        result = pipe.fuse([given], looks, controls)
        image, settings = result.images[0], result.settings[0]
        before = centre_square(given.image, image.width)
        command = command_for(wish.model, given, looks, controls)
        return Fused(image, before, settings, wish, source, tuple(references), command)
