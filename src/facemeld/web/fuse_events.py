"""What happens in the Fuse tab."""

from __future__ import annotations

import base64
import secrets
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import gradio as gr

from facemeld.config import LEVELS
from facemeld.data.folders import bundled_faces
from facemeld.errors import UserError
from facemeld.faces.templates import template
from facemeld.fusion.regions import REGIONS
from facemeld.images.read import PictureLimits, read_picture
from facemeld.web.engine import Engine, Made
from facemeld.web.events import LIVE, QUEUED, QUICK, needs, refuse, warn, with_session
from facemeld.web.fuse_tab import SIZES, FuseTab
from facemeld.web.keep import Keep
from facemeld.web.parts import comparison, guided, preview, thumbnail
from facemeld.web.portraits import Placing, Portrait, read_portrait, read_upload
from facemeld.web.sessions import MOST_REFERENCES, Session, Sessions
from facemeld.web.wishes import Wish
from facemeld.web.words import say, tell

FROM_REFERENCES = (*LEVELS, "place_from", "painted_from", "second_source")
"""Controls whose choices are the references."""
_PAINT_LIMITS = PictureLimits(max_bytes=1_000_000, max_pixels=256 * 256, max_side=256)


class FuseEvents:
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
        self.engine, self.sessions, self.tab, self.language = engine, sessions, tab, language
        self.names = ("model", *tab.controls)
        controls = tab.controls
        self.picture_outputs = [
            tab.source_seen,
            *(slot.row for slot in tab.slots),
            *(slot.picture for slot in tab.slots),
            *(slot.weight for slot in tab.slots),
            *(controls[name] for name in FROM_REFERENCES),
            tab.painter,
            tab.who,
        ]
        self.result_outputs = [tab.result, tab.status]
        self.choice_outputs = [
            controls["domain"],
            controls["size"],
            controls["place"],
            controls["interpolation"],
        ]
        self.correction_outputs = [tab.guided, tab.face, *tab.corrections.values()]

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
            on(tab.reference.input, self.add_reference, [tab.reference], [tab.reference, *pictures]),
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
        tab.stop.click(
            with_session(self.sessions, self.stop), [self.language], tab.status, **QUICK
        )
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

    # -- pictures -----------------------------------------------------------------------------

    def take_source(self, session: Session, language: str, sent: tuple[str, Path] | None) -> list:
        """A source was uploaded, or taken away."""
        try:
            source = None if sent is None else self.read(session, *sent)
        except UserError as error:
            warn(tell(error, language), language)
            return [None if session.source is None else gr.skip(), *self.nothing()]
        return [gr.skip(), *self.new_source(session, language, source)]

    def take_example(self, session: Session, language: str, chosen: gr.SelectData) -> list:
        """A bundled face was chosen as the source."""
        path = bundled_faces()[chosen.index]
        source = read_portrait(path.name, path.read_bytes(), None, taken=self.others(session))
        return [str(path), *self.new_source(session, language, source)]

    def new_source(self, session: Session, language: str, source: Portrait | None) -> list:
        session.source, session.painted, session.latest = source, None, None
        return self.pictures(session, language, painter=True)

    def add_reference(
        self, session: Session, language: str, sent: tuple[str, Path] | None
    ) -> list:
        """A reference was uploaded."""
        if sent is None:
            return [None, *self.nothing()]
        try:
            self.append(session, language, self.read(session, *sent))
        except UserError as error:
            warn(tell(error, language), language)
        return [None, *self.pictures(session, language)]

    def add_example(self, session: Session, language: str, chosen: gr.SelectData) -> list:
        """A bundled face was chosen as a reference."""
        path = bundled_faces()[chosen.index]
        face = read_portrait(path.name, path.read_bytes(), None, taken=session.names)
        self.append(session, language, face)
        return self.pictures(session, language)

    def append(self, session: Session, language: str, portrait: Portrait) -> None:
        if len(session.references) == MOST_REFERENCES:
            warn(say("too_many", language, n=MOST_REFERENCES), language)
            return
        session.references.append(portrait)

    def remove(self, session: Session, language: str, index: int, *values) -> list:
        """A reference was taken away; the numbers of the others follow."""
        weights, chosen = list(values[:MOST_REFERENCES]), values[MOST_REFERENCES:]
        if index < len(session.references):
            del session.references[index]
            weights = [*weights[:index], *weights[index + 1 :], 1.0]
        number = index + 1
        renumbered = [0 if n == number else n - (n > number) for n in chosen]
        return self.pictures(session, language, chosen=renumbered, weights=weights)

    def read(self, session: Session, name: str, path: Path) -> Portrait:
        return read_portrait(name, read_upload(path), self.engine.finder, taken=session.names)

    def others(self, session: Session) -> set[str]:
        return {portrait.name for portrait in session.references}

    def nothing(self) -> list:
        """No change of the pictures."""
        return [gr.skip() for _ in self.picture_outputs]

    def pictures(
        self,
        session: Session,
        language: str,
        *,
        painter: bool = False,
        chosen: Sequence[int] | None = None,
        weights: Sequence[float] | None = None,
    ) -> list:
        """What the page shows of the session's pictures.

        Args:
            session: of the tab.
            language: of the page.
            painter: the source is new, and so is what is painted on.
            chosen: new values of the controls whose choices are the references.
            weights: new weights.
        """
        source, references = session.source, session.references
        count = len(references)
        seen = thumbnail(source.aligned, say("seen_as", language)) if source else ""
        rows = [gr.update(visible=index < count) for index in range(MOST_REFERENCES)]
        thumbs = [thumbnail(r.aligned, r.name) for r in references]
        thumbs += [""] * (MOST_REFERENCES - count)
        sliders = []
        for n in range(1, MOST_REFERENCES + 1):
            label = say("no_weight_n", language, n=n)
            if n <= count:
                label = say("weight_n", language, name=references[n - 1].name)
            value = {} if weights is None else {"value": weights[n - 1]}
            sliders.append(gr.update(label=label, **value))
        dropdowns = []
        for index, name in enumerate(FROM_REFERENCES):
            none = "nobody" if name == "second_source" else "as_mixed"
            choices = [(say(none, language), 0)] + [
                (f"{n}: {r.name}", n) for n, r in enumerate(references, 1)
            ]
            value = {} if chosen is None else {"value": chosen[index]}
            dropdowns.append(gr.update(choices=choices, **value))
        who = [(say("source", language), 0)] if source else []
        who += [(say("reference_n", language, n=n), n) for n in range(1, count + 1)]
        canvas = self.canvas(session, language) if painter else gr.skip()
        first = {"value": 0} if painter and source else {}
        shown = gr.update(choices=who, **first)
        return [seen, *rows, *thumbs, *sliders, *dropdowns, canvas, shown]

    def canvas(self, session: Session, language: str) -> dict:
        """The value of the part to paint on."""
        keys = ("paint", "brush", "paint_clear", "paint_empty")
        names = ("text", "brush_text", "clear_text", "empty_text")
        texts = {name: say(key, language) for name, key in zip(names, keys)}
        if session.source is not None:
            texts["picture"] = preview(session.source.aligned)
        return texts

    def paint(self, session: Session, language: str, chosen: gr.EventData, *values) -> list:
        """A stroke was painted, or all of them taken away."""
        mask = str(chosen._data.get("mask", ""))
        session.painted = None
        if mask:
            content = base64.b64decode(mask.partition(",")[2])
            session.painted = read_picture(content, limits=_PAINT_LIMITS).convert("L")
        return self.live(session, language, *values)

    # -- corrections --------------------------------------------------------------------------

    def portrait(self, session: Session, who: int | None) -> Portrait | None:
        if who is None or who > len(session.references):
            return None
        return session.references[who - 1] if who else session.source

    def correct_who(self, session: Session, language: str, who: int | None) -> list:
        """Shows how one picture is placed."""
        portrait = self.portrait(session, who)
        if portrait is None:
            return ["", gr.update(choices=[], value=None), *(gr.skip() for _ in range(4))]
        placing = portrait.placing
        faces = [(say("whole", language), 0)]
        for number, face in enumerate(portrait.faces, 1):
            faces.append((say("face_n", language, n=number, kind=say(face.kind, language)), number))
        values = [getattr(placing, name) for name in self.tab.corrections]
        return [
            self.guide(portrait, language),
            gr.update(choices=faces, value=placing.face),
            *(gr.update(value=value) for value in values),
        ]

    def correct(self, session: Session, language: str, who, face, *values) -> list:
        """A picture was placed by hand."""
        portrait = self.portrait(session, who)
        if portrait is None:
            return [gr.skip(), *self.nothing()]
        face = int(face or 0) if int(face or 0) <= len(portrait.faces) else 0
        corrections = dict(zip(self.tab.corrections, map(float, values)))
        portrait = portrait.placed(Placing(face=face, **corrections))
        self.replace(session, who, portrait)
        return [self.guide(portrait, language), *self.pictures(session, language, painter=not who)]

    def undo(self, session: Session, language: str, who: int | None) -> list:
        """A picture is placed as it was found."""
        portrait = self.portrait(session, who)
        if portrait is not None:
            found = Placing(face=1 if portrait.faces else 0)
            self.replace(session, who, portrait.placed(found))
        return [
            *self.correct_who(session, language, who),
            *self.pictures(session, language, painter=not who),
        ]

    def replace(self, session: Session, who: int, portrait: Portrait) -> None:
        if who:
            session.references[who - 1] = portrait
        else:
            session.source, session.painted = portrait, None

    def guide(self, portrait: Portrait, language: str) -> str:
        kind = portrait.how.face.kind if portrait.how.face else "human"
        marks = template(kind).tolist()
        return guided(portrait.aligned, marks, say("adjust", language))

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
