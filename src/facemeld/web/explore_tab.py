"""The Explore tab: a grid, a video, variations; each a job that tells how far it is."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from queue import SimpleQueue
from typing import TypeVar

import gradio as gr
from PIL import Image

from facemeld.data.folders import bundled_faces
from facemeld.fusion.timing import Timing
from facemeld.images.sheet import sheet
from facemeld.images.write import encode_picture
from facemeld.web.events import needs, picked, refuse, warn
from facemeld.web.fuse_events import FuseEvents
from facemeld.web.jobs import Job
from facemeld.web.keep import Keep, stored
from facemeld.web.made import Made, grid_rows
from facemeld.web.parts import status
from facemeld.web.portraits import Portrait, read_portrait
from facemeld.web.sessions import MOST_CELLS, Session
from facemeld.web.tabs import buttons, ended, gallery, in_turn, progress
from facemeld.web.wishes import Wish
from facemeld.web.words import Translator, say

T = TypeVar("T")
_FPS = 25
_HOLD = 0.2  # seconds
_CELL = 256  # pixels a side of pictures in a grid
_TOLD_EVERY = 0.3  # seconds
_NOT_IN_VIDEOS = {"latent": False, "variation": 0, "paste_back": False}
_NOT_IN_GRIDS = _NOT_IN_VIDEOS | {
    "levels": (0, 0, 0),
    "place_from": 0,
    "painted_from": 0,
    "second_source": 0,
}
_CALLED = {
    "latent": "controls_latent",
    "variation": "variations_title",
    "paste_back": "paste_back",
    "levels": "controls_levels",
    "place_from": "controls_places",
    "painted_from": "controls_places",
    "second_source": "controls_shape",
}
"""The texts that these controls stand under."""


class ExploreTab:
    """Components and listeners; made inside ``gr.Tab``.

    Args:
        fuse: the Fuse tab, whose pictures and controls are used.
        keep: where results go.
        words: texts.
    """

    def __init__(self, fuse: FuseEvents, keep: Keep, words: Translator) -> None:
        self.fuse, self.keep = fuse, keep
        with gr.Tabs(elem_id="explore") as self.tabs:
            with words(gr.Tab("", id="grid"), label="grid_title"):
                self._grid(words)
            with words(gr.Tab("", id="video"), label="video_title"):
                self._video(words)
            with words(gr.Tab("", id="variations"), label="variations_title"):
                self._variations(words)

    def connect(self, page_tabs: gr.Tabs) -> None:
        """Adds the listeners.

        Args:
            page_tabs: those that this one is among.
        """
        fuse, kept, wish = self.fuse, self.keep.outputs, self.fuse.tab.inputs
        for made, function, inputs, outputs in (
            (
                self.grid_make,
                self.make_grid,
                [self.rows, self.columns],
                [self.grid_status, self.grid, self.grid_save],
            ),
            (
                self.video_make,
                self.make_video,
                [self.seconds, self.loop],
                [self.video_status, *kept],
            ),
            (
                self.variations_make,
                self.make_variations,
                [self.count],
                [self.variations_status, self.variations],
            ),
        ):
            fuse.on(made.click, function, [*inputs, *wish], outputs, computes=True)
        fuse.on(
            self.grid.select,
            self.keep_cell,
            [],
            [self.grid_status, *kept],
            computes=True,
            selects=True,
        )
        controls = fuse.tab.controls
        chosen = [self.variations_status, controls["variation"], controls["variation_angle"]]
        picked = fuse.on(self.variations.select, self.take_variation, [], chosen, selects=True)
        fuse.follow(picked.then)
        fuse.stops(self.grid_stop, self.grid_status)
        fuse.stops(self.video_stop, self.video_status)
        fuse.stops(self.variations_stop, self.variations_status)
        restored = [*fuse.restored, page_tabs, self.tabs, self.seconds, self.loop]
        fuse.follow(self.keep.connect(self.restore, restored).then)

    def restore(self, session: Session, language: str, made: Made) -> list:
        """The page as it was for a result; for a video, its tab is opened."""
        fused = self.fuse.restore(session, language, made)
        if made.timing is None:
            return [*fused, gr.update(selected="fuse"), *(gr.skip() for _ in range(3))]
        tabs = [gr.update(selected="explore"), gr.update(selected="video")]
        return [*fused, *tabs, made.timing.seconds, made.timing.loop]

    def choices(self, session: Session, language: str) -> list:
        """What grids can be made of, for ``choice_outputs``."""
        named = [("s", say("source", language))] if session.source else []
        named += [
            (f"r{n}", f"{n}: {portrait.title}") for n, portrait in enumerate(session.references, 1)
        ]
        named += [
            (path.stem, say("example", language, name=path.stem.replace("_", " ")))
            for path in bundled_faces()
        ]
        choices = [(label, key) for key, label in named]
        rows = ["s"] if session.source else []
        columns = [f"r{n}" for n in range(1, len(session.references) + 1)]
        return [
            gr.update(choices=choices, value=rows),
            gr.update(choices=choices, value=columns),
        ]

    @property
    def choice_outputs(self) -> list:
        """Whose choices are the session's pictures."""
        return [self.rows, self.columns]

    # -- components ---------------------------------------------------------------------------

    def _grid(self, words: Translator) -> None:
        words(gr.HTML(elem_classes="hint", padding=False), value="grid_help")
        with gr.Row():
            self.rows = words(
                gr.Dropdown([], multiselect=True, elem_id="grid-rows"), label="grid_rows"
            )
            self.columns = words(
                gr.Dropdown([], multiselect=True, elem_id="grid-columns"), label="grid_columns"
            )
        self.grid_make, self.grid_stop = buttons(words, "grid_make", "grid-make")
        self.grid_status = status("grid-status")
        self.grid = words(gallery("grid"), label="grid_title")
        with gr.Row(elem_classes="actions"):
            self.grid_save = words(
                gr.DownloadButton(elem_id="grid-save", visible=False, scale=0, min_width=180),
                label="grid_save",
            )

    def _video(self, words: Translator) -> None:
        words(gr.HTML(elem_classes="hint", padding=False), value="video_help")
        with gr.Row():
            self.seconds = words(
                gr.Slider(0.2, 5, 1.5, step=0.1, buttons=[], elem_id="video-seconds"),
                label="video_seconds",
            )
            self.loop = words(gr.Checkbox(True, elem_id="video-loop"), label="video_loop")
        self.video_make, self.video_stop = buttons(words, "video_make", "video-make")
        self.video_status = status("video-status")

    def _variations(self, words: Translator) -> None:
        words(gr.HTML(elem_classes="hint", padding=False), value="variations_help")
        self.count = words(
            gr.Slider(2, 24, 8, step=1, buttons=[], elem_id="variations-count"),
            label="variations_count",
        )
        self.variations_make, self.variations_stop = buttons(
            words, "variations_make", "variations-make"
        )
        self.variations_status = status("variations-status")
        self.variations = words(gallery("variations"), label="variations_title")

    # -- grid ---------------------------------------------------------------------------------

    def make_grid(
        self, session: Session, language: str, job: Job, rows, columns, *values
    ) -> Iterator[list]:
        """Every source with every reference, under the controls that fit any of them."""
        sources = [self._named(session, language, key) for key in rows or ()]
        looks = [self._named(session, language, key) for key in columns or ()]
        if not sources or not looks:
            raise refuse("need_source" if not sources else "need_reference", language)
        if len(sources) * len(looks) > MOST_CELLS:
            raise refuse("too_many_cells", language, n=MOST_CELLS)
        wish = _without(self.fuse.wish(session, values), _NOT_IN_GRIDS, language)
        wish = replace(wish, weights=(1.0,))
        works = [
            partial(self.fuse.engine.fuse, source, [look], replace(wish, size=_CELL))
            for source in sources
            for look in looks
        ]
        made: list[Made] = []
        for told in in_turn(language, job, works, made):
            yield [told, gr.skip(), gr.skip()]
        session.grid, session.grid_columns, session.grid_size = made, len(looks), wish.size
        if not made:
            yield [gr.skip(), gr.update(visible=False), gr.update(visible=False)]
            return
        rows = grid_rows(sources, looks, made)
        cells = [(cell or _blank(), "") for row in rows for cell in row]
        path = stored("grid.png", encode_picture(sheet(rows), "PNG", settings=None))
        yield [
            gr.skip(),
            gr.update(value=cells, columns=len(looks) + 1, visible=True),
            gr.update(value=path, visible=True),
        ]

    def keep_cell(self, session: Session, language: str, job: Job, chosen: gr.EventData) -> list:
        """A picture of the grid was chosen: it is made in the size that was asked for."""
        row, column = divmod(chosen.index, session.grid_columns + 1)
        number = (row - 1) * session.grid_columns + column - 1
        if not row or not column or number >= len(session.grid):
            return [gr.skip() for _ in range(1 + len(self.keep.outputs))]
        cell = session.grid[number]
        with job():
            wish = replace(cell.wish, size=session.grid_size)
            session.keep(self.fuse.engine.fuse(cell.source, cell.references, wish))
        return [say("kept", language), *self.keep.updates(session, language)]

    def _named(self, session: Session, language: str, key: str) -> Portrait:
        """The picture that a choice stands for."""
        if key == "s" and session.source:
            return session.source
        number = key.removeprefix("r")
        if number.isdecimal() and 0 < int(number) <= len(session.references):
            return session.references[int(number) - 1]
        for path in bundled_faces():
            if path.stem == key:
                content = path.read_bytes()
                others = {p.name for p in session.portraits if p.content != content}
                return read_portrait(path.name, content, None, taken=others)
        raise refuse("forgotten", language)

    # -- video --------------------------------------------------------------------------------

    def make_video(
        self, session: Session, language: str, job: Job, seconds, loop, *values
    ) -> Iterator[list]:
        """From the look of one reference to the next."""
        needs(session, language)
        wish = self.fuse.wish(session, values)
        if sum(weight > 0 for weight in wish.weights) < 2:
            raise refuse("need_two", language)
        wish = _without(wish, _NOT_IN_VIDEOS, language)
        timing = Timing(seconds=float(seconds), hold=_HOLD, loop=bool(loop), fps=_FPS)
        same = [gr.skip() for _ in self.keep.outputs]
        source, references = session.source, list(session.references)
        abandoned = threading.Event()
        try:
            with job(abandoned.is_set) as check:

                def work(report: Callable) -> Made:
                    def on_frame(done: int, total: int) -> None:
                        check()
                        report((done, total))

                    return self.fuse.engine.film(source, references, wish, timing, on_frame)

                for told in _reported(work):
                    if isinstance(told, tuple):
                        yield [progress(language, *told), *same]
        except Exception as error:
            yield [ended(error, language), *same]
            return
        finally:
            abandoned.set()
        session.keep(told)
        yield [say("video_kept", language), *self.keep.updates(session, language)]

    # -- variations ---------------------------------------------------------------------------

    def make_variations(
        self, session: Session, language: str, job: Job, count, *values
    ) -> Iterator[list]:
        """Random steps away from the look that the Fuse tab has."""
        needs(session, language)
        wish, pictures = self.fuse.wish(session, values), (session.source, session.references)
        works = [
            partial(self.fuse.engine.fuse, *pictures, replace(wish, variation=number))
            for number in range(1, int(count) + 1)
        ]
        made: list[Made] = []
        for told in in_turn(language, job, works, made):
            yield [told, gr.skip()]
        session.variations = made
        shown = [(each.small, str(each.wish.variation)) for each in made]
        yield [gr.skip(), gr.update(value=shown, visible=bool(made), selected_index=None)]

    def take_variation(self, session: Session, language: str, chosen: gr.EventData) -> list:
        """A variation was chosen: the Fuse tab goes on with it."""
        wish = picked(session.variations, chosen.index, language).wish
        said = say("picked", language, n=wish.variation)
        return [said, gr.update(value=wish.variation), gr.update(value=wish.variation_angle)]


def _without(wish: Wish, usual: dict[str, object], language: str) -> Wish:
    """The wish without what cannot be in what is made of it; the person is told what that is.

    Args:
        wish: of the Fuse tab.
        usual: the values of controls that do not matter.
        language: of the page.
    """
    plain = replace(wish, **usual)
    told = [_CALLED[name] for name in usual if getattr(plain, name) != getattr(wish, name)]
    if told:
        names = ", ".join(say(name, language) for name in dict.fromkeys(told))
        warn(say("left_out", language, names=names), language)
    return plain


def _blank() -> Image.Image:
    return Image.new("RGBA", (_CELL, _CELL))


def _reported(work: Callable[[Callable], T]) -> Iterator[object | T]:
    """Runs work in a thread: what it reports, now and then, and its result at last."""
    reports: SimpleQueue = SimpleQueue()
    with ThreadPoolExecutor(1) as thread:
        future = thread.submit(work, reports.put)
        future.add_done_callback(lambda _: reports.put(None))
        last = 0.0
        while (report := reports.get()) is not None:
            if (now := time.monotonic()) - last >= _TOLD_EVERY:
                last = now
                yield report
        yield future.result()
