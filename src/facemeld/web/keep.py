"""Kept results: what was made in this tab, to look at, save, repeat, and as a command line."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import gradio as gr

from facemeld.errors import UserError
from facemeld.web.events import QUICK, picked, with_session
from facemeld.web.guard import MOST_STORED, bytes_in
from facemeld.web.made import Made
from facemeld.web.parts import film, heading, thumbnail
from facemeld.web.sessions import Session, Sessions
from facemeld.web.words import Translator


class Keep:
    """The section below the tabs.

    Args:
        sessions: of the open tabs.
        words: texts.
        language: the switch.
    """

    def __init__(self, sessions: Sessions, words: Translator, language: gr.Radio) -> None:
        self.sessions, self.language = sessions, language
        with gr.Column(elem_id="kept", elem_classes="card"):
            heading(words, "kept_title")
            self.empty = words(gr.HTML(elem_classes="hint", padding=False), value="kept_empty")
            self.gallery = words(
                gr.Gallery(
                    columns=8,
                    allow_preview=False,
                    object_fit="cover",
                    buttons=[],
                    interactive=False,
                    visible=False,
                    elem_classes="examples",
                    elem_id="kept-gallery",
                    container=False,
                ),
                label="kept_gallery",
            )
            self.number = gr.State(None)
            with gr.Row(visible=False, elem_id="kept-detail") as self.detail:
                with gr.Column(scale=2, min_width=240):
                    self.picture = gr.HTML(padding=False, elem_id="kept-picture")
                    self.again = words(gr.Button(elem_id="again"), value="again")
                with gr.Column(scale=5, min_width=300):
                    self.command = words(
                        gr.Code(
                            language=None,
                            interactive=False,
                            elem_id="command",
                            wrap_lines=True,
                            show_line_numbers=False,
                            buttons=["copy"],
                            lines=1,
                            max_lines=8,
                        ),
                        label="command",
                    )
                    with gr.Row(elem_classes="actions"):
                        self.save = words(gr.DownloadButton(elem_id="save"), label="save")
                        self.save_kit = words(
                            gr.DownloadButton(elem_id="save-kit"), label="save_kit"
                        )
                        self.save_settings = words(
                            gr.DownloadButton(elem_id="save-settings"), label="save_settings"
                        )
                    with words(gr.Accordion("", open=False), label="settings"):
                        self.settings = gr.JSON(show_label=False, elem_id="settings")

    @property
    def outputs(self) -> list:
        """What changes when something is kept."""
        return [self.empty, self.gallery, self.number, self.detail, *self._shown]

    @property
    def _shown(self) -> list:
        files = [self.save, self.save_kit, self.save_settings]
        return [self.picture, self.command, *files, self.settings]

    def connect(self, restore: Callable, restored: Sequence) -> gr.events.Dependency:
        """Adds the listeners.

        Args:
            restore: sets the page to what made a result; given session, language and the result.
            restored: its outputs.

        Returns:
            The event after which the page is as it was then.
        """
        self.gallery.select(
            with_session(self.sessions, self.choose, selects=True),
            [self.language],
            [self.number, self.detail, *self._shown],
            **QUICK,
        )

        def again(session: Session, language: str, number: int) -> list:
            return restore(session, language, picked(session.kept, number, language))

        return self.again.click(
            with_session(self.sessions, again),
            [self.language, self.number],
            list(restored),
            **QUICK,
        )

    def updates(self, session: Session, language: str) -> list:
        """The newest result, shown; for ``outputs``."""
        if not session.kept:
            return [gr.skip() for _ in self.outputs]
        pictures = [(made.small, name_of(session, n)) for n, made in enumerate(session.kept)]
        return [
            gr.update(visible=False),
            gr.update(value=pictures, visible=True, selected_index=0),
            *self.show(session, language, 0),
        ]

    def choose(self, session: Session, language: str, chosen: gr.EventData) -> list:
        """A result was chosen."""
        return self.show(session, language, chosen.index)

    def show(self, session: Session, language: str, number: int) -> list:
        """A result with its files; for ``_shown``, its number and its place."""
        made: Made = picked(session.kept, number, language)
        name = name_of(session, number)
        picture = film(made.video, name) if made.video else thumbnail(made.image, name)
        return [
            number,
            gr.update(visible=True),
            picture,
            made.command.line,
            stored(name + made.suffix, made.file),
            stored(name + ".zip", made.kit),
            stored(name + ".json", made.settings_file),
            made.settings,
        ]


def name_of(session: Session, number: int) -> str:
    """What a kept result is called; the newest has the highest number."""
    return f"facemeld-{session.count - number:02d}"


def stored(name: str, content: bytes) -> str:
    """A file for the browser to save, cleared away with the others; the same one only once.

    Raises:
        UserError: there are too many files.
    """
    place = Path(gr.utils.get_upload_folder())
    path = place / hashlib.sha256(content).hexdigest() / name
    if path.is_file():
        path.touch()  # its hour begins anew
        return str(path)
    if bytes_in(place) + len(content) > MOST_STORED:
        raise UserError("there are too many files", fix="try again in an hour")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return str(path)
