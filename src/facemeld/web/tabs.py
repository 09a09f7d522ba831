"""What the tabs with long jobs share: their buttons, their galleries, how far a job is."""

from __future__ import annotations

import gradio as gr

from facemeld.web.sessions import Session
from facemeld.web.words import Translator, say


def stop(session: Session, language: str) -> None:
    """Whatever runs for this tab ends at its next piece."""
    session.stops += 1


def buttons(words: Translator, label: str, name: str) -> tuple[gr.Button, gr.Button]:
    with gr.Row(elem_classes="actions"):
        make = words(
            gr.Button(variant="primary", elem_id=name, scale=0, min_width=180), value=label
        )
        end = words(gr.Button(elem_id=f"{name}-stop", scale=0, min_width=90), value="stop")
    return make, end


def gallery(name: str) -> gr.Gallery:
    return gr.Gallery(
        columns=6,
        allow_preview=False,
        object_fit="cover",
        buttons=[],
        interactive=False,
        visible=False,
        elem_id=name,
        elem_classes="cells",
        container=False,
        fit_columns=False,
        height="auto",
    )


def progress(language: str, done: int, total: int | None) -> str:
    text = say("working", language, done=done, total=total)
    return f'{text} <progress max="{total}" value="{done}" aria-label="{text}"></progress>'
