"""What happens in the Fuse tab."""

from __future__ import annotations

import base64
import secrets
import time
from collections.abc import Sequence

import gradio as gr

from facemeld.config import LEVELS
from facemeld.fusion.regions import REGIONS
from facemeld.fusion.request import INTERPOLATIONS
from facemeld.images.read import PictureLimits, read_picture
from facemeld.web.engine import Engine
from facemeld.web.events import LIVE, QUEUED, QUICK, needs, refuse, with_session
from facemeld.web.fuse_tab import SIZES, FuseTab
from facemeld.web.jobs import Job, Jobs, arrival
from facemeld.web.keep import Keep
from facemeld.web.made import Made
from facemeld.web.parts import comparison
from facemeld.web.picture_events import FROM_REFERENCES, PictureEvents
from facemeld.web.sessions import MOST_REFERENCES, Session, Sessions
from facemeld.web.wishes import Wish
from facemeld.web.words import say

_PAINT_LIMITS = PictureLimits(max_bytes=1_000_000, max_pixels=256 * 256, max_side=256)
FROM_MODEL = ("domain", "size", "place", "interpolation", "content_strength")
"""Controls whose choices or being there depend on the model."""


class FuseEvents(PictureEvents):
    """Connects the tab's components.

    Args:
        engine: makes the pictures.
        jobs: open the device.
        sessions: of the open tabs.
        tab: the components.
        language: the switch.
    """

    def __init__(
        self, engine: Engine, jobs: Jobs, sessions: Sessions, tab: FuseTab, language: gr.Radio
    ) -> None:
        super().__init__(engine, tab)
        self.sessions, self.jobs, self.language = sessions, jobs, language
        self.names = ("model", *tab.controls)
        self.result_outputs = [tab.result, tab.status]
        self.choice_outputs = [tab.controls[name] for name in FROM_MODEL]
        self.domain_inputs = [tab.model, tab.controls["domain"]]

    def connect(self, keep: Keep) -> None:
        """Adds the listeners; call inside the page."""
        self._connect_pictures()
        self._connect_corrections()
        self._connect_controls()
        tab = self.tab

        def made(session: Session, language: str, job: Job, *values) -> list:
            shown = self.made(session, language, job, *values)
            return [*shown, *keep.updates(session, language)]

        outputs = [*self.result_outputs, *keep.outputs]
        self.on(tab.fuse.click, made, tab.inputs, outputs, computes=True)
        self.stops(tab.stop, tab.status)

    def _connect_pictures(self) -> None:
        """Sources and references that come and go."""
        tab, on, pictures = self.tab, self.on, self.picture_outputs
        source, reference = [tab.source], [tab.reference]
        changed = [
            on(tab.source.input, self.take_source, source, [*source, *pictures]),
            on(
                tab.source_examples.select,
                self.take_example,
                [],
                [*source, *pictures],
                selects=True,
            ),
            on(tab.reference.input, self.add_reference, reference, [*reference, *pictures]),
            on(tab.reference_examples.select, self.add_example, [], pictures, selects=True),
        ]
        numbered = [slot.weight for slot in tab.slots]
        numbered += [tab.controls[name] for name in FROM_REFERENCES]
        for index, slot in enumerate(tab.slots):
            changed.append(
                on(
                    slot.remove.click,
                    lambda s, lang, *values, i=index: self.remove(s, lang, i, *values),
                    numbered,
                    pictures,
                )
            )
        for event in changed:
            self.follow(event.then)
            on(event.then, self.correct_who, [tab.who], self.correction_outputs)

    def _connect_corrections(self) -> None:
        """How the faces are placed."""
        tab, on = self.tab, self.on
        on(tab.who.input, self.correct_who, [tab.who], self.correction_outputs)
        placed = [tab.face, *tab.corrections.values()]
        seen = [tab.guided, *self.picture_outputs]
        for control in placed:
            self.follow(on(control.input, self.correct, [tab.who, *placed], seen, **LIVE).then)
        undone = [*self.correction_outputs, *self.picture_outputs]
        self.follow(on(tab.reset.click, self.undo, [tab.who], undone).then)

    def _connect_controls(self) -> None:
        """What the picture follows."""
        tab, on, controls = self.tab, self.on, self.tab.controls
        for control in tab.inputs:
            if control not in (tab.model, controls["latent"]):
                self.follow(control.input, **LIVE)
        self.follow(tab.painter.submit, self.paint, selects=True)
        self.follow(on(tab.model.input, self.choices, self.domain_inputs, self.choice_outputs).then)
        random = [controls["latent"], controls["seed"], controls["domain"]]
        ticked = on(controls["latent"].input, self.choose_random, [random[0], *self.domain_inputs],
                    random[2:])  # fmt: skip
        thrown = on(tab.dice.click, self.throw, self.domain_inputs, random)
        for event in (ticked, thrown):
            self.follow(event.then)

    def on(
        self, event, function, inputs: Sequence, outputs: Sequence, *,
        computes=False, selects=False, **options,
    ):  # fmt: skip
        """Calls a function of the session when something happens.

        Args:
            event: of a component.
            function: see ``with_session``.
            inputs: components, after the language.
            outputs: components.
            computes: the function is given the job that opens the device.
            selects: it is told what was chosen.
            options: of the listener.
        """
        jobs = self.jobs if computes else None
        return event(
            with_session(self.sessions, function, jobs=jobs, selects=selects),
            [self.language, *inputs],
            list(outputs),
            **(QUEUED | options),
        )

    def follow(self, event, function=None, **options):
        """Makes the picture anew, if there is enough to make it of."""
        options |= {"computes": True}
        return self.on(
            event, function or self.live, self.tab.inputs, self.result_outputs, **options
        )

    def stops(self, button: gr.Button, status: gr.HTML) -> None:
        """Makes a button stop all that this tab asked for."""

        def stop_tab(request: gr.Request, language: str) -> str:
            self.jobs.stop(request.session_hash, arrival(request))
            return say("stopped", language)

        button.click(stop_tab, [self.language], status, **QUICK)

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

    def live(self, session: Session, language: str, job: Job, *values) -> list:
        """The picture under the controls as they are."""
        wish = self.wish(session, values)
        if session.source is None or not (session.references or wish.latent):
            session.latest = None
            return [self.nothing_yet(language), ""]
        return self.shown(session, language, job, wish)

    def paint(
        self, session: Session, language: str, job: Job, chosen: gr.EventData, *values
    ) -> list:
        """A stroke was painted, or all of them taken away."""
        mask = str(chosen._data.get("mask", ""))
        session.painted = None
        if mask:
            content = base64.b64decode(mask.partition(",")[2])
            session.painted = read_picture(content, limits=_PAINT_LIMITS).convert("L")
        return self.live(session, language, job, *values)

    def made(self, session: Session, language: str, job: Job, *values) -> list:
        """The same for whoever asked for it, and so may be told what is missing; it is kept."""
        needs(session, language)
        wish = self.wish(session, values)
        if not (session.references or wish.latent):
            raise refuse("need_reference", language)
        result, told = self.shown(session, language, job, wish)
        session.keep(session.latest)
        return [result, f"{told} · {say('kept', language)}"]

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
        known = dict(zip(FROM_MODEL, self.choices(session, language, wish.model, wish.domain)))
        controls = [known.get(name, {}) | gr.update(value=values[name]) for name in self.names]
        return [*controls, gr.update(value=None), *pictures]

    def shown(self, session: Session, language: str, job: Job, wish: Wish) -> list:
        started = time.perf_counter()
        with job() as check:
            fused = self.engine.fuse(session.source, session.references, wish)
            check()
        session.latest = fused
        seconds = f"{time.perf_counter() - started:.2f}"
        side = fused.image.width
        return [self.compared(fused, language), say("made", language, side=side, seconds=seconds)]

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

    # -- what depends on the model ------------------------------------------------------------

    def choices(self, session: Session, language: str, model: str, domain: str | None) -> list:
        """Domains, sizes, the names of places and of ways to mix, and whether there are skips."""
        config = self.engine.config(model)
        guessed = [(say("guessed", language), "")] if config.style_encoder == "projected" else []
        domains = [*guessed, *((name, name) for name in config.domains)]
        if domain not in config.domains:
            domain = domains[0][1]
        sizes = [(say("size_own", language, side=config.image_size), 0)]
        sizes += [(say("size_n", language, side=s), s) for s in SIZES if s != config.image_size]
        has_skips = config.skips != "none"
        return [
            gr.update(choices=domains, value=domain),
            gr.update(choices=sizes),
            gr.update(choices=[(say(name, language), name) for name in REGIONS]),
            gr.update(choices=[(say(name, language), name) for name in INTERPOLATIONS]),
            gr.update(visible=has_skips, **({} if has_skips else {"value": 1.0})),
        ]

    def choose_random(
        self, session: Session, language: str, latent: bool, model: str, domain: str
    ) -> str:
        """A random look needs a domain: any, if none was chosen."""
        return domain or (secrets.choice(self.engine.config(model).domains) if latent else "")

    def throw(self, session: Session, language: str, model: str, domain: str) -> list:
        """Another random look."""
        domain = self.choose_random(session, language, True, model, domain)
        return [True, secrets.randbelow(10**6), domain]
