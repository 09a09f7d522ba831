"""What the tabs with long jobs share: their buttons, their galleries, how far a job is."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator, Sequence

import gradio as gr

from facemeld.web.events import sentence
from facemeld.web.jobs import Job
from facemeld.web.made import Made
from facemeld.web.words import Translator, say


def buttons(words: Translator, label: str, name: str) -> tuple[gr.Button, gr.Button]:
    """To begin a job and to stop it."""
    with gr.Row(elem_classes="actions"):
        make = words(
            gr.Button(variant="primary", elem_id=name, scale=0, min_width=180), value=label
        )
        end = words(gr.Button(elem_id=f"{name}-stop", scale=0, min_width=90), value="stop")
    return make, end


def gallery(name: str) -> gr.Gallery:
    """Results to choose from, seen when there are some."""
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


def progress(language: str, done: int, total: int) -> str:
    """How far a job is, as HTML."""
    text = say("working", language, done=done, total=total)
    return f'{text} <progress max="{total}" value="{done}" aria-label="{text}"></progress>'


def ended(error: Exception, language: str) -> str:
    """Why a job is over before its end, as HTML."""
    return html.escape(sentence(error, language))


def in_turn(
    language: str, job: Job, works: Sequence[Callable[[], Made | None]], made: list[Made]
) -> Iterator[str]:
    """Does one thing after the other, and tells how far it is; at last how it ended.

    Args:
        language: of the page.
        job: opens the device.
        works: each makes one result, or none.
        made: gets the results, and keeps those that were done when the job was stopped.
    """
    try:
        with job() as check:
            for done, work in enumerate(works):
                check()
                yield progress(language, done, len(works))
                if (result := work()) is not None:
                    made.append(result)
    except Exception as error:
        yield ended(error, language)
    else:
        yield say("done", language, n=len(made))
