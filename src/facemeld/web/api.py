"""The HTTP API: the page's functions under names, for programs. docs/studio.md shows how."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from pathlib import Path, PurePath

import gradio as gr
from gradio import FileData

from facemeld.config.checks import check, type_problems
from facemeld.errors import UserError, did_you_mean
from facemeld.fusion.regions import REGIONS
from facemeld.fusion.request import check_cell
from facemeld.fusion.timing import Timing
from facemeld.images.read import read_picture
from facemeld.images.sheet import sheet
from facemeld.images.write import encode_picture
from facemeld.web.engine import Engine
from facemeld.web.events import DEVICE, told
from facemeld.web.jobs import Jobs, arrival
from facemeld.web.keep import stored
from facemeld.web.made import grid_rows
from facemeld.web.portraits import LIMITS, Portrait, read_portrait, read_upload
from facemeld.web.sessions import MOST_CELLS, MOST_REFERENCES
from facemeld.web.wishes import Wish

_MOST_VARIATIONS = 24


class Api:
    """The endpoints; made inside the page.

    Args:
        engine: makes the pictures.
        jobs: open the device.
        files: those that Gradio clears away after their time.
    """

    def __init__(self, engine: Engine, jobs: Jobs, files: set[str]) -> None:
        self.engine, self.jobs, self.files = engine, jobs, files
        computing = {"concurrency_id": DEVICE, "concurrency_limit": 1}
        for function in (self.fuse, self.variations, self.grid, self.video):
            gr.api(_answering(function), api_name=function.__name__, **computing)
        for function in (self.models, self.stop):
            gr.api(_answering(function), api_name=function.__name__, queue=False)

    def fuse(
        self,
        request: gr.Request,
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
        interpolation: str = "linear",
        coarse: int = 0,
        middle: int = 0,
        fine: int = 0,
        place: str = "left",
        place_from: int = 0,
        mask: FileData | None = None,
        painted_from: int = 0,
        feather: float = 0.05,
        variation: int = 0,
        variation_angle: float = 20.0,
        second_source: int = 0,
        source_mix: float = 0.5,
        content_strength: float = 1.0,
        colour_match: float = 0.0,
        paste_back: bool = False,
    ) -> tuple[FileData, dict]:
        """Fuse a source with references: a PNG file and its settings.

        coarse, middle, fine, place_from, painted_from and second_source are numbers of references,
        from 1; 0 is none. A reference of weight 0 is in its level, place or shape only. mask is a
        picture, white in the place that is painted_from. references may be empty if latent is true;
        a random look of the domain is taken then. align finds the largest face of every picture
        first; paste_back puts it back into the photograph. model is one of /models.
        """
        portraits = self._portraits([source, *_listed(references)], align or paste_back)
        painted = None
        if mask is not None:
            painted = read_picture(read_upload(_path(mask)), limits=LIMITS).convert("L")
        wish = self._wish(
            model, portraits, weights, strength=strength, domain=domain, latent=latent, seed=seed,
            truncation=truncation, size=size, interpolation=interpolation,
            levels=(coarse, middle, fine), place=place, place_from=place_from, painted=painted,
            painted_from=painted_from, feather=feather, variation=variation,
            variation_angle=variation_angle, second_source=second_source, source_mix=source_mix,
            content_strength=content_strength, colour_match=colour_match, paste_back=paste_back,
        )  # fmt: skip
        with self.jobs.asked_by(request)() as check_job:
            made = self.engine.fuse(portraits[0], portraits[1:], wish)
            check_job()
        return self._file("fused.png", made.file), made.settings

    def variations(
        self,
        request: gr.Request,
        source: FileData,
        references: list[FileData],
        count: int = 4,
        angle: float = 20.0,
        seed: int = 0,
        size: int | None = None,
        align: bool = False,
        model: str | None = None,
        domain: str | None = None,
        weights: list[float] | None = None,
        strength: float = 1.0,
        latent: bool = False,
    ) -> list[FileData]:
        """Random variations of a fusion: PNG files."""
        if type(count) is not int or not 1 <= count <= _MOST_VARIATIONS:
            raise UserError(f"count is {count!r}, but must be from 1 to {_MOST_VARIATIONS}")
        portraits = self._portraits([source, *_listed(references)], align)
        wish = self._wish(
            model, portraits, weights, seed=seed, variation_angle=angle, size=size, domain=domain,
            strength=strength, latent=latent,
        )  # fmt: skip
        files = []
        with self.jobs.asked_by(request)() as check_job:
            for number in range(1, count + 1):
                check_job()
                varied = replace(wish, variation=number)
                made = self.engine.fuse(portraits[0], portraits[1:], varied)
                files.append(self._file(f"variation-{number}.png", made.file))
        return files

    def grid(
        self,
        request: gr.Request,
        sources: list[FileData],
        references: list[FileData],
        domain: str | None = None,
        cell: int | None = None,
        align: bool = False,
        model: str | None = None,
    ) -> FileData:
        """A sheet as a PNG file: every source (rows) with the look of every reference (columns)."""
        rows = self._portraits(_listed(sources), align)
        columns = self._portraits(_listed(references), align)
        if not 0 < len(rows) * len(columns) <= MOST_CELLS:
            raise UserError(
                f"{len(rows)} sources and {len(columns)} references",
                fix=f"give one of each at least, and at most {MOST_CELLS} pairs",
            )
        wish = self._wish(model, [rows[0], columns[0]], None, domain=domain, size=cell)
        check_cell(cell)
        wish = replace(wish, size=None)
        side = self.engine.config(wish.model).image_size if cell is None else cell
        made = []
        with self.jobs.asked_by(request)() as check_job:
            for row in rows:
                for column in columns:
                    check_job()
                    made.append(self.engine.fuse(row, [column], wish))
        picture = sheet(grid_rows(rows, columns, made), cell=side)
        return self._file("grid.png", encode_picture(picture, "PNG", settings=None))

    def video(
        self,
        request: gr.Request,
        source: FileData,
        references: list[FileData],
        seconds: float = 1.5,
        hold: float = 0.5,
        loop: bool = False,
        strength: float = 1.0,
        size: int | None = None,
        align: bool = False,
        model: str | None = None,
        domain: str | None = None,
        interpolation: str = "linear",
    ) -> FileData:
        """A video from the look of each reference to that of the next, as an MP4 file."""
        portraits = self._portraits([source, *_listed(references)], align)
        wish = self._wish(
            model, portraits, None, strength=strength, size=size, domain=domain,
            interpolation=interpolation,
        )  # fmt: skip
        timing = Timing(seconds=seconds, hold=hold, loop=loop)
        check(type_problems(timing), where="timing")
        with self.jobs.asked_by(request)() as check_job:
            made = self.engine.film(
                portraits[0], portraits[1:], wish, timing, lambda done, total: check_job()
            )
        return self._file("video.mp4", made.file)

    def models(self) -> list[dict]:
        """The models of this studio: name, domains and image size."""
        configs = {name: self.engine.config(name) for name in self.engine.models}
        return [
            {"name": name, "domains": list(config.domains), "image_size": config.image_size}
            for name, config in configs.items()
        ]

    def stop(self, request: gr.Request, job: str | None = None) -> str:
        """Stop what this client has asked for: what runs, at its next piece, and what waits.

        job is the event_id of one job, for clients without a session.
        """
        self.jobs.stop(job or request.session_hash, arrival(request))
        return "stopped"

    def _file(self, name: str, content: bytes) -> dict:
        path = stored(name, content)
        self.files.add(path)
        kind = {"_type": "gradio.FileData"}
        return {"path": path, "orig_name": name, "size": len(content), "meta": kind}

    def _portraits(self, files: list, align: bool) -> list[Portrait]:
        if len(files) > 1 + MOST_REFERENCES:
            raise UserError("there are too many pictures", fix=f"at most {MOST_REFERENCES} at once")
        finder, found = self.engine.finder if align else None, []
        for file in files:
            path = _path(file)
            name = PurePath(str(file.get("orig_name") or path.name)).name
            taken = {portrait.name for portrait in found}
            found.append(read_portrait(name, read_upload(path), finder, taken=taken))
        return found

    def _wish(self, model: str | None, portraits: list, weights: list | None, **values) -> Wish:
        """The wish, with everything of the type that it should have."""
        count = len(portraits) - 1
        weights = [1.0] * count if weights is None else _listed(weights)
        if len(weights) != count:
            raise UserError(f"{len(weights)} weights for {count} references")
        model = next(iter(self.engine.models)) if model is None else model
        numbers = tuple(float(w) if isinstance(w, int) else w for w in weights)
        wish = Wish(model=model, weights=numbers, **values)
        check(type_problems(wish), where="request")
        if wish.place not in REGIONS:
            fix = did_you_mean(wish.place, REGIONS)
            raise UserError(f"there is no region '{wish.place}'", fix=fix)
        for number in wish.numbers:
            if not 0 <= number <= count:
                raise UserError(f"there is no reference {number}", fix=f"0 to {count}")
        return wish


def _path(file: object) -> Path:
    if not isinstance(file, dict) or not isinstance(file.get("path"), str):
        raise UserError("a picture must be an uploaded file")
    return Path(file["path"])


def _listed(values: object) -> list:
    if not isinstance(values, list):
        raise UserError("pictures and weights must be lists")
    return values


def _answering(function: Callable) -> Callable:
    @wraps(function)
    def call(*values):
        try:
            return function(*values)
        except Exception as error:
            raise told(error, "en") from None

    return call
