"""What happens in the Fuse tab."""

from __future__ import annotations

import base64
import secrets
import threading
import time
from collections.abc import Sequence

import gradio as gr

from facemeld.config import LEVELS
from facemeld.fusion.regions import REGIONS
from facemeld.images.read import PictureLimits, read_picture
from facemeld.web.engine import Engine, Made
from facemeld.web.events import LIVE, QUEUED, QUICK, needs, refuse, with_session
from facemeld.web.fuse_tab import SIZES, FuseTab
from facemeld.web.keep import Keep
from facemeld.web.parts import comparison
from facemeld.web.picture_events import FROM_REFERENCES, PictureEvents
from facemeld.web.sessions import MOST_REFERENCES, Session, Sessions
from facemeld.web.wishes import Wish
from facemeld.web.words import say

_PAINT_LIMITS = PictureLimits(max_bytes=1_000_000, max_pixels=256 * 256, max_side=256)


class FuseEvents(PictureEvents):
    """Connects the tab's components.

    Args:
        engine: makes the pictures.
        sessions: of the open tabs.
        tab: the components.
        language: the switch.
    """

    def __init__(
        self, engine: Engine, sessions: Sessions, tab: FuseTab, language: gr.Radio
    ) -> None:
        super().__init__(engine, tab)
        self.sessions, self.language = sessions, language
        controls = tab.controls
        self.names = ("model", *controls)
        self.result_outputs = [tab.result, tab.status]
        self.choice_outputs = [
            controls[name] for name in ("domain", "size", "place", "interpolation")
        ]

    def connect(self, keep: Keep) -> None:
        """Adds the listeners; call inside the page."""
        tab = self.tab
        on = self.on
        pictures = self.picture_outputs
        changed = [
            on(tab.source.input, self.take_source, [tab.source], [tab.source, *pictures]),
            on(
                tab.source_examples.select,
                self.take_example,
                [],
                [tab.source, *pictures],
                selects=True,
            ),
            on(
                tab.reference.input, self.add_reference, [tab.reference], [tab.reference, *pictures]
            ),
            on(tab.reference_examples.select, self.add_example, [], pictures, selects=True),
        ]
        weights = [slot.weight for slot in tab.slots]
        for index, slot in enumerate(tab.slots):
            changed.append(
                on(
                    slot.remove.click,
                    lambda s, lang, *values, i=index: self.remove(s, lang, i, *values),
                    [*weights, *(tab.controls[name] for name in FROM_REFERENCES)],
                    pictures,
                )
            )
        for event in changed:
            self.follow(event.then)
            event.then(**self.call(self.correct_who, [tab.who], self.correction_outputs))
        for control in tab.inputs[1:]:
            self.follow(control.input, **LIVE)
        self.follow(tab.painter.submit, self.paint, selects=True)
        on(tab.model.input, self.choices_of, [tab.model], self.choice_outputs)
        self.follow(tab.model.input, **LIVE)
        dice = tab.dice.click(lambda: secrets.randbelow(10**6), None, tab.controls["seed"], **QUICK)
        self.follow(dice.then)
        tab.who.input(**self.call(self.correct_who, [tab.who], self.correction_outputs))
        for slider in (tab.face, *tab.corrections.values()):
            correction = on(
                slider.input,
                self.correct,
                [tab.who, tab.face, *tab.corrections.values()],
                [tab.guided, *pictures],
                **LIVE,
            )
            self.follow(correction.then)
        undone = on(tab.reset.click, self.undo, [tab.who], [*self.correction_outputs, *pictures])
        self.follow(undone.then)
        tab.stop.click(with_session(self.sessions, self.stop), [self.language], tab.status, **QUICK)
        for button, function in ((tab.fuse, self.made), (tab.keep, self.kept)):

            def keeping(session: Session, language: str, *values, make=function) -> list:
                return [*make(session, language, *values), *keep.updates(session, language)]

            on(button.click, keeping, tab.inputs, [*self.result_outputs, *keep.outputs])
        again = keep.connect(self.restore, self.restored)
        self.follow(again.then)

    def call(self, function, inputs: Sequence, outputs: Sequence, *, selects=False, **options):
        """Arguments of an event listener."""
        return {
            "fn": with_session(self.sessions, function, selects=selects),
            "inputs": [self.language, *inputs],
            "outputs": list(outputs),
            **QUEUED,
            **options,
        }

    def on(self, event, function, inputs, outputs, **options):
        """Calls a function of the session when something happens."""
        return event(**self.call(function, inputs, outputs, **options))

    def follow(self, event, function=None, **options):
        """Makes the picture anew, if there is enough to make it of."""
        return self.on(
            event, function or self.live, self.tab.inputs, self.result_outputs, **options
        )

    # -- results ------------------------------------------------------------------------------

    def wish(self, session: Session, values: Sequence) -> Wish:
        """The controls' values, in the order of ``tab.inputs``, as a wish."""
        named = dict(zip(self.names, values))
        weights = values[len(self.names) :][: len(session.references)]
        count = len(session.references)
        for name in FROM_REFERENCES:
            named[name] = n if 0 <= (n := int(named[name] or 0)) <= count else 0
        levels = tuple(named.pop(level) for level in LEVELS)
        named["domain"] = named["domain"] or None
        named["size"] = named["size"] or None
        for name in ("seed", "variation"):
            named[name] = int(named[name] or 0)
        return Wish(
            **named,
            levels=levels,
            weights=tuple(float(w) for w in weights),
            painted=session.painted,
        )

    def live(self, session: Session, language: str, *values) -> list:
        """The picture under the controls as they are."""
        wish = self.wish(session, values)
        if session.source is None or not (session.references or wish.latent):
            session.latest = None
            return [self.nothing_yet(language), ""]
        return self.shown(session, language, wish)

    def paint(self, session: Session, language: str, chosen: gr.EventData, *values) -> list:
        """A stroke was painted, or all of them taken away."""
        mask = str(chosen._data.get("mask", ""))
        session.painted = None
        if mask:
            content = base64.b64decode(mask.partition(",")[2])
            session.painted = read_picture(content, limits=_PAINT_LIMITS).convert("L")
        return self.live(session, language, *values)

    def made(self, session: Session, language: str, *values) -> list:
        """The same for whoever asked for it, and so may be told what is missing."""
        needs(session, language)
        wish = self.wish(session, values)
        if not (session.references or wish.latent):
            raise refuse("need_reference", language)
        shown = self.shown(session, language, wish)
        session.keep(session.latest)
        return shown

    def kept(self, session: Session, language: str, *values) -> list:
        """Keeps what is on the page."""
        if session.latest is None:
            return self.made(session, language, *values)
        session.keep(session.latest)
        return [gr.skip(), say("kept", language)]

    @property
    def restored(self) -> list:
        """What ``restore`` sets."""
        return [*self.tab.inputs[: len(self.names)], self.tab.source, *self.picture_outputs]

    def restore(self, session: Session, language: str, made: Made) -> list:
        """Pictures and controls as they were for a result."""
        session.source, session.references = made.source, list(made.references)
        wish, session.painted = made.wish, made.wish.painted
        values = {name: getattr(wish, name, None) for name in self.names}
        values |= dict(zip(LEVELS, wish.levels))
        values |= {"domain": wish.domain or "", "size": wish.size or 0}
        weights = [*wish.weights, *([1.0] * MOST_REFERENCES)][:MOST_REFERENCES]
        chosen = [values[name] for name in FROM_REFERENCES]
        pictures = self.pictures(session, language, painter=True, chosen=chosen, weights=weights)
        controls = [gr.update(value=values[name]) for name in self.names]
        return [*controls, gr.update(value=None), *pictures]

    def shown(self, session: Session, language: str, wish: Wish) -> list:
        started = time.perf_counter()
        with self.job(session):
            fused = self.engine.fuse(session.source, session.references, wish)
        session.latest = fused
        seconds = f"{time.perf_counter() - started:.2f}"
        side = fused.image.width
        return [self.compared(fused, language), say("made", language, side=side, seconds=seconds)]

    def job(self, session: Session, abandoned: threading.Event | None = None):
        """The device, until the work is done or the person stops it."""
        stops = session.stops
        return self.engine.job(
            lambda: session.stops != stops or bool(abandoned and abandoned.is_set())
        )

    def compared(self, fused: Made, language: str) -> dict:
        """The value of the before/after part."""
        texts = {
            "before_text": say("before", language),
            "after_text": say("after", language),
            "slide_text": say("slide", language),
        }
        return comparison(fused.before, fused.image, texts)

    def nothing_yet(self, language: str) -> dict:
        """The same before there is a result."""
        return {"empty_text": say("empty_result", language)}

    def stop(self, session: Session, language: str) -> str:
        """Whatever runs for this tab ends at its next piece."""
        session.stops += 1
        return say("stopped", language)

    # -- texts that depend on the model or the language ---------------------------------------

    def choices_of(self, session: Session, language: str, model: str) -> list:
        """Domains, sizes and the names of places and weights."""
        pipe = self.engine.pipe(model)
        domains = [(say("guessed", language), ""), *((d, d) for d in pipe.domains)]
        sizes = [(say("size_own", language, side=pipe.image_size), 0)]
        sizes += [(say("size_n", language, side=s), s) for s in SIZES if s != pipe.image_size]
        return [
            gr.update(choices=domains),
            gr.update(choices=sizes),
            gr.update(choices=[(say(name, language), name) for name in REGIONS]),
            gr.update(choices=[(say(n, language), n) for n in ("linear", "spherical")]),
        ]
