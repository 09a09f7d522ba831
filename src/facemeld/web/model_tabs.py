"""The tabs about models: several compared on the same pictures, and what one is."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import gradio as gr

from facemeld.errors import UserError
from facemeld.images.read import SUFFIXES
from facemeld.web.engine import Engine
from facemeld.web.events import QUICK, needs, picked, refuse, warn
from facemeld.web.fuse_events import FuseEvents
from facemeld.web.jobs import Job
from facemeld.web.keep import Keep
from facemeld.web.made import Made
from facemeld.web.parts import status
from facemeld.web.sessions import Session
from facemeld.web.tabs import buttons, gallery, in_turn
from facemeld.web.words import Translator, say, tell

_LARGEST_CARD = 200_000  # bytes
_LARGEST_SAMPLE = 2_000_000


class CompareTab:
    """The source and the references of the Fuse tab, by several models.

    Args:
        fuse: the Fuse tab.
        keep: where chosen results go.
        words: texts.
    """

    def __init__(self, fuse: FuseEvents, keep: Keep, words: Translator) -> None:
        self.fuse, self.keep = fuse, keep
        names = list(fuse.engine.models)
        words(gr.HTML(elem_classes="hint", padding=False), value="compare_help")
        if len(names) == 1:
            words(gr.HTML(elem_classes="hint", padding=False), value="compare_one")
        self.models = words(
            gr.CheckboxGroup(names, value=names, elem_id="compare-models"), label="compare_models"
        )
        self.make, self.end = buttons(words, "compare_make", "compare-make")
        self.status = status("compare-status")
        self.gallery = words(gallery("compared"), label="compare_gallery")

    def connect(self) -> None:
        """Adds the listeners."""
        fuse, kept = self.fuse, self.keep.outputs
        inputs, outputs = [self.models, *fuse.tab.inputs], [self.status, self.gallery]
        fuse.on(self.make.click, self.compare, inputs, outputs, computes=True)
        fuse.on(self.gallery.select, self.keep_one, [], [self.status, *kept], selects=True)
        fuse.stops(self.end, self.status)

    def compare(self, session: Session, language: str, job: Job, models, *values) -> Iterator[list]:
        """One result a model; what a model cannot do is told and left out."""
        needs(session, language)
        if not models:
            raise refuse("need_model", language)
        wish, pictures = self.fuse.wish(session, values), (session.source, session.references)

        def by(model: str) -> Made | None:
            try:
                return self.fuse.engine.fuse(*pictures, replace(wish, model=model))
            except UserError as error:
                warn(f"{model}: {tell(error, language)}", language)

        made: list[Made] = []
        for told in in_turn(language, job, [partial(by, model) for model in models], made):
            yield [told, gr.skip()]
        session.compared = made
        shown = [(each.small, each.wish.model) for each in made]
        columns = max(2, min(4, len(made)))
        yield [gr.skip(), gr.update(value=shown, visible=bool(made), columns=columns)]

    def keep_one(self, session: Session, language: str, chosen: gr.EventData) -> list:
        """A model's result was chosen."""
        session.keep(picked(session.compared, chosen.index, language))
        return [say("kept", language), *self.keep.updates(session, language)]


class AboutTab:
    """A model's card.

    Args:
        engine: has the models.
        words: texts.
    """

    def __init__(self, engine: Engine, words: Translator) -> None:
        self.engine = engine
        names = list(engine.models)
        with gr.Column(elem_classes="card"):
            self.model = words(
                gr.Dropdown(names, value=names[0], elem_id="about-model", visible=len(names) > 1),
                label="model",
            )
            self.card = gr.Markdown(elem_id="card")

    def connect(self, tab: gr.Tab) -> None:
        """Adds the listeners; the card comes when its tab is opened."""
        for event in (tab.select, self.model.input):
            event(self.text, [self.model], [self.card], **QUICK)

    def text(self, model: str) -> str:
        """The card with its pictures inside, after a line of what is known of any model."""
        folder, config = self.engine.models[model].folder, self.engine.config(model)
        facts = f"`{model}` · {config.image_size} px · {', '.join(config.domains)}"
        path = folder / "README.md"
        if not path.is_file() or path.stat().st_size > _LARGEST_CARD:
            return facts
        card = path.read_text(encoding="utf-8", errors="replace")
        card = re.sub(r"\A---\n.*?\n---\n", "", card, flags=re.DOTALL)
        return facts + "\n\n" + re.sub(r"!\[([^]]*)\]\(([^)]+)\)", _inlined(folder), card)


def _inlined(folder: Path):
    def inline(found: re.Match) -> str:
        path = (folder / found[2]).resolve()
        known = path.suffix.lower() in SUFFIXES and path.is_relative_to(folder.resolve())
        if not known or not path.is_file() or path.stat().st_size > _LARGEST_SAMPLE:
            return found[1]
        content = base64.b64encode(path.read_bytes()).decode()
        kind = path.suffix.lower().lstrip(".").replace("jpg", "jpeg")
        return f"![{found[1]}](data:image/{kind};base64,{content})"

    return inline
