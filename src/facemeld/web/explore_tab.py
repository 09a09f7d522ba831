"""The Explore tab: a grid, a video, variations; each a job that tells how far it is."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from queue import SimpleQueue
from typing import TypeVar

import gradio as gr

from facemeld.data.folders import bundled_faces
from facemeld.fusion.timing import Timing
from facemeld.web.engine import Made
from facemeld.web.events import QUEUED, QUICK, needs, refuse, with_session
from facemeld.web.fuse_events import FuseEvents
from facemeld.web.keep import Keep
from facemeld.web.portraits import Portrait, read_portrait
from facemeld.web.sessions import Session
from facemeld.web.tabs import buttons, gallery, progress, stop
from facemeld.web.wishes import Wish
from facemeld.web.words import Translator, say

T = TypeVar("T")
MOST_CELLS = 64
_FPS = 25
_CELL = 128  # pixels a side of pictures in a grid
_TOLD_EVERY = 0.3  # seconds


class ExploreTab:
    """Components and listeners; made inside ``gr.Tab``.

    Args:
        fuse: the Fuse tab, whose pictures and controls are used.
        keep: where results go.
        words: texts.
    """

    def __init__(self, fuse: FuseEvents, keep: Keep, words: Translator) -> None:
        self.fuse, self.keep = fuse, keep
        with gr.Tabs(elem_id="explore"):
            with words(gr.Tab("", id="grid"), label="grid_title"):
                self._grid(words)
            with words(gr.Tab("", id="video"), label="video_title"):
                self._video(words)
            with words(gr.Tab("", id="variations"), label="variations_title"):
                self._variations(words)

    def connect(self) -> None:
        """Adds the listeners."""
        wish, kept = self.fuse.tab.inputs, self.keep.outputs
        self._job(
            self.grid_make,
            self.make_grid,
            [self.rows, self.columns, *wish],
            [self.grid_status, self.grid],
        )
        self._choice(self.grid, self.keep_cell, [], [self.grid_status, *kept])
        self._job(
            self.video_make,
            self.make_video,
            [self.seconds, self.loop, *wish],
            [self.video_status, *kept],
        )
        controls = self.fuse.tab.controls
        self._job(
            self.variations_make,
            self.make_variations,
            [self.count, *wish],
            [self.variations_status, self.variations],
        )
        chosen = [self.variations_status, controls["variation"], controls["variation_angle"]]
        picked = self._choice(self.variations, self.take_variation, [], chosen)
        self.fuse.follow(picked.then)
        for button in (self.grid_stop, self.video_stop, self.variations_stop):
            button.click(
                with_session(self.fuse.sessions, stop), [self.fuse.language], None, **QUICK
            )

    def choices(self, session: Session, language: str) -> list:
        """What grids can be made of, for ``choice_outputs``."""
        named = [("s", say("source", language))] if session.source else []
        named += [
            (f"r{n}", f"{n}: {portrait.name}") for n, portrait in enumerate(session.references, 1)
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
        self.grid_status = gr.HTML(elem_classes="status", elem_id="grid-status", padding=False)
        self.grid = words(gallery("grid"), label="grid_sheet")

    def _video(self, words: Translator) -> None:
        words(gr.HTML(elem_classes="hint", padding=False), value="video_help")
        with gr.Row():
            self.seconds = words(
                gr.Slider(0.2, 5, 1.5, step=0.1, buttons=[], elem_id="video-seconds"),
                label="video_seconds",
            )
            self.loop = words(gr.Checkbox(True, elem_id="video-loop"), label="video_loop")
        self.video_make, self.video_stop = buttons(words, "video_make", "video-make")
        self.video_status = gr.HTML(elem_classes="status", elem_id="video-status", padding=False)

    def _variations(self, words: Translator) -> None:
        words(gr.HTML(elem_classes="hint", padding=False), value="variations_help")
        self.count = words(
            gr.Slider(2, 24, 8, step=1, buttons=[], elem_id="variations-count"),
            label="variations_count",
        )
        self.variations_make, self.variations_stop = buttons(
            words, "variations_make", "variations-make"
        )
        self.variations_status = gr.HTML(
            elem_classes="status", elem_id="variations-status", padding=False
        )
        self.variations = words(gallery("variations"), label="variations_title")

    def _job(self, button: gr.Button, function: Callable, inputs: Sequence, outputs: Sequence):
        return button.click(
            with_session(self.fuse.sessions, function),
            [self.fuse.language, *inputs],
            list(outputs),
            **QUEUED,
        )

    def _choice(self, gallery, function: Callable, inputs: Sequence, outputs: Sequence):
        return gallery.select(
            with_session(self.fuse.sessions, function, selects=True),
            [self.fuse.language, *inputs],
            list(outputs),
            **QUICK,
        )

    # -- grid ---------------------------------------------------------------------------------

    def make_grid(self, session: Session, language: str, rows, columns, *values) -> Iterator[list]:
        """Every source with every reference, under the look of the Fuse tab's controls."""
        wish = replace(
            self.fuse.wish(session, values),
            latent=False,
            variation=0,
            weights=(1.0,),
            levels=(0, 0, 0),
            place_from=0,
            painted_from=0,
            second_source=0,
            size=_CELL,
        )
        sources = [self._named(session, key) for key in rows or ()]
        looks = [self._named(session, key) for key in columns or ()]
        if not sources or not looks:
            raise refuse("need_source" if not sources else "need_reference", language)
        if len(sources) * len(looks) > MOST_CELLS:
            raise refuse("too_many_cells", language, n=MOST_CELLS)
        pairs = [(source, look) for source in sources for look in looks]
        made: list[Made] = []
        with self.fuse.job(session) as check:
            for source, look in pairs:
                check()
                yield [progress(language, len(made), len(pairs)), gr.skip()]
                made.append(self.fuse.engine.fuse(source, [look], wish))
        session.grid = made
        cells: list = []
        for start in range(0, len(made), len(looks)):
            cells.append((sources[start // len(looks)].aligned, ""))
            cells += [(each.image, "") for each in made[start : start + len(looks)]]
        header = [(_blank(), "")] + [(look.aligned, "") for look in looks]
        session.grid_columns = len(looks)
        yield ["", gr.update(value=[*header, *cells], columns=len(looks) + 1, visible=True)]

    def keep_cell(self, session: Session, language: str, chosen: gr.EventData) -> list:
        """A picture of the grid was chosen."""
        row, column = divmod(chosen.index, session.grid_columns + 1)
        if not row or not column:
            return ["", *(gr.skip() for _ in self.keep.outputs)]
        session.keep(session.grid[(row - 1) * session.grid_columns + column - 1])
        return [say("kept", language), *self.keep.updates(session, language)]

    def _named(self, session: Session, key: str) -> Portrait:
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
        raise gr.Error("", print_exception=False)

    # -- video --------------------------------------------------------------------------------

    def make_video(self, session: Session, language: str, seconds, loop, *values) -> Iterator[list]:
        """From the look of one reference to the next."""
        needs(session, language)
        if len(session.references) < 2:
            raise refuse("need_two", language)
        wish = self.fuse.wish(session, values)
        timing = Timing(seconds=float(seconds), hold=0.2, loop=bool(loop), fps=_FPS)
        same = [gr.skip() for _ in self.keep.outputs]
        abandoned = threading.Event()
        with self.fuse.job(session, abandoned) as check:

            def work(report: Callable) -> Made:
                def on_frame(done: int, total: int) -> None:
                    check()
                    report((done, total))

                references = session.references
                return self.fuse.engine.film(session.source, references, wish, timing, on_frame)

            try:
                for told in _reported(work):
                    if isinstance(told, tuple):
                        yield [progress(language, *told), *same]
            finally:
                abandoned.set()
        session.keep(told)
        yield [say("video_kept", language), *self.keep.updates(session, language)]

    # -- variations ---------------------------------------------------------------------------

    def make_variations(self, session: Session, language: str, count, *values) -> Iterator[list]:
        """Random steps away from the look that the Fuse tab has."""
        needs(session, language)
        wish = self.fuse.wish(session, values)
        made: list[Made] = []
        with self.fuse.job(session) as check:
            for number in range(1, int(count) + 1):
                check()
                yield [progress(language, number - 1, int(count)), gr.skip()]
                varied = replace(wish, variation=number)
                made.append(self.fuse.engine.fuse(session.source, session.references, varied))
        session.variations = made
        pictures = [(each.image, str(each.wish.variation)) for each in made]
        yield ["", gr.update(value=pictures, visible=True, selected_index=None)]

    def take_variation(self, session: Session, language: str, chosen: gr.EventData) -> list:
        """A variation was chosen: the Fuse tab goes on with it."""
        wish: Wish = session.variations[chosen.index].wish
        said = say("picked", language, n=wish.variation)
        return [said, gr.update(value=wish.variation), gr.update(value=wish.variation_angle)]


def _blank():
    from PIL import Image

    return Image.new("RGB", (_CELL, _CELL), (244, 243, 240))


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
