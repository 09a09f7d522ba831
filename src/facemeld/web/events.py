"""How the page's functions are called: with the tab's session, and errors as sentences."""

from __future__ import annotations

import inspect
import sys
import traceback
from collections.abc import Callable

import gradio as gr

from facemeld.errors import UserError
from facemeld.web.engine import Stopped
from facemeld.web.sessions import Session, Sessions
from facemeld.web.words import say, tell

DEVICE = "device"
"""The queue of all events that compute: one at a time."""
SECONDS_SHOWN = 8
LIVE = {"trigger_mode": "always_last", "show_progress": "hidden"}
"""Of events that follow a control while it moves."""


def with_session(sessions: Sessions, function: Callable, *, selects: bool = False) -> Callable:
    """``function(session, language, …)`` as Gradio calls it, errors told in the page's language.

    Args:
        sessions: of the page.
        function: plain, or a generator of what the page shows in turn.
        selects: it is told what was chosen, as the third argument.
    """

    def call(request: gr.Request, language: str, values: tuple):
        session = sessions.of(request.session_hash)
        result = function(session, language, *values)
        return result if inspect.isgenerator(result) else (result for _ in range(1))

    def run(request: gr.Request, language: str, *values):
        try:
            yield from call(request, language, values)
        except Exception as error:
            raise told(error, language) from None

    def run_chosen(request: gr.Request, chosen: gr.EventData, language: str, *values):
        try:
            yield from call(request, language, (chosen, *values))
        except Exception as error:
            raise told(error, language) from None

    return run_chosen if selects else run


def told(error: Exception, language: str) -> gr.Error:
    """Any exception as the sentence that the page shows."""
    if isinstance(error, gr.Error):
        return error
    if isinstance(error, Stopped):
        sentence = say("stopped", language)
    elif isinstance(error, UserError):
        sentence = tell(error, language)
    else:
        traceback.print_exception(error, file=sys.stderr)
        sentence = say("broken", language)
    return gr.Error(sentence, duration=SECONDS_SHOWN, title="", print_exception=False)


def warn(sentence: str) -> None:
    """Shows a sentence for some seconds."""
    gr.Warning(sentence, duration=SECONDS_SHOWN, title="")


def needs(session: Session, language: str) -> None:
    """A sentence for whoever has not chosen a source yet."""
    if session.source is None:
        raise gr.Error(say("need_source", language), title="", print_exception=False)
