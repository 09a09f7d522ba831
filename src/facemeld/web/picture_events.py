"""What happens to the pictures of the Fuse tab: chosen, taken away, shown, corrected."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import gradio as gr

from facemeld.config import LEVELS
from facemeld.data.folders import bundled_faces
from facemeld.errors import UserError
from facemeld.faces.templates import template
from facemeld.web.engine import Engine
from facemeld.web.events import warn
from facemeld.web.fuse_tab import FuseTab
from facemeld.web.parts import guided, preview, thumbnail
from facemeld.web.portraits import Placing, Portrait, read_portrait, read_upload
from facemeld.web.sessions import MOST_REFERENCES, Session
from facemeld.web.words import say, tell

FROM_REFERENCES = (*LEVELS, "place_from", "painted_from", "second_source")
"""Controls whose choices are the references."""


class PictureEvents:
    """Functions that Gradio calls; each takes the session and the page's language first.

    Args:
        engine: finds faces.
        tab: the components.
    """

    def __init__(self, engine: Engine, tab: FuseTab) -> None:
        self.engine, self.tab = engine, tab
        self.picture_outputs = [
            tab.source_seen,
            *(slot.row for slot in tab.slots),
            *(slot.picture for slot in tab.slots),
            *(slot.weight for slot in tab.slots),
            *(slot.remove for slot in tab.slots),
            *(tab.controls[name] for name in FROM_REFERENCES),
            tab.painter,
            tab.who,
        ]
        self.correction_outputs = [tab.guided, tab.face, *tab.corrections.values()]

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

    def add_reference(self, session: Session, language: str, sent: tuple[str, Path] | None) -> list:
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
        spare = [gr.skip()] * (MOST_REFERENCES - count)
        thumbs = [thumbnail(r.aligned, r.title) for r in references] + spare
        sliders = [gr.update(label=say("weight_n", language, name=r.title)) for r in references]
        sliders += spare
        if weights is not None:
            sliders = [update | gr.update(value=w) for update, w in zip(sliders, weights)]
        removes = [gr.update(value=say("remove_n", language, name=r.title)) for r in references]
        dropdowns = []
        for index, name in enumerate(FROM_REFERENCES):
            none = "nobody" if name == "second_source" else "as_mixed"
            choices = [(say(none, language), 0)] + [
                (f"{n}: {r.title}", n) for n, r in enumerate(references, 1)
            ]
            value = {} if chosen is None else {"value": chosen[index]}
            dropdowns.append(gr.update(choices=choices, **value))
        who = [(say("source", language), 0)] if source else []
        who += [(say("reference_n", language, n=n), n) for n in range(1, count + 1)]
        canvas = self.canvas(session, language) if painter else gr.skip()
        first = {"value": 0} if painter and source else {}
        shown = gr.update(choices=who, **first)
        return [seen, *rows, *thumbs, *sliders, *removes, *spare, *dropdowns, canvas, shown]

    def canvas(self, session: Session, language: str) -> dict:
        """The value of the part to paint on."""
        keys = ("paint", "paint_keys", "brush", "paint_clear", "paint_empty")
        names = ("text", "keys_text", "brush_text", "clear_text", "empty_text")
        texts = {name: say(key, language) for name, key in zip(names, keys)}
        if session.source is not None:
            texts["picture"] = preview(session.source.aligned)
        return texts

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
