"""The HTTP API: the page's functions under names, for programs. docs/studio.md shows how."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from pathlib import Path, PurePath

import gradio as gr
from gradio import FileData

from facemeld.fusion.timing import Timing
from facemeld.images.write import encode_picture
from facemeld.networks.model_folder import read_network_config
from facemeld.web.engine import Engine
from facemeld.web.events import DEVICE, told
from facemeld.web.keep import stored
from facemeld.web.portraits import Portrait, read_portrait, read_upload
from facemeld.web.sessions import MOST_REFERENCES
from facemeld.web.wishes import Wish
from facemeld.web.words import say

_MOST_VARIATIONS = 24


class Api:
    """The endpoints; made inside the page.

    Args:
        engine: makes the pictures.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        for function in (self.fuse, self.variations, self.grid, self.video, self.models):
            gr.api(
                _answering(function),
                api_name=function.__name__,
                concurrency_id=DEVICE,
                concurrency_limit=1,
            )

    def fuse(
        self,
        source: FileData,
        references: list[FileData],
        weights: list[float] | None = None,
        strength: float = 1.0,
        domain: str | None = None,
        latent: bool = False,
        seed: int = 0,
        truncation: float = 1.0,
        size: int | None = None,
        align: bool = False,
        model: str | None = None,
    ) -> tuple[FileData, dict]:
        """Fuse a source with references: a PNG file and its settings.

        references may be empty if latent is true; a random look of the domain is taken then.
        align finds the largest face of every picture first. model is one of /models.
        """
        portraits = self._portraits([source, *references], align)
        wish = self._wish(
            model, portraits, weights, strength=strength, domain=domain, latent=latent, seed=seed,
            truncation=truncation, size=size,
        )  # fmt: skip
        with self.engine.job():
            made = self.engine.fuse(portraits[0], portraits[1:], wish)
        return _file("fused.png", made.file), made.settings

    def variations(
        self,
        source: FileData,
        references: list[FileData],
        count: int = 4,
        angle: float = 20.0,
        seed: int = 0,
        size: int | None = None,
        align: bool = False,
        model: str | None = None,
    ) -> list[FileData]:
        """Random variations of a fusion: PNG files."""
        portraits = self._portraits([source, *references], align)
        wish = self._wish(model, portraits, None, seed=seed, variation_angle=angle, size=size)
        files = []
        with self.engine.job() as check:
            for number in range(1, min(count, _MOST_VARIATIONS) + 1):
                check()
                varied = replace(wish, variation=number)
                made = self.engine.fuse(portraits[0], portraits[1:], varied)
                files.append(_file(f"variation-{number}.png", made.file))
        return files

    def grid(
        self,
        sources: list[FileData],
        references: list[FileData],
        domain: str | None = None,
        cell: int | None = None,
        align: bool = False,
        model: str | None = None,
    ) -> FileData:
        """A sheet as a PNG file: every source (rows) with the look of every reference (columns)."""
        rows, columns = self._portraits(sources, align), self._portraits(references, align)
        with self.engine.job():
            sheet = self.engine.pipe(self._model(model)).grid(
                [row.as_input for row in rows],
                [column.as_input for column in columns],
                domain=domain,
                cell=cell,
            )
        return _file("grid.png", encode_picture(sheet, "PNG", settings=None))

    def video(
        self,
        source: FileData,
        references: list[FileData],
        seconds: float = 1.5,
        hold: float = 0.5,
        loop: bool = False,
        strength: float = 1.0,
        size: int | None = None,
        align: bool = False,
        model: str | None = None,
    ) -> FileData:
        """A video from the look of each reference to that of the next, as an MP4 file."""
        portraits = self._portraits([source, *references], align)
        wish = self._wish(model, portraits, None, strength=strength, size=size)
        timing = Timing(seconds=seconds, hold=hold, loop=loop)
        with self.engine.job() as check:
            made = self.engine.film(
                portraits[0], portraits[1:], wish, timing, lambda done, total: check()
            )
        return _file("video.mp4", made.file)

    def models(self) -> list[dict]:
        """The models of this studio: name, domains and image size."""
        found = []
        for name, folder in self.engine.models.items():
            config = read_network_config(folder)
            facts = {"domains": list(config.domains), "image_size": config.image_size}
            found.append({"name": name, **facts})
        return found

    def _portraits(self, files: list, align: bool) -> list[Portrait]:
        if len(files) > 2 * MOST_REFERENCES:
            raise gr.Error(say("too_many", "en", n=MOST_REFERENCES), print_exception=False)
        finder, found = self.engine.finder if align else None, []
        for file in files:
            path = Path(file["path"])
            name = PurePath(file.get("orig_name") or path.name).name
            taken = {portrait.name for portrait in found}
            found.append(read_portrait(name, read_upload(path), finder, taken=taken))
        return found

    def _model(self, model: str | None) -> str:
        return next(iter(self.engine.models)) if model is None else model

    def _wish(self, model: str | None, portraits: list, weights: list | None, **values) -> Wish:
        count = len(portraits) - 1
        weights = [1.0] * count if weights is None else weights
        if len(weights) != count:
            text = f"{len(weights)} weights for {count} references"
            raise gr.Error(text, print_exception=False)
        return Wish(model=self._model(model), weights=tuple(map(float, weights)), **values)


def _answering(function: Callable) -> Callable:
    @wraps(function)
    def call(*values):
        try:
            return function(*values)
        except Exception as error:
            raise told(error, "en") from None

    return call


def _file(name: str, content: bytes) -> dict:
    return {
        "path": stored(name, content),
        "orig_name": name,
        "size": len(content),
        "meta": {"_type": "gradio.FileData"},
    }
